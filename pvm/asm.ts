/** The assembler: programs as text, and text as programs. */
import { functionNames } from './functions.ts'
import { kinds, opcode, opcodes, writes } from './opcodes.ts'
import { type Constant, emptyProgram, type Frame, type Program } from './program.ts'

/** A program as assembler: one line an instruction, labels where something jumps or calls to. */
export function disassemble(program: Program): string {
  const labels = new Map<number, string>(program.labels)
  const mark = (address: number) => labels.has(address) || labels.set(address, `L${address}`)
  walk(program.code, ({ operands }) => {
    for (const [operand, kind] of operands) if (kind === 'a') mark(operand)
  })
  for (const { entries } of program.tables) for (const address of entries.values()) mark(address)
  const label = (address: number) => labels.get(address) ?? `L${address}`
  const out: string[] = [`.protocol ${program.name}`]
  for (const [name, value] of Object.entries(program.header)) out.push(`.header ${name} ${JSON.stringify(value)}`)
  for (const [index, name] of program.slots.entries())
    out.push(
      `.slot ${name} ${JSON.stringify(program.initial[index] ?? null)}${index < program.sessionSlots ? ' session' : ''}`,
    )
  if (program.junk !== '') out.push(`.junk ${program.junk}`)
  for (const frame of program.frames) out.push(frameText(frame, label))
  for (const { name, title, parameters, key, entry } of program.commands)
    out.push(`.command ${JSON.stringify({ name, title, parameters, key, entry: label(entry) })}`)
  for (const { name, entries } of program.tables)
    out.push(`.table ${name} ${[...entries].map(([k, address]) => `${JSON.stringify(k)}=${label(address)}`).join(' ')}`)
  for (const { name, entries, otherwise } of program.enums)
    out.push(`.enum ${JSON.stringify({ name, entries: [...entries], otherwise })}`)
  walk(program.code, ({ at, operands, name }) => {
    if (labels.has(at)) out.push(`${label(at)}:`)
    const shown = operands.map(([operand, kind]) => {
      if (kind === 'k') return JSON.stringify(program.constants[operand])
      if (kind === 's') return `$${program.slots[operand]}`
      if (kind === 'a') return label(operand)
      if (kind === 't') return program.tables[operand]?.name
      if (kind === 'e') return program.enums[operand]?.name
      if (kind === 'r') return kinds[operand]
      if (kind === 'w') return writes[operand]
      return kind === 'f' ? functionNames[operand] : String(operand)
    })
    const line = program.lines.get(at)
    const text = `    ${name.padEnd(8)} ${shown.join(', ')}`.trimEnd()
    out.push(line ? `${text.padEnd(56)} ; ${line}` : text)
  })
  return `${out.join('\n')}\n`
}

function frameText(frame: Frame, label: (address: number) => string): string {
  const { size } = frame
  const shown = size.kind === 'measure' ? { ...size, entry: label(size.entry) } : size
  return `.frame ${JSON.stringify({ ...frame, size: shown, entry: label(frame.entry) })}`
}

interface Instruction {
  at: number
  name: string
  operands: [value: number, kind: string][]
}

function walk(code: readonly number[], visit: (instruction: Instruction) => void): void {
  for (let at = 0; at < code.length; ) {
    const { name, operands } = opcodes[code[at] as number] as (typeof opcodes)[number]
    visit({ at, name, operands: [...operands].map((kind, index) => [code[at + 1 + index] as number, kind]) })
    at += 1 + operands.length
  }
}

/** Splits `"a, b", $x` at commas outside of quotes. */
function splitOperands(text: string): string[] {
  return text.match(/"(?:[^"\\]|\\.)*"|[^,\s]+/g) ?? []
}

/** Assembler as a program. Throws with the line that is wrong. The reverse of `disassemble`, but for line notes. */
export function assemble(text: string): Program {
  return new Assembler(text).program
}

