/** The command line of PVM: `npm run -s pvm -- COMMAND`. */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { assemble, disassemble } from './asm.ts'
import { compile } from './compile.ts'
import { functions } from './functions.ts'
import { loadProtocol, protocols, registry } from './index.ts'
import { decodeRecorded, lineAnswer, parseLine } from './lines.ts'
import { score, toolSession } from './score.ts'

const help = `usage: pvm COMMAND

  decode PROTOCOL [FILE]   one device session, a packet a line (hex:…, text:… or http:METHOD /path [body in hex]),
                           as one JSON line a packet; FILE absent or - is standard input;
                           --ident X: the ident of a session that begins behind its log-in (default: unknown)
                           --now S: the time of the clock, s since 1970 UTC
  asm PROTOCOL             the protocol as assembler
  check FILE…              compiles descriptions and says what is wrong
  list                     the protocols
  registry                 the parameters: name, unit, meaning
  functions                the built-in functions: name, arguments, meaning
  score FOLDER [NAME…]     compares with reference vectors: packets right, attributes carried, and what differs;
                           --write FILE records it, --check FILE fails when a protocol is behind its record
`

function fail(message: string): never {
  process.stderr.write(`pvm: ${message}\n`)
  process.exit(1)
}

function decode(name: string, file: string | undefined, options: { ident?: string; now?: string }): void {
  const protocol = loadProtocol(name)
  let text: string
  try {
    text = readFileSync(file === undefined || file === '-' ? 0 : file, 'utf8')
  } catch (error) {
    return fail(`${file} cannot be read: ${(error as Error).message}`)
  }
  const now = options.now === undefined ? undefined : Number(options.now)
  const session = toolSession(protocol, options.ident, now === undefined ? undefined : () => now)
  for (const [index, line] of text.split('\n').entries()) {
    let packet: ReturnType<typeof parseLine>
    try {
      packet = parseLine(line)
    } catch (error) {
      return fail(`line ${index + 1}: ${(error as Error).message}`)
    }
    if (packet) process.stdout.write(`${JSON.stringify(lineAnswer(decodeRecorded(session, packet)))}\n`)
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ident: { type: 'string' },
    now: { type: 'string' },
    check: { type: 'string' },
    write: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  },
})
const [command, first, ...others] = positionals
try {
  if (command === 'decode' && first) decode(first, others[0], values)
  else if (command === 'asm' && first) {
    const text = disassemble(loadProtocol(first))
    assemble(text)
    process.stdout.write(text)
  } else if (command === 'check' && first) {
    for (const file of [first, ...others]) {
      const program = compile(file)
      process.stdout.write(`${file}: fine, ${program.code.length} words of code\n`)
    }
  } else if (command === 'list') {
    for (const p of protocols())
      process.stdout.write(
        `${p.name.padEnd(16)} ${p.transports.join(',').padEnd(8)} ${String(p.default_port).padEnd(6)} ${p.title}\n`,
      )
  } else if (command === 'registry') {
    for (const [name, { unit, text }] of Object.entries(registry))
      process.stdout.write(`${name.padEnd(32)} ${(unit ?? '').padEnd(8)} ${text}\n`)
  } else if (command === 'functions') {
    for (const [name, { args, meaning }] of Object.entries(functions))
      process.stdout.write(`${name.padEnd(20)} ${[...new Set(args)].join('-').padEnd(4)} ${meaning}\n`)
  } else if (command === 'score' && first) process.exitCode = score(first, others, values)
  else {
    process.stdout.write(help)
    process.exitCode = command === undefined || values.help || command === 'help' ? 0 : 2
  }
} catch (error) {
  fail((error as Error).message)
}
