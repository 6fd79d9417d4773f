/** MDB against what else stores messages: the same records, in one run, each store in a process of its own. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { seeded } from '#services/common/random.ts'
import { temporaryFolder } from '#services/common/testing.ts'
import type { Bench, BenchTable } from './main.ts'
import { appends } from './mdb-appends.ts'
import { Candidate } from './mdb-candidate.ts'
import { type FleetMessage, fleetBatches, fleetPackets } from './mdb-data.ts'
import { benchPython } from './mdb-python.ts'

const messages_default = 1_000_000
const devices_default = 10_000
const seed = 1
/** Messages of one order to load. */
const chunk = 50_000
/** Devices of one order to read, in the reading of all. */
const group = 100
/** The reading of all ends after so many messages. */
const read_max = 1_000_000
const random_rounds = 30
const cassandra_messages_max = 300_000
const random_devices = 10
const fields = ['position.latitude', 'position.longitude', 'position.speed']

interface Row {
  what: string
  /** Name of the store's process, and of the one that loads it: the first of those with the same. */
  name: string
  folder: string
  python?: boolean
  /** Rows that only read what another one loaded. */
  reads?: true
  /** It gets only so many of the messages: three nodes on one machine are slow. */
  most?: number
}

const all: Row[] = [
  { what: 'MDB, engine alone: columns', name: 'engine', folder: 'engine' },
  { what: 'MDB, engine alone: messages', name: 'engine-objects', folder: 'engine', reads: true },
  { what: 'MDB through REST: rows', name: 'rest', folder: 'rest' },
  { what: 'MDB through REST: NDJSON', name: 'rest-ndjson', folder: 'rest', reads: true },
  { what: 'MDB, engine on Cassandra, 3 nodes', name: 'cassandra', folder: 'cassandra', most: cassandra_messages_max },
  { what: 'PostgreSQL, jsonb', name: 'postgres-jsonb', folder: 'postgres-jsonb' },
  { what: 'PostgreSQL, a column a parameter', name: 'postgres-columns', folder: 'postgres-columns' },
  { what: 'SQLite, JSON text', name: 'sqlite', folder: 'sqlite' },
  { what: 'DuckDB', name: 'duckdb', folder: 'duckdb', python: true },
  { what: 'chDB (ClickHouse), LZ4', name: 'chdb', folder: 'chdb', python: true },
  { what: 'chDB (ClickHouse), ZSTD', name: 'chdb-zstd', folder: 'chdb-zstd', python: true },
]

const empty = (): Result => ({
  loaded: 0,
  load: nothing(),
  all: nothing(),
  random: nothing(),
  some: nothing(),
  bytes: 0,
  memory: 0,
})

/** Parameters and their types, as a table needs them: of a small fleet that has each kind of device. */
function schemaOf(): [name: string, type: string][] {
  const types = new Map<string, string>()
  for (const { records } of fleetPackets({ devices: 240, messages: 120_000, seed })) {
    for (const record of records) {
      for (const [name, value] of Object.entries(record)) {
        const type = Number.isInteger(value) ? 'integer' : typeof value
        const before = types.get(name)
        if (before === undefined || (before === 'integer' && type === 'number')) types.set(name, type)
      }
    }
  }
  types.set('timestamp', 'number')
  return [...types]
}

interface Result {
  /** Messages that it was given. */
  loaded: number
  load: Sum
  all: Sum
  random: Sum
  some: Sum
  bytes: number
  memory: number
  error?: string
}

/** Messages, and s that passed and s of the processor that they took. */
interface Sum {
  messages: number
  seconds: number
  cpu: number
  /** Of those the client's, where it is known. */
  client: number
}

const nothing = (): Sum => ({ messages: 0, seconds: 0, cpu: 0, client: 0 })

function count(sum: Sum, answer: Omit<Sum, 'client'> & { client?: number }): void {
  sum.messages += answer.messages
  sum.seconds += answer.seconds
  sum.cpu += answer.cpu
  sum.client += answer.client ?? 0
}