class Assembler {
  readonly program: Program = emptyProgram()
  readonly #addresses = new Map<string, number>()
  /** What needs the addresses of labels. */
  readonly #later: (() => void)[] = []
  readonly #constants = new Map<string, number>()
  readonly #directives: Record<string, (rest: string) => void> = {
    protocol: (rest) => void (this.program.name = rest),
    header: (rest) => {
      const [name, value] = cut(rest)
      this.program.header[name] = JSON.parse(value)
    },
    slot: (rest) => this.#slot(rest),
    junk: (rest) => void (this.program.junk = rest),
    frame: (rest) => {
      const frame = JSON.parse(rest)
      this.program.frames.push(frame)
      this.#later.push(() => {
        frame.entry = this.#address(frame.entry)
        if (frame.size.kind === 'measure') frame.size.entry = this.#address(frame.size.entry)
      })
    },
    command: (rest) => {
      const command = JSON.parse(rest)
      this.program.commands.push(command)
      this.#later.push(() => void (command.entry = this.#address(command.entry)))
    },
    table: (rest) => this.#table(rest),
    enum: (rest) => {
      const { name, entries, otherwise } = JSON.parse(rest)
      this.program.enums.push({ name, entries: new Map(entries), otherwise })
    },
  }

  constructor(text: string) {
    for (const [number, raw] of text.split('\n').entries()) {
      const line = raw.replace(/ +; [^"]*$/, '').trim()
      if (line === '' || line.startsWith(';')) continue
      try {
        this.#line(line)
      } catch (error) {
        throw new Error(`line ${number + 1}: ${(error as Error).message}: ${raw.trim()}`)
      }
    }
    for (const step of this.#later) step()
  }

  #line(line: string): void {
    if (line.startsWith('.')) {
      const [name, rest] = cut(line.slice(1))
      const directive = this.#directives[name]
      if (!directive) throw new Error(`there is no directive .${name}`)
      directive(rest)
    } else if (/^\w+:$/.test(line)) {
      const { code, labels } = this.program
      this.#addresses.set(line.slice(0, -1), code.length)
      if (!/^L\d+:$/.test(line)) labels.set(code.length, line.slice(0, -1))
    } else this.#instruction(line)
  }

  #instruction(line: string): void {
    const [name, rest] = cut(line)
    const { code, operands } = opcode(name)
    const given = splitOperands(rest)
    if (given.length !== operands.length) throw new Error(`${operands.length} operands expected`)
    this.program.code.push(code)
    for (const [index, kind] of [...operands].entries()) {
      const word = given[index] as string
      const at = this.program.code.push(0) - 1
      if (kind === 'a') this.#later.push(() => void (this.program.code[at] = this.#address(word)))
      else this.program.code[at] = this.#operand(kind, word)
    }
  }

  #operand(kind: string, word: string): number {
    const { program } = this
    const known = (found: number, what: string) => {
      if (found < 0 || Number.isNaN(found)) throw new Error(`there is no ${what} ${word}`)
      return found
    }
    if (kind === 'k') return this.#constant(word)
    if (kind === 's') return known(program.slots.indexOf(word.slice(1)), 'slot')
    const named = ({ name }: { name: string }) => name === word
    if (kind === 't') return known(program.tables.findIndex(named), 'table')
    if (kind === 'e') return known(program.enums.findIndex(named), 'enum')
    if (kind === 'r') return known(kinds.indexOf(word as 'u8'), 'kind')
    if (kind === 'w') return known(writes.indexOf(word as 'text'), 'kind')
    if (kind === 'f') return known(functionNames.indexOf(word), 'function')
    return known(Number(word), 'number')
  }

  #constant(json: string): number {
    const known = this.#constants.get(json)
    if (known !== undefined) return known
    const index = this.program.constants.push(JSON.parse(json)) - 1
    this.#constants.set(json, index)
    return index
  }

  #address(name: string): number {
    const found = this.#addresses.get(name)
    if (found === undefined) throw new Error(`there is no label ${name}`)
    return found
  }

  #slot(rest: string): void {
    const { program } = this
    const [name, value] = cut(rest)
    const session = value.endsWith(' session')
    program.slots.push(name)
    program.initial.push(JSON.parse(session ? value.slice(0, -8) : value))
    if (session) program.sessionSlots++
  }

  #table(rest: string): void {
    const [name = '', ...entries] = rest.match(/"(?:[^"\\]|\\.)*"=\S+|\S+/g) ?? []
    const table = { name, entries: new Map<Constant, number>() }
    this.program.tables.push(table)
    this.#later.push(() => {
      for (const entry of entries) {
        const at = entry.lastIndexOf('=')
        table.entries.set(JSON.parse(entry.slice(0, at)), this.#address(entry.slice(at + 1)))
      }
    })
  }
}

/** A text at its first space. */
function cut(text: string): [first: string, rest: string] {
  const space = text.indexOf(' ')
  return space < 0 ? [text, ''] : [text.slice(0, space), text.slice(space + 1).trim()]
}
