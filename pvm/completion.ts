/** `pvm completion`: scripts for shells, made of the table of commands. */

interface Completed {
  usage: string
  help: string
  options?: Record<string, string>
}

const options = (command: Completed) => Object.keys(command.options ?? {}).map((option) => `--${option}`)
/** Commands whose first argument is a protocol. */
const ofProtocol = ({ usage }: Completed) => usage.startsWith('PROTOCOL') || usage.startsWith('[NAME')
const ofFile = ({ usage }: Completed) => /FILE|FOLDER/.test(usage)

/** The script for a shell. Throws for one that there is none for. */
export function completion(shell: string, commands: Readonly<Record<string, Completed>>): string {
  if (shell === 'bash') return bash(commands)
  if (shell === 'zsh') return zsh(commands)
  throw new Error(`there is no completion for "${shell}": bash and zsh`)
}

function bash(commands: Readonly<Record<string, Completed>>): string {
  const cases = Object.entries(commands).map(([name, command]) => {
    const words = options(command).join(' ')
    const protocols = ofProtocol(command)
      ? '[ "$COMP_CWORD" -eq 2 ] && words="$words $(pvm list 2>/dev/null | cut -d" " -f1)"'
      : ':'
    const files = ofFile(command) ? 'COMPREPLY+=($(compgen -f -- "$word"))' : ':'
    return `    ${name})\n      words="${words}"\n      ${protocols}\n      COMPREPLY=($(compgen -W "$words" -- "$word"))\n      ${files} ;;`
  })
  return `# Completion of pvm for bash: source <(pvm completion bash)
_pvm() {
  local word="\${COMP_WORDS[COMP_CWORD]}" words
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${Object.keys(commands).join(' ')}" -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
}
complete -o default -F _pvm pvm
`
}

function zsh(commands: Readonly<Record<string, Completed>>): string {
  const quoted = (text: string) => text.replaceAll("'", "'\\''").replaceAll(':', '\\:')
  const names = Object.entries(commands).map(([name, { help }]) => `    '${name}:${quoted(help)}'`)
  const cases = Object.entries(commands).map(([name, command]) => {
    const words = options(command).join(' ')
    const lines = [`compadd -- ${words}`]
    if (words === '') lines.pop()
    if (ofProtocol(command))
      lines.push(`(( CURRENT == 3 )) && compadd -- \${(f)"$(pvm list 2>/dev/null | cut -d" " -f1)"}`)
    if (ofFile(command)) lines.push('_files')
    return `    ${name})\n${lines.map((line) => `      ${line}\n`).join('')}      ;;`
  })
  return `#compdef pvm
# Completion of pvm for zsh: source <(pvm completion zsh)
_pvm() {
  local -a commands
  commands=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  case "$words[2]" in
${cases.join('\n')}
  esac
}
compdef _pvm pvm
`
}
