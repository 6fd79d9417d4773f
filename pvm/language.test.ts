/** Every example of the language's documents, and their tables against those that the machine has. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { commands } from './commands.ts'
import { compile } from './compile.ts'
import { functions } from './functions.ts'
import { fuzzProgram } from './fuzz.ts'
import { sourceOf } from './jit.ts'
import { bytesOf, lineAnswer, parseLine } from './lines.ts'
import { opcodes } from './opcodes.ts'
import { Session } from './session.ts'

const read = (name: string) => readFileSync(join(import.meta.dirname, '../docs/pvm', name), 'utf8')
const document = read('language.md')
const now = () => 1_700_000_000

interface Example {
  line: number
  code: string
  in: string[]
  out: string[]
  reply: string | undefined
}

/** The examples: a block `pvm`, then blocks `in`, `out` and `reply`. */
function examples(document: string): Example[] {
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

const all = ['language.md', 'tutorial.md'].flatMap((file) => examples(read(file)).map((example) => ({ file, example })))

for (const { file, example } of all) {
  test(`${file}:${example.line}`, (t) => {
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

test('the reference of the machine lists every instruction as the machine has it', (t) => {
  const rows = opcodes.map(
    ({ name, operands, takes, leaves, meaning }) =>
      `| \`${name}\` | ${[...operands].join(' ') || ' '} | ${takes < 0 ? 'n' : takes} → ${leaves} | ${meaning} |`,
  )
  const table = `| name | operands | stack | what |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`
  t.true(read('machine.md').includes(table), `docs/pvm/machine.md should end with:\n${table}`)
})

test('the commands of the documents exist', (t) => {
  for (const file of ['language.md', 'tutorial.md', 'machine.md'])
    for (const [, command = ''] of read(file).matchAll(/npm run -s pvm -- (\w+)/g))
      t.true(Object.hasOwn(commands, command), `${file}: pvm ${command}`)
})
