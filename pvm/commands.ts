/** What the command line of PVM can do. */
import { readFileSync, writeFileSync } from 'node:fs'
import { assemble, disassemble } from './asm.ts'
import { begin } from './begin.ts'
import { compile } from './compile.ts'
import { completion } from './completion.ts'
import { debug, debugAll, traceOf } from './debug.ts'
import { format } from './fmt.ts'
import { functions } from './functions.ts'
import { fuzzAll } from './fuzz.ts'
import { grammar } from './grammar.ts'
import { loadProtocol, protocolNames, protocols, registry } from './index.ts'
import { sourceOf } from './jit.ts'
import { decodeRecorded, lineAnswer, parseLine } from './lines.ts'
import { folder } from './protocols.ts'
import { score, toolSession } from './score.ts'

export interface Command {
  /** What stands behind the name; what is in brackets may be left out. */
  usage: string
  help: string
  /** Options with a value, and what they mean; those whose meaning begins with "!" have none. */
  options?: Record<string, string>
  /** Fewest arguments. */
  needs: number
  run(args: string[], options: Record<string, string | undefined>): number | undefined | Promise<number | undefined>
}

const print = (text: string) => void process.stdout.write(text)

export const commands: Record<string, Command> = {
  decode: {
    usage: 'PROTOCOL [FILE]',
    help: 'one device session, a packet a line (hex:…, text:… or http:METHOD /path [body in hex]), as one JSON line a packet; FILE absent or - is standard input',
    options: {
      ident: 'the ident of a session that begins behind its log-in (default: unknown)',
      now: 'the time of the clock, s since 1970 UTC',
      trace: '!adds to each packet which bytes every parameter came from, and which line made it',
    },
    needs: 1,
    run: ([name = '', file], options) => decode(name, file, options),
  },
  asm: {
    usage: 'PROTOCOL',
    help: 'the protocol as assembler',
    options: { js: '!the JavaScript that is generated from it instead' },
    needs: 1,
    run: ([name = ''], { js }) => {
      const program = loadProtocol(name)
      const text = js === undefined ? disassemble(program) : sourceOf(program)
      if (js === undefined) assemble(text as string)
      print(text ?? 'only the interpreter runs it\n')
      return undefined
    },
  },
  debug: {
    usage: 'PROTOCOL FILE',
    help: 'steps through a session in the terminal: bytes, the line of the description, parameters so far',
    options: {
      all: '!prints all steps instead',
      ident: 'as of decode',
      now: 'as of decode',
    },
    needs: 2,
    run: ([name = '', file = ''], options) => {
      if (options.all === undefined) return debug(name, file, options)
      print(debugAll(name, readFileSync(file, 'utf8'), options))
      return undefined
    },
  },
  encode: {
    usage: 'PROTOCOL COMMAND [NAME=VALUE…]',
    help: 'the bytes of a command for a device, as hex; without COMMAND the commands there are',
    options: { session: 'a session file that comes before, for commands that need what the device said' },
    needs: 1,
    run: ([name = '', command, ...given], { session }) => encode(name, command, given, session),
  },
  fmt: {
    usage: 'FILE…',
    help: 'formats descriptions in place',
    options: { check: '!changes nothing, and fails when a file is not formatted' },
    needs: 1,
    run: (files, { check }) => {
      let wrong = 0
      for (const file of files) {
        const text = readFileSync(file, 'utf8')
        const formatted = format(text)
        if (formatted === text) continue
        wrong++
        print(`${file}: ${check === undefined ? 'formatted' : 'is not formatted'}\n`)
        if (check === undefined) writeFileSync(file, formatted)
      }
      return check !== undefined && wrong > 0 ? 1 : 0
    },
  },
  new: {
    usage: 'NAME',
    help: 'begins a protocol: pvm/protocols/NAME.pvm with a session to test it',
    options: { text: '!of text lines, not of bytes', folder: 'elsewhere than in pvm/protocols' },
    needs: 1,
    run: ([name = ''], { text, folder: where }) => {
      for (const file of begin(name, text !== undefined, where ?? folder)) print(`${file}\n`)
      return undefined
    },
  },
  completion: {
    usage: 'bash|zsh',
    help: 'a script that completes commands, options and protocols: source <(pvm completion bash)',
    needs: 1,
    run: ([shell = '']) => {
      print(completion(shell, commands))
      return undefined
    },
  },
  grammar: {
    usage: '',
    help: 'the TextMate grammar of the language, for editors',
    needs: 0,
    run: () => {
      print(grammar())
      return undefined
    },
  },
  check: {
    usage: 'FILE…',
    help: 'compiles descriptions and says what is wrong',
    needs: 1,
    run: (files) => {
      for (const file of files) print(`${file}: fine, ${compile(file).code.length} words of code\n`)
      return undefined
    },
  },
  list: {
    usage: '',
    help: 'the protocols',
    needs: 0,
    run: () => {
      for (const p of protocols())
        print(
          `${p.name.padEnd(16)} ${p.transports.join(',').padEnd(8)} ${String(p.default_port).padEnd(6)} ${p.title}\n`,
        )
      return undefined
    },
  },
  registry: {
    usage: '',
    help: 'the parameters: name, unit, meaning',
    needs: 0,
    run: () => {
      for (const [name, { unit, text }] of Object.entries(registry))
        print(`${name.padEnd(32)} ${(unit ?? '').padEnd(8)} ${text}\n`)
      return undefined
    },
  },
  functions: {
    usage: '',
    help: 'the built-in functions: name, arguments, meaning',
    needs: 0,
    run: () => {
      for (const [name, { args, meaning }] of Object.entries(functions))
        print(`${name.padEnd(20)} ${[...new Set(args)].join('-').padEnd(4)} ${meaning}\n`)
      return undefined
    },
  },
  score: {
    usage: 'FOLDER [NAME…]',
    help: 'compares with reference vectors: packets right, attributes carried, and what differs',
    options: { write: 'records what was reached in a file', check: 'fails when a protocol is behind such a file' },
    needs: 1,
    run: ([folder = '', ...names], options) => score(folder, names, options),
  },
  fuzz: {
    usage: '[NAME…]',
    help: 'mutated packets through generated code and interpreter, whole and in pieces: they must agree and end',
    options: {
      count: 'inputs (default: 100000)',
      seed: 'another seed gives other inputs (default: 1)',
      vectors: 'a folder of reference vectors: more packets to mutate',
    },
    needs: 0,
    run: (names, { count = '100000', seed = '1', vectors }) =>
      fuzzAll(names.length > 0 ? names : protocolNames(), Number(count), Number(seed), vectors),
  },
}

