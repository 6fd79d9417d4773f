/** The command line of PVM: `npm run -s pvm -- COMMAND`. */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { assemble, disassemble } from './asm.ts'
import { compile } from './compile.ts'
import { functions } from './functions.ts'
import { fuzzAll } from './fuzz.ts'
import { loadProtocol, protocolNames, protocols, registry } from './index.ts'
import { sourceOf } from './jit.ts'
import { decodeRecorded, lineAnswer, parseLine } from './lines.ts'
import { score, toolSession } from './score.ts'

interface Command {
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
  const now = options.now === undefined ? undefined : Number(options.now)
  const session = toolSession(protocol, options.ident, now === undefined ? undefined : () => now)
  for (const [index, line] of text.split('\n').entries()) {
    const packet = withLine(index + 1, () => parseLine(line))
    if (packet) print(`${JSON.stringify(lineAnswer(decodeRecorded(session, packet)))}\n`)
  }
  return undefined
}

function withLine<T>(number: number, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new Error(`line ${number}: ${(error as Error).message}`)
  }
}

const help_width = 100
const help_indent = 28

/** A text in lines of at most `help_width`. */
function wrapped(text: string): string {
  const lines: string[] = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1) as string
    if (last.length + word.length > help_width) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines.join(`\n${' '.repeat(help_indent)}`)
}

function help(): string {
  const out = ['usage: pvm COMMAND', '']
  for (const [name, command] of Object.entries(commands)) {
    out.push(`  ${`${name} ${command.usage}`.padEnd(help_indent - 3)} ${wrapped(command.help)}`)
    for (const [option, meaning] of Object.entries(command.options ?? {})) {
      const flag = meaning.startsWith('!') ? `--${option}` : `--${option} …`
      out.push(`    ${flag.padEnd(help_indent - 5)} ${wrapped(meaning.replace(/^!/, ''))}`)
    }
  }
  return `${out.join('\n')}\n`
}

async function main(argv: string[]): Promise<number> {
  const [name = 'help', ...rest] = argv
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command || rest.includes('--help') || rest.includes('-h')) {
    print(help())
    return command || ['help', '--help', '-h'].includes(name) ? 0 : 2
  }
  const known = Object.entries(command.options ?? {})
  const { values, positionals } = parseArgs({
    args: rest,
    allowPositionals: true,
    options: Object.fromEntries(
      known.map(([option, meaning]) => [option, { type: meaning.startsWith('!') ? 'boolean' : 'string' } as const]),
    ),
  })
  if (positionals.length < command.needs) {
    process.stderr.write(`pvm: usage: pvm ${name} ${command.usage}\n`)
    return 2
  }
  const options = Object.fromEntries(Object.entries(values).map(([key, value]) => [key, String(value)]))
  return (await command.run(positionals, options)) ?? 0
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`pvm: ${(error as Error).message}\n`)
  process.exitCode = 1
}
