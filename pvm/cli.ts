/** The command line of PVM: `npm run -s pvm -- COMMAND`. */
import { readFileSync } from 'node:fs'
import { assemble, disassemble } from './asm.ts'
import { compile } from './compile.ts'
import { loadProtocol, type Packet, protocols, registry, Session } from './index.ts'
import { score } from './score.ts'

const help = `usage: pvm COMMAND

  decode PROTOCOL [FILE]   one device session, a packet a line (hex:… or text:…), as one JSON line a packet;
                           FILE absent or - is standard input; --close stops at a packet that ends the connection
  asm PROTOCOL             the protocol as assembler
  check FILE…              compiles descriptions and says what is wrong
  list                     the protocols
  registry                 the parameters: name, unit, meaning
  score FOLDER [NAME…]     compares with reference vectors
`

function fail(message: string): never {
  process.stderr.write(`pvm: ${message}\n`)
  process.exit(1)
}

/** What a line of a session file stands for; undefined: an empty line. */
function lineBytes(line: string, ending: Uint8Array | undefined, number: number): Uint8Array | undefined {
  if (line.trim() === '') return undefined
  if (line.startsWith('hex:')) {
    const hex = line.slice(4).trim()
    if (!/^([0-9a-fA-F]{2})*$/.test(hex)) fail(`line ${number}: not hexadecimal bytes`)
    return Buffer.from(hex, 'hex')
  }
  if (line.startsWith('text:')) {
    const text = Buffer.from(line.slice(5).replace(/\r$/, ''))
    return ending ? Buffer.concat([text, ending]) : text
  }
  return fail(`line ${number}: a line begins with hex: or text:`)
}

function decode(name: string, file: string | undefined): void {
  const protocol = loadProtocol(name)
  const ending = protocol.frames.find((frame) => frame.ending)?.ending
  let text: string
  try {
    text = readFileSync(file === undefined || file === '-' ? 0 : file, 'utf8')
  } catch (error) {
    return fail(`${file} cannot be read: ${(error as Error).message}`)
  }
  const session = new Session(protocol)
  for (const [index, line] of text.split('\n').entries()) {
    const bytes = lineBytes(line, ending, index + 1)
    if (!bytes) continue
    const packets = session.feed(bytes)
    // A line is a packet: what is left over of it is an error of its own, and the next line begins anew.
    const rest = session.resume()
    if (rest) packets.push(rest)
    process.stdout.write(`${JSON.stringify(lineAnswer(packets))}\n`)
  }
}

function lineAnswer(packets: Packet[]): { messages: unknown[]; reply: string | null; error?: string } {
  const replies = packets.map(({ reply }) => (reply ? Buffer.from(reply).toString('hex') : '')).join('')
  const error = packets.find((packet) => packet.error)?.error
  return {
    messages: packets.flatMap(({ messages }) => messages),
    reply: replies === '' ? null : replies,
    ...(error ? { error: `${error.code}: ${error.reason}` } : {}),
  }
}

const [command, first, ...others] = process.argv.slice(2)
try {
  if (command === 'decode' && first) decode(first, others[0])
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
  } else if (command === 'score' && first) process.exitCode = score(first, others)
  else {
    process.stdout.write(help)
    process.exitCode = command === undefined || command === '--help' || command === 'help' ? 0 : 2
  }
} catch (error) {
  fail((error as Error).message)
}
