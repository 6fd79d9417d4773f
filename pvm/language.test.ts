/** Every example of docs/pvm/language.md, and its table of functions against the one that the machine has. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { compile } from './compile.ts'
import { functions } from './functions.ts'
import { fuzzProgram } from './fuzz.ts'
import { sourceOf } from './jit.ts'
import { bytesOf, lineAnswer, parseLine } from './lines.ts'
import { Session } from './session.ts'

const document = readFileSync(join(import.meta.dirname, '../docs/pvm/language.md'), 'utf8')
const now = () => 1_700_000_000

interface Example {
  line: number
  code: string
  in: string[]
  out: string[]
  reply: string | undefined
}

/** The examples: a block `pvm`, then blocks `in`, `out` and `reply`. */
function examples(): Example[] {
  const found: Example[] = []
  for (const match of document.matchAll(/^```(pvm|in|out|reply)\n(.*?)^```$/gms)) {
    const [, kind, body = ''] = match
    const last = found.at(-1)
    if (kind === 'pvm')
      found.push({
        line: document.slice(0, match.index).split('\n').length,
        code: body,
        in: [],
        out: [],
        reply: undefined,
      })
    else if (kind === 'reply' && last) last.reply = body.trim()
    else if (last) last[kind as 'in' | 'out'] = body.trim().split('\n')
  }
  return found
}

function recordedBytes(line: string): Buffer {
  const packet = parseLine(line)
  return packet ? bytesOf(packet) : Buffer.alloc(0)
}

/** The inside of a packet as a protocol. */
function whole(code: string): string {
  if (/^protocol /m.test(code)) return code
  const start = 'protocol example { title "x" }\nframe udp { any whole -> packet }\n'
  return /^sub packet/m.test(code) ? start + code : `${start}sub packet {\nlogin "1"\n${code}}\n`
}

for (const example of examples()) {
  test(`language.md:${example.line}`, (t) => {
    const program = compile('example.pvm', whole(example.code))
    const session = new Session(program, { now })
    const packets = example.in.flatMap((line) => {
      const packet = parseLine(line)
      const decoded = packet ? session.packet(bytesOf(packet)) : []
      return decoded
    })
    const answer = lineAnswer(packets)
    t.is(answer.error, undefined)
    const wanted = example.out.map((line) => JSON.parse(line))
    const got = answer.messages.map((message, i) => {
      const { ident, timestamp, ...others } = message
      return {
        ...('ident' in (wanted[i] ?? {}) ? { ident } : {}),
        ...('timestamp' in (wanted[i] ?? {}) ? { timestamp } : {}),
        ...others,
      }
    })
    t.deepEqual(got, wanted)
    if (example.reply !== undefined) t.is(answer.reply, example.reply)
    t.not(sourceOf(program), undefined, 'code is generated for it')
    const report = fuzzProgram(program, example.in.map(recordedBytes), 500, 7)
    t.deepEqual([report.disagreements, report.crashes], [[], []])
  })
}

test('the language reference lists every function with its meaning', (t) => {
  const rows = Object.entries(functions).map(
    ([name, { args, meaning }]) => `| \`${name}\` | ${[...new Set(args)].join('–')} | ${meaning} |`,
  )
  const table = `| function | values | gives |\n| --- | --- | --- |\n${rows.join('\n')}\n`
  t.true(document.includes(table), `docs/pvm/language.md should end with:\n${table}`)
})
