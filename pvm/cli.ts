/** The command line of PVM: `npm run -s pvm -- COMMAND`. */
import { parseArgs } from 'node:util'
import { commands } from './commands.ts'

const print = (text: string) => void process.stdout.write(text)

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

// A reader that has seen enough, as head does, is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})
try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`pvm: ${(error as Error).message}\n`)
  process.exitCode = 1
}