function decode(name: string, file: string | undefined, options: Record<string, string | undefined>): undefined {
  const protocol = loadProtocol(name)
  const text = readFileSync(file === undefined || file === '-' ? 0 : file, 'utf8')
  if (options.trace !== undefined) {
    for (const packet of traceOf(name, text, options)) print(`${JSON.stringify(packet)}\n`)
    return undefined
  }
  const now = options.now === undefined ? undefined : Number(options.now)
  const session = toolSession(protocol, options.ident, now === undefined ? undefined : () => now)
  for (const [index, line] of text.split('\n').entries()) {
    const packet = withLine(index + 1, () => parseLine(line))
    if (packet) print(`${JSON.stringify(lineAnswer(decodeRecorded(session, packet)))}\n`)
  }
  return undefined
}

function encode(name: string, command: string | undefined, given: string[], file: string | undefined): undefined {
  const protocol = loadProtocol(name)
  if (command === undefined) {
    for (const { name: known, title, parameters } of protocol.commands)
      print(`${[known, ...parameters.map((parameter) => `${parameter.name}=…`)].join(' ').padEnd(40)} ${title}\n`)
    if (protocol.commands.length === 0) print(`${name} has no commands\n`)
    return undefined
  }
  const session = toolSession(protocol)
  for (const line of file === undefined ? [] : readFileSync(file, 'utf8').split('\n')) {
    const packet = parseLine(line)
    if (packet) decodeRecorded(session, packet)
  }
  const values = Object.fromEntries(
    given.map((one) => {
      const at = one.indexOf('=')
      if (at < 1) throw new Error(`${one}: a value is NAME=VALUE`)
      const text = one.slice(at + 1)
      return [
        one.slice(0, at),
        /^-?\d{1,15}(\.\d+)?$/.test(text) && String(Number(text)) === text ? Number(text) : text,
      ]
    }),
  )
  print(`${Buffer.from(session.command(command, values).bytes).toString('hex')}\n`)
  return undefined
}

function withLine<T>(number: number, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new Error(`line ${number}: ${(error as Error).message}`)
  }
}
