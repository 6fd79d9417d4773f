import type { Frame, Program } from './compile.ts'
import { writes } from './compile.ts'
import { functions, kinds, opcode, opcodes } from './opcodes.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** A program as assembler: one line an instruction, labels where something jumps or calls to. */
export function disassemble(program: Program): string {
  const labels = new Map<number, string>(program.labels)
  walk(program.code, (instruction) => {
    for (const [operand, kind] of instruction.operands)
      if (kind === 'a' && !labels.has(operand)) labels.set(operand, `L${operand}`)
  })
  const label = (address: number) => labels.get(address) ?? `L${address}`
  const out: string[] = [`.protocol ${program.name}`]
  for (const [name, value] of Object.entries(program.header)) out.push(`.header ${name} ${JSON.stringify(value)}`)
  for (const [index, name] of program.slots.entries())
    out.push(`.slot ${name}${index < program.sessionSlots ? ' session' : ''}`)
  for (const frame of program.frames) out.push(frameText(frame, label))
  for (const table of program.tables) {
    const entries = [...table.entries].map(([key, address]) => `${JSON.stringify(key)}=${label(address)}`)
    out.push(`.table ${table.name} ${entries.join(' ')}`)
  }
  walk(program.code, ({ at, name, operands }) => {
    if (labels.has(at)) out.push(`${label(at)}:`)
    const shown = operands.map(([operand, kind], index) => {
      if (kind === 'k') return JSON.stringify(program.constants[operand])
      if (kind === 's') return `$${program.slots[operand]}`
      if (kind === 'a') return label(operand)
      if (kind === 't') return program.tables[operand]?.name
      if (kind === 'r') return kinds[operand]
      if (kind === 'w') return writes[operand]
      return name === 'func' && index === 0 ? functions[operand]?.[0] : String(operand)
    })
    const line = program.lines.get(at)
    const text = `    ${name.padEnd(8)} ${shown.join(', ')}`.trimEnd()
    out.push(line ? `${text.padEnd(56)} ; ${line}` : text)
  })
  return `${out.join('\n')}\n`
}

function frameText(frame: Frame, label: (address: number) => string): string {
  const parts = [`prefix=${hex(frame.prefix)}`]
  if (frame.field !== undefined) parts.push(`field=${frame.field}`, `at=${frame.at}`, `plus=${frame.plus}`)
  else if (frame.ending) parts.push(`ending=${hex(frame.ending)}`)
  else parts.push(`fixed=${frame.fixed}`)
  return `.frame ${parts.join(' ')} min=${frame.min} max=${frame.max} entry=${label(frame.entry)}`
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
  const program: Program = {
    name: '',
    header: {},
    code: [],
    constants: [],
    frames: [],
    tables: [],
    slots: [],
    sessionSlots: 0,
    labels: new Map(),
    lines: new Map(),
  }
  const addresses = new Map<string, number>()
  const later: (() => void)[] = []
  const constants = new Map<string, number>()
  const address = (name: string): number => {
    const found = addresses.get(name)
    if (found === undefined) throw new Error(`there is no label ${name}`)
    return found
  }
  const constant = (json: string): number => {
    const known = constants.get(json)
    if (known !== undefined) return known
    constants.set(json, program.constants.length)
    return program.constants.push(JSON.parse(json)) - 1
  }
  const directives: Record<string, (rest: string) => void> = {
    protocol: (rest) => void (program.name = rest),
    header: (rest) => {
      const space = rest.indexOf(' ')
      program.header[rest.slice(0, space)] = JSON.parse(rest.slice(space + 1))
    },
    slot: (rest) => {
      const [name = '', life] = rest.split(' ')
      program.slots.push(name)
      if (life === 'session') program.sessionSlots++
    },
    frame: (rest) => {
      const fields = Object.fromEntries(rest.split(' ').map((part) => part.split('=') as [string, string]))
      const frame: Frame = {
        prefix: Buffer.from(fields.prefix ?? '', 'hex'),
        fixed: Number(fields.fixed ?? 0),
        field: fields.field as Frame['field'],
        at: Number(fields.at ?? 0),
        plus: Number(fields.plus ?? 0),
        ending: fields.ending === undefined ? undefined : Buffer.from(fields.ending, 'hex'),
        min: Number(fields.min),
        max: Number(fields.max),
        entry: 0,
      }
      program.frames.push(frame)
      later.push(() => void (frame.entry = address(fields.entry ?? '')))
    },
    table: (rest) => {
      const [name = '', ...entries] = rest.match(/"(?:[^"\\]|\\.)*"=\S+|\S+/g) ?? []
      const table = { name, entries: new Map<number | string, number>() }
      program.tables.push(table)
      later.push(() => {
        for (const entry of entries) {
          const cut = entry.lastIndexOf('=')
          table.entries.set(JSON.parse(entry.slice(0, cut)), address(entry.slice(cut + 1)))
        }
      })
    },
  }
  for (const [number, raw] of text.split('\n').entries()) {
    const line = raw.replace(/ +; [^"]*$/, '').trim()
    if (line === '' || line.startsWith(';')) continue
    try {
      if (line.startsWith('.')) {
        const [name = '', ...rest] = line.slice(1).split(' ')
        const directive = directives[name]
        if (!directive) throw new Error(`there is no directive .${name}`)
        directive(rest.join(' '))
      } else if (/^\w+:$/.test(line)) {
        addresses.set(line.slice(0, -1), program.code.length)
        if (!/^L\d+:$/.test(line)) program.labels.set(program.code.length, line.slice(0, -1))
      } else {
        const space = line.indexOf(' ')
        const { code, operands } = opcode(space < 0 ? line : line.slice(0, space))
        const given = splitOperands(space < 0 ? '' : line.slice(space))
        if (given.length !== operands.length) throw new Error(`${operands.length} operands expected`)
        program.code.push(code)
        for (const [index, kind] of [...operands].entries()) {
          const word = given[index] as string
          const at = program.code.push(0) - 1
          if (kind === 'a') later.push(() => void (program.code[at] = address(word)))
          else program.code[at] = operandOf(kind, word, index, program, constant)
        }
      }
    } catch (error) {
      throw new Error(`line ${number + 1}: ${(error as Error).message}: ${raw.trim()}`)
    }
  }
  for (const step of later) step()
  return program
}

function operandOf(
  kind: string,
  word: string,
  index: number,
  program: Program,
  constant: (json: string) => number,
): number {
  const known = (found: number, what: string) => {
    if (found < 0) throw new Error(`there is no ${what} ${word}`)
    return found
  }
  if (kind === 'k') return constant(word)
  if (kind === 's') return known(program.slots.indexOf(word.slice(1)), 'slot')
  if (kind === 't')
    return known(
      program.tables.findIndex(({ name }) => name === word),
      'table',
    )
  if (kind === 'r') return known(kinds.indexOf(word as 'u8'), 'kind')
  if (kind === 'w') return known(writes.indexOf(word as 'text'), 'kind')
  const named = index === 0 ? functions.findIndex(([name]) => name === word) : -1
  return named >= 0 ? named : known(Number(word), 'function')
}
