/** `npm run bench -- NAME …`: measures, prints tables, and with --write puts them into docs/benchmarks.md. */
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../state.ts'

/** One table of results. */
export interface BenchTable {
  title: string
  head: string[]
  rows: (string | number)[][]
  /** What a reader must know to judge the figures. */
  notes: string[]
}

/** What is asked of a bench: each file of this folder exports one as `bench`. */
export interface BenchOptions {
  seconds: number
  /** Of benches of stores: how much is stored, of how many devices; which stores, if not all. */
  messages?: number
  devices?: number
  only?: string[]
  say: (line: string) => void
}

export type Bench = (options: BenchOptions) => Promise<BenchTable[]>

const benches: Record<string, { about: string; load: () => Promise<{ bench: Bench }> }> = {
  gw: { about: 'durable messages a second of one tg', load: () => import('./gw.ts') },
  pvm: { about: 'records a second that PVM decodes, against decoders written by hand', load: () => import('./pvm.ts') },
  mdb: {
    about: 'messages stored and read a second, bytes and memory, against other stores',
    load: () => import('./mdb.ts'),
  },
  'mdb-growth': { about: 'how reads of MDB change while its store grows', load: () => import('./mdb-growth.ts') },
  prod: { about: 'REST requests a second through the front door', load: () => import('./prod.ts') },
}

const help = `usage: npm run bench -- [NAME …] [--seconds S] [--messages N] [--devices N] [--only STORE,…] [--write]

${Object.entries(benches)
  .map(([name, { about }]) => `  ${name.padEnd(11)} ${about}`)
  .join('\n')}

  --seconds S  how long each figure is measured (10)
  --messages N, --devices N
               mdb, mdb-growth: how many messages of how many devices are stored (1000000 and 10000000, 10000)
  --only LIST  mdb: only these stores: engine, engine-objects, rest, rest-ndjson, postgres-jsonb, postgres-columns, sqlite,
               duckdb, chdb, chdb-zstd, cassandra
  --write      puts the tables into docs/benchmarks.md

gw and prod need a running home environment (npm start).
`

const number = (value: string | number) =>
  typeof value === 'number' ? value.toLocaleString('en-US', { maximumFractionDigits: value < 100 ? 2 : 0 }) : value

function markdown({ title, head, rows, notes }: BenchTable): string {
  const line = (cells: (string | number)[]) => `| ${cells.map(number).join(' | ')} |`
  const align = head.map((_, i) => (typeof rows[0]?.[i] === 'number' ? '--:' : '---'))
  return [`### ${title}`, '', line(head), line(align), ...rows.map(line), '', ...notes.map((note) => `- ${note}`)].join(
    '\n',
  )
}

/** Replaces what stands between a bench's two marks, or appends both. */
function write(name: string, text: string): void {
  const file = join(root, 'docs/benchmarks.md')
  const before = readFileSync(file, 'utf8')
  const [begin, end] = [`<!-- ${name}: made by npm run bench -- ${name} --write -->`, `<!-- /${name} -->`]
  const block = `${begin}\n${text}\n${end}`
  const at = before.indexOf(begin)
  const rest = before.indexOf(end)
  const after =
    at < 0 || rest < 0
      ? `${before.trimEnd()}\n\n${block}\n`
      : before.slice(0, at) + block + before.slice(rest + end.length)
  writeFileSync(file, after)
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '10' },
    messages: { type: 'string' },
    devices: { type: 'string' },
    only: { type: 'string' },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h' },
  },
})
const seconds = Number(values.seconds)
const [messages, devices] = [values.messages, values.devices].map((text) =>
  text === undefined ? undefined : Number(text),
)
const badCount = [messages, devices].some((count) => count !== undefined && !(Number.isInteger(count) && count > 0))
const unknown = positionals.find((name) => !Object.hasOwn(benches, name))
if (values.help || positionals.length === 0) process.stdout.write(help)
else if (unknown !== undefined || badCount || !(seconds > 0)) {
  process.stderr.write(
    unknown === undefined
      ? '--seconds: a number above 0; --messages, --devices: whole numbers above 0\n'
      : `there is no bench "${unknown}"\n${help}`,
  )
  process.exitCode = 2
} else {
  for (const name of positionals) {
    const load_before = loadavg()[0] ?? 0
    const { bench } = await benches[name]!.load()
    const tables = await bench({
      seconds,
      ...(messages === undefined ? {} : { messages }),
      ...(devices === undefined ? {} : { devices }),
      ...(values.only === undefined ? {} : { only: values.only.split(',') }),
      say: (line) => process.stderr.write(`${line}\n`),
    })
    const asked =
      messages === undefined && devices === undefined
        ? `--seconds ${seconds}`
        : [messages && `--messages ${messages}`, devices && `--devices ${devices}`].filter(Boolean).join(' ')
    const machine =
      `${cpus().length} cores ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}; ` +
      `load before ${load_before.toFixed(1)}; ${new Date().toISOString().slice(0, 10)}; \`npm run bench -- ${name} ${asked}\``
    const text = `${tables.map(markdown).join('\n\n')}\n\n_${machine}_`
    process.stdout.write(`${text}\n`)
    if (values.write) write(name, text)
  }
}