export const bench: Bench = async ({ say, messages = messages_default, devices = devices_default, only }) => {
  const rows = all.filter(({ name }) => only === undefined || only.includes(name))
  const python = rows.some((row) => row.python) ? benchPython() : ''
  const schema = schemaOf()
  const home = temporaryFolder()
  const interrupted = () => {
    home.remove()
    process.exit(130)
  }
  process.once('SIGINT', interrupted)
  const results = new Map<Row, Result>()
  const start = ({ name, folder, python: isPython }: Row) => {
    const script = join(import.meta.dirname, isPython ? 'mdb-columns.py' : 'mdb-worker.ts')
    const args = [script, name, join(home.path, folder), JSON.stringify(schema), String(devices)]
    return new Candidate(isPython ? python : process.execPath, args)
  }
  try {
    await load(rows, results, start, { messages, devices, file: join(home.path, 'chunk.ndjson'), say })
    for (const row of rows) {
      const loader = rows.find(({ folder, reads }) => folder === row.folder && !reads) ?? row
      const result = results.get(row) ?? {
        ...empty(),
        bytes: results.get(loader)!.bytes,
        loaded: results.get(loader)!.loaded,
      }
      results.set(row, result)
      if (result.error) continue
      say(`mdb: ${row.what}: reads`)
      const store = start(row)
      try {
        await read(store, result, devices)
      } catch (error) {
        result.error = (error as Error).message
        say(`mdb: ${row.what}: ${result.error}`)
      }
      await store.close()
    }
  } finally {
    process.off('SIGINT', interrupted)
    home.remove()
  }
  const tables = [tableOf(rows, results, messages, devices)]
  if (rows.some(({ folder }) => folder === 'engine')) {
    say('mdb: storing by the records of a packet')
    tables.push(await appends({ messages, seed }))
  }
  return tables
}

async function load(
  rows: Row[],
  results: Map<Row, Result>,
  start: (row: Row) => Candidate,
  { messages, devices, file, say }: { messages: number; devices: number; file: string; say(line: string): void },
): Promise<void> {
  const stores = rows.filter((row) => !row.reads).map((row) => ({ row, store: start(row) }))
  for (const { row } of stores) {
    results.set(row, empty())
  }
  const attempt = async (row: Row, work: () => Promise<void>) => {
    const result = results.get(row)!
    if (result.error) return
    try {
      await work()
    } catch (error) {
      result.error = (error as Error).message
      say(`mdb: ${row.what}: ${result.error}`)
    }
  }
  let done = 0
  for await (const packets of fleetBatches({ devices, messages, seed }, chunk)) {
    const lines: string[] = []
    for (const { device, records } of packets)
      for (const record of records)
        lines.push(`${JSON.stringify({ device, ...record } satisfies { device: number } & FleetMessage)}\n`)
    writeFileSync(file, lines.join(''))
    for (const { row, store } of stores) {
      if (done >= (row.most ?? messages)) continue
      await attempt(row, async () => {
        results.get(row)!.loaded += lines.length
        const answer = await store.ask({ do: 'load', file })
        // A first order warms up what compiles as it runs, but it counts where it is the only one.
        if (done > 0 || messages <= chunk) count(results.get(row)!.load, { ...answer, messages: lines.length })
      })
    }
    done += lines.length
    say(`mdb: ${done.toLocaleString('en-US')} of ${messages.toLocaleString('en-US')} messages stored by each`)
  }
  for (const { row, store } of stores) {
    await attempt(row, async () => {
      const { seconds } = await store.ask({ do: 'settle' })
      say(`mdb: ${row.what}: at rest after ${seconds.toFixed(1)} s`)
      results.get(row)!.bytes = (await store.ask({ do: 'stat' })).bytes
    })
    await store.close()
  }
}

