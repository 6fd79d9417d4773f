/** What generated code needs to know of a program: its instructions, its functions, who calls whom. */
import { opcodes } from './opcodes.ts'
import type { Program } from './program.ts'

/** The program has a shape that only the interpreter runs. */
export class Unsupported extends Error {}

export interface Instruction {
  at: number
  name: string
  operands: readonly number[]
  /** Address of the instruction behind it. */
  next: number
}

/** A sub-routine, a table's entry, a command: code from `start` to `end`. */
export interface Routine {
  start: number
  end: number
  /** Routines that it calls, and how often. */
  calls: Map<number, number>
  /** Tables that it looks up, and how often. */
  lookups: Map<number, number>
  size: number
}

export interface Flow {
  instructions: Map<number, Instruction>
  routines: Map<number, Routine>
  /** Addresses that something jumps to. */
  targets: Set<number>
  /** How many places call a routine, and look up a table. */
  callers: Map<number, number>
  lookers: Map<number, number>
  /** Some routine can come to call itself, or calls nest deeper than the machine allows. */
  deep: boolean
  /** Routines that run while a packet is measured. */
  measuring: Set<number>
  tries: boolean
}

function decode(code: readonly number[]): Map<number, Instruction> {
  const found = new Map<number, Instruction>()
  for (let at = 0; at < code.length; ) {
    const opcode = opcodes[code[at] as number]
    if (!opcode) throw new Unsupported(`no instruction at ${at}`)
    const next = at + 1 + opcode.operands.length
    found.set(at, { at, name: opcode.name, operands: code.slice(at + 1, next), next })
    at = next
  }
  return found
}

const jumping: Record<string, number> = { jump: 0, unless: 0, try: 0, part: 1, lookup: 1 }

/** Where an instruction may jump to within its routine. */
export function jumpsOf(program: Program, instruction: Instruction): number[] {
  if (instruction.name === 'branch')
    return [...(program.tables[instruction.operands[0] as number]?.entries.values() ?? [])]
  const operand = jumping[instruction.name]
  return operand === undefined ? [] : [instruction.operands[operand] as number]
}

/** Looks through a program. `deepest`: how deep calls may nest. */
export function flowOf(program: Program, deepest: number): Flow {
  const instructions = decode(program.code)
  const starts = new Set<number>([0])
  for (const frame of program.frames) {
    starts.add(frame.entry)
    if (frame.size.kind === 'measure') starts.add(frame.size.entry)
  }
  for (const { entry } of program.commands) starts.add(entry)
  for (const { name, operands } of instructions.values()) {
    if (name === 'call') starts.add(operands[0] as number)
    if (name === 'lookup')
      for (const address of program.tables[operands[0] as number]?.entries.values() ?? []) starts.add(address)
  }
  // Labels that nothing calls begin a routine too: what stands before them ends there.
  for (const address of program.labels.keys()) starts.add(address)
  const sorted = [...starts].sort((a, b) => a - b)
  const routines = new Map<number, Routine>()
  const targets = new Set<number>()
  const callers = new Map<number, number>()
  const lookers = new Map<number, number>()
  let tries = false
  for (const [index, start] of sorted.entries()) {
    const routine: Routine = {
      start,
      end: sorted[index + 1] ?? program.code.length,
      calls: new Map(),
      lookups: new Map(),
      size: 0,
    }
    routines.set(start, routine)
    for (let at = start; at < routine.end; ) {
      const instruction = instructions.get(at)
      if (!instruction) throw new Unsupported(`a jump into the middle of an instruction at ${at}`)
      for (const target of jumpsOf(program, instruction)) {
        if (target < start || target >= routine.end) throw new Unsupported(`a jump out of a routine at ${at}`)
        targets.add(target)
      }
      count(instruction, routine, callers, lookers)
      if (instruction.name === 'try') tries = true
      routine.size++
      at = instruction.next
    }
  }
  const measured = program.frames.flatMap(({ size }) => (size.kind === 'measure' ? [size.entry] : []))
  return {
    instructions,
    routines,
    targets,
    callers,
    lookers,
    deep: nesting(program, routines) > deepest,
    measuring: reached(program, routines, measured),
    tries,
  }
}

function count(
  { name, operands }: Instruction,
  routine: Routine,
  callers: Map<number, number>,
  lookers: Map<number, number>,
): void {
  const [operand = 0] = operands
  const more = (map: Map<number, number>) => map.set(operand, (map.get(operand) ?? 0) + 1)
  if (name === 'call') {
    more(callers)
    more(routine.calls)
  }
  if (name === 'lookup') {
    more(lookers)
    more(routine.lookups)
  }
}

function calledBy(program: Program, routine: Routine): number[] {
  const entries = [...routine.lookups.keys()].flatMap((table) => [...(program.tables[table]?.entries.values() ?? [])])
  return [...routine.calls.keys(), ...entries]
}

/** How deep calls nest; infinite when a routine can come to call itself. */
function nesting(program: Program, routines: Map<number, Routine>): number {
  const known = new Map<number, number>()
  const open = new Set<number>()
  const depth = (start: number): number => {
    const done = known.get(start)
    if (done !== undefined) return done
    if (open.has(start)) return Number.POSITIVE_INFINITY
    open.add(start)
    const routine = routines.get(start)
    let deepest = 0
    for (const called of routine ? calledBy(program, routine) : []) deepest = Math.max(deepest, 1 + depth(called))
    open.delete(start)
    known.set(start, deepest)
    return deepest
  }
  return Math.max(...[...routines.keys()].map(depth))
}

function reached(program: Program, routines: Map<number, Routine>, from: number[]): Set<number> {
  const found = new Set<number>()
  const open = [...from]
  for (let start = open.pop(); start !== undefined; start = open.pop()) {
    const routine = routines.get(start)
    if (found.has(start) || !routine) continue
    found.add(start)
    open.push(...calledBy(program, routine))
  }
  return found
}
