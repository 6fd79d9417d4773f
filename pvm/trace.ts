/** What the interpreter did with a packet, step by step: which bytes each parameter came from, and which line made it. */
import { opcodes } from './opcodes.ts'
import type { Program } from './program.ts'
import type { Runtime } from './runtime.ts'
import type { Value } from './values.ts'

/** Bytes of the packet, from … to (excluded). */
export interface Span {
  from: number
  to: number
}

/** A parameter that was stored. */
export interface Stored {
  parameter: string
  value: Value
  /** The bytes that it came from; absent for constants and what the session knew. */
  span?: Span
  /** File and line of the description. */
  line: string
}

/** One line of the description at work. */
export interface Step {
  line: string
  /** Bytes that it passed. */
  span: Span
  stored: Stored[]
  /** Variables that it set. */
  variables: [name: string, value: Value][]
}

/** What is told of one packet. */
export interface Trace {
  /** The packet as the description sees it. */
  bytes: Uint8Array
  steps: Step[]
}

const reading = new Set(['read', 'take', 'rest', 'until', 'untilany', 'run', 'eat'])

function union(a: Span | undefined, b: Span | undefined): Span | undefined {
  if (!a || !b) return a ?? b
  return { from: Math.min(a.from, b.from), to: Math.max(a.to, b.to) }
}

/** Follows the interpreter: it is told of each instruction before it runs. */
export class Tracer {
  readonly traces: Trace[] = []
  readonly #program: Program
  /** Addresses at which lines of the description begin, in order. */
  readonly #starts: number[]
  #steps: Step[] = []
  /** Where the values on the stack and in the slots came from. */
  #origins: (Span | undefined)[] = []
  #slots: (Span | undefined)[]
  /** Windows that are open; those on other bytes with where these came from. */
  #windows: { inside: boolean; origin: Span | undefined }[] = []
  #last: { at: number; pos: number; top: Value; second: Value } | undefined

  constructor(program: Program) {
    this.#program = program
    this.#starts = [...program.lines.keys()].sort((a, b) => a - b)
    this.#slots = program.slots.map(() => undefined)
  }

  begin(machine: Runtime): void {
    this.#steps = []
    this.#origins = []
    this.#windows = []
    this.#last = undefined
    for (let i = this.#program.sessionSlots; i < this.#slots.length; i++) this.#slots[i] = undefined
    this.traces.push({ bytes: Uint8Array.from(machine.bytes), steps: this.#steps })
  }

  /** The instruction at `at` is about to run; the one before it has. */
  before(at: number, machine: Runtime, stack: readonly Value[]): void {
    this.#finish(machine, stack)
    this.#last = { at, pos: machine.pos, top: stack.at(-1) ?? null, second: stack.at(-2) ?? null }
  }

  /** A try took over: values and windows since it began are gone. */
  caught(stack: number, machine: Runtime): void {
    this.#origins.length = stack
    this.#windows.length = machine.depth
    this.#last = undefined
  }

  end(machine: Runtime): void {
    this.#finish(machine, [])
    this.#last = undefined
  }

  #lineOf(at: number): string {
    let low = 0
    let high = this.#starts.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#starts[middle] as number) <= at) low = middle + 1
      else high = middle
    }
    return this.#program.lines.get(this.#starts[low - 1] ?? -1) ?? ''
  }

  #step(at: number, pos: number): Step {
    const line = this.#lineOf(at)
    const last = this.#steps.at(-1)
    if (last?.line === line) return last
    const step: Step = { line, span: { from: pos, to: pos }, stored: [], variables: [] }
    this.#steps.push(step)
    return step
  }

  /** What the last instruction did. */
  #finish(machine: Runtime, stack: readonly Value[]): void {
    const last = this.#last
    if (!last) return
    const code = this.#program.code
    const opcode = opcodes[code[last.at] as number] as (typeof opcodes)[number]
    const { name } = opcode
    const operand = code[last.at + 1] as number
    const takes = opcode.takes < 0 ? (code[last.at + 2] as number) : opcode.takes
    const taken = this.#origins.splice(Math.max(0, this.#origins.length - takes), takes)
    const other = this.#windows.findLast((window) => window.inside)
    const step = this.#step(last.at, last.pos)
    const moved = machine.pos > last.pos && !['leave', 'inside', 'seek'].includes(name)
    if (moved && !other)
      step.span = { from: Math.min(step.span.from, last.pos), to: Math.max(step.span.to, machine.pos) }
    let origin = taken.reduce(union, undefined)
    if (reading.has(name) && moved)
      origin = other ? other.origin : { from: last.pos, to: this.#readEnd(name, operand, machine) }
    if (name === 'load') origin = this.#slots[operand]
    if (name === 'store') {
      this.#slots[operand] = taken[0]
      const variable = this.#program.slots[operand] as string
      if (!variable.startsWith(':')) step.variables.push([variable, last.top])
    }
    if (name === 'param') this.#stored(step, String(this.#program.constants[operand]), last.top, taken[0])
    if (name === 'named') this.#stored(step, String(last.top), last.second, taken[0])
    if (name === 'window' || name === 'within') this.#windows.push({ inside: false, origin: undefined })
    if (name === 'part' && machine.depth > this.#windows.length)
      this.#windows.push({ inside: false, origin: undefined })
    if (name === 'inside') this.#windows.push({ inside: true, origin: taken[0] })
    if (name === 'leave') this.#windows.pop()
    for (let i = 0; i < opcode.leaves; i++) this.#origins.push(origin)
    if (stack.length > 0) this.#origins.length = stack.length
  }

  /** The separator that was passed is not what was read. */
  #readEnd(name: string, operand: number, machine: Runtime): number {
    if (name !== 'until') return machine.pos
    const separator = Buffer.from(String(this.#program.constants[operand]), 'latin1')
    const from = machine.pos - separator.length
    return from >= 0 && separator.equals(machine.bytes.subarray(from, machine.pos)) ? from : machine.pos
  }

  #stored(step: Step, parameter: string, value: Value, span: Span | undefined): void {
    if (value === null || value === '') return
    step.stored.push({ parameter, value, line: step.line, ...(span ? { span } : {}) })
  }
}

/** A line of a program's files, which are named from where the description is. */
export function sourceLine(line: string, sources: ReadonlyMap<string, readonly string[]>): string {
  const [file = '', number = '0'] = line.split(':')
  return (sources.get(file)?.[Number(number) - 1] ?? '').trim()
}