async function read(store: Candidate, result: Result, devices: number): Promise<void> {
  const random = seeded(7)
  const some = (count: number) => Array.from({ length: count }, () => Math.floor(random() * devices))
  // Warm: what is measured is the store at work, not its first page from the disk.
  for (let i = 0; i < 3; i++) await store.ask({ do: 'read', devices: some(group) })
  for (let first = 0; first < devices && result.all.messages < read_max; first += group) {
    const ids = Array.from({ length: Math.min(group, devices - first) }, (_, i) => first + i)
    count(result.all, await store.ask({ do: 'read', devices: ids }))
  }
  for (let round = 0; round < random_rounds; round++) {
    count(result.random, await store.ask({ do: 'read', devices: some(random_devices) }))
    count(result.some, await store.ask({ do: 'read', devices: some(group), fields }))
  }
  result.memory = (await store.ask({ do: 'stat' })).memory
}

function tableOf(rows: Row[], results: Map<Row, Result>, messages: number, devices: number): BenchTable {
  const rate = (messages: number, seconds: number) => (seconds > 0 ? Math.round(messages / seconds) : '–')
  return {
    title: `${messages.toLocaleString('en-US')} messages of ${devices.toLocaleString('en-US')} devices, stored and read`,
    head: [
      'store',
      'stored durably/s',
      'stored/s of processor',
      'without the client',
      'read/s of processor',
      '10 random devices',
      '3 parameters',
      'bytes a message',
      'memory MB',
    ],
    rows: rows.map((row) => {
      const result = results.get(row)!
      if (result.error) return [row.what, `failed: ${result.error.split('\n')[0]}`, ...Array<string>(7).fill('–')]
      return [
        row.what,
        rate(result.load.messages, result.load.seconds),
        rate(result.load.messages, result.load.cpu),
        result.load.client > 0 ? rate(result.load.messages, result.load.cpu - result.load.client) : '–',
        rate(result.all.messages, result.all.cpu),
        rate(result.random.messages, result.random.cpu),
        rate(result.some.messages, result.some.cpu),
        (result.bytes / result.loaded).toFixed(1),
        Math.round(result.memory / 2 ** 20),
      ]
    }),
    notes: [
      'Messages of 20 to 42 parameters, some 800 bytes as JSON, in the order in which they reach a server: 3 % late, 1 % twice. MDB stores those that come twice once; the others store what they are given.',
      'Each store in a process of its own, fed one after another with the same 50,000 messages until all are stored. A commit has 2,000 messages; DuckDB and chDB get 50,000 at once, from a file, as they like it best.',
      'The first column counts the time that passed, with the disk’s; the others the time of processors that the store and its client took together, so they say what one core does, also on a busy machine. MDB’s includes the merging that goes on meanwhile; writers that are told to come back wait and come back.',
      'Without the client: the same less what making blocks of rows of the messages took, which in a deployment is tg’s work and not MDB’s. Known of the engine alone; checking the blocks is the engine’s work and counts.',
      'Read: all messages of devices, 100 devices a query, in the order of (device, timestamp), until a million. MDB’s engine gives decoded columns or JavaScript objects; REST gives rows whose columns are then decoded, or NDJSON; PostgreSQL and SQLite give rows to their client in Node, DuckDB NumPy arrays, chDB its Native format. DuckDB and chDB use one thread.',
      ...(rows.some(({ most }) => most !== undefined)
        ? [
            `Cassandra: the first ${cassandra_messages_max.toLocaleString('en-US')} messages alone; three nodes with their copies, whose processors, bytes and memory all count, on the same cores.`,
          ]
        : []),
      'Bytes on the disk after all was merged (MDB: npm run mdb -- compact; PostgreSQL: vacuum; SQLite: vacuum; DuckDB: a table sorted by its key; chDB: optimize final). Memory is the server’s own after the reads, without files that are mapped or cached; of stores inside of a client’s process it is that process.',
    ],
  }
}
