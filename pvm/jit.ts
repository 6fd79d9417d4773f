/** Generated code: a program as JavaScript. It gives the same answer as the interpreter on every input; a fuzz test compares them. */
import { Fault } from './errors.ts'
import { functionList, functionNames } from './functions.ts'
import type { SlotType } from './jit-code.ts'
import { flowOf, Unsupported } from './jit-flow.ts'
import { StepMaker } from './jit-steps.ts'
import { ANY, typeOfConstant } from './jit-values.ts'
import { depth_max } from './limits.ts'
import { newMessage } from './message.ts'
import type { Program } from './program.ts'
import { type Execute, type Runtime, readNumber } from './runtime.ts'
import { finite, holds, operators, type Value } from './values.ts'
import { interpret } from './vm.ts'

const compiled = new WeakMap<Program, { execute: Execute; source: string | undefined }>()
/** Passes over a program after which slots count as of any type. */
const passes_max = 6

/** How a program runs: generated code, or the interpreter for what has another shape than the compiler's. */
export function executorOf(program: Program): Execute {
  return prepared(program).execute
}

/** The JavaScript of a program; undefined: only the interpreter runs it. */
export function sourceOf(program: Program): string | undefined {
  return prepared(program).source
}

function prepared(program: Program): { execute: Execute; source: string | undefined } {
  const known = compiled.get(program)
  if (known) return known
  let made: { execute: Execute; source: string | undefined }
  try {
    const source = generate(program)
    const make = new Function('env', source) as (env: object) => Execute
    made = { execute: make(environment(program)), source }
  } catch (error) {
    if (!(error instanceof Unsupported) && !(error instanceof SyntaxError)) throw error
    made = { execute: (entry, machine) => interpret(program, entry, machine), source: undefined }
  }
  compiled.set(program, made)
  return made
}

/** Writes the JavaScript, again until what is known of the slots holds for what is stored in them. */
function generate(program: Program): string {
  const flow = flowOf(program, depth_max)
  const entries = new Set<number>()
  for (const frame of program.frames) {
    entries.add(frame.entry)
    if (frame.size.kind === 'measure') entries.add(frame.size.entry)
  }
  for (const { entry } of program.commands) entries.add(entry)
  const given = new Set(program.commands.flatMap(({ parameters }) => parameters.map(({ slot }) => slot)))
  const any: SlotType = { type: ANY, bits: Number.POSITIVE_INFINITY, natural: false }
  const first = program.initial.map((value, slot): SlotType => {
    if (given.has(slot)) return any
    const natural = typeof value === 'number' && value >= 0 && Number.isInteger(value)
    return { type: typeOfConstant(value), bits: typeof value === 'number' ? 64 : 0, natural: natural || value === null }
  })
  let slots = first
  for (let pass = 0; ; pass++) {
    const maker = new StepMaker(program, flow, slots)
    const parts: string[] = []
    for (const entry of entries) maker.wanted.routines.add(entry)
    // Sets grow while they are walked: what is wanted by what was written comes too.
    const written = { routines: 0, tables: 0 }
    while (written.routines < maker.wanted.routines.size || written.tables < maker.wanted.tables.size) {
      for (const start of [...maker.wanted.routines].slice(written.routines)) {
        parts.push(maker.routine(start))
        written.routines++
      }
      for (const table of [...maker.wanted.tables].slice(written.tables)) {
        parts.push(maker.table(table))
        written.tables++
      }
    }
    const next = slots.map((slot, i) => wider(slot, maker.stored[i], pass))
    if (next.every((slot, i) => sameType(slot, slots[i] as SlotType)))
      return assembled(program, parts, [...entries], maker.prefixes)
    slots = pass >= passes_max ? slots.map(() => any) : next
  }
}

function wider(slot: SlotType, stored: SlotType | undefined, pass: number): SlotType {
  if (!stored) return slot
  const bits = Math.max(slot.bits, stored.type & 2 ? stored.bits : 0)
  return {
    type: slot.type | stored.type,
    // What still grows has no bound that could be known.
    bits: pass > 1 && bits > slot.bits ? Number.POSITIVE_INFINITY : bits,
    natural: slot.natural && (stored.natural || (stored.type & 2) === 0),
  }
}

const sameType = (a: SlotType, b: SlotType) => a.type === b.type && a.bits === b.bits && a.natural === b.natural

function assembled(program: Program, parts: string[], entries: number[], prefixes: string[]): string {
  const slots = program.slots.map((_, i) => i)
  const lines = [
    "'use strict'",
    `const { ${[...Object.keys(helpers), ...functionNames.map((name) => `f_${name}`)].join(', ')} } = env`,
    ...program.enums.map((_, i) => `const e${i} = env.enums[${i}]`),
    ...prefixes.map((_, i) => `const n${i} = []`),
    slots.length > 0 ? `let ${slots.map((i) => `s${i} = null`).join(', ')}` : '',
    ...parts,
    'return function run(entry, m) {',
    'const K = m.state.kept',
    ...slots.map((i) => `s${i} = ${i < program.sessionSlots ? `K[${i}]` : JSON.stringify(program.initial[i])}`),
    `if (m.given !== undefined) { ${program.commands
      .flatMap(({ parameters }) =>
        parameters.map(({ slot }) => `if (m.given.has(${slot})) s${slot} = m.given.get(${slot})`),
      )
      .join('; ')} }`,
    'try { switch (entry) {',
    ...entries.map((entry) => `case ${entry}: r${entry}(m); break`),
    "default: throw new Error('no entry ' + entry)",
    '} } finally {',
    ...slots.slice(0, program.sessionSlots).map((i) => `K[${i}] = s${i}`),
    ...program.commands.flatMap(({ key }) => (key < 0 ? [] : [`m.slots[${key}] = s${key}`])),
    '} }',
  ]
  return `${lines.join('\n')}\n`
}

/** What generated code calls besides the machine. */
const helpers = {
  newMessage,
  operators,
  holds,
  finite,
  readNumber,
  Fault,
  depth_max,
  /** A 64-bit number, as a number where it is exact. */
  u64(view: DataView, at: number): Value {
    const high = view.getUint32(at)
    return high < 0x200000 ? high * 4_294_967_296 + view.getUint32(at + 4) : readNumber(view, 'u64', at)
  },
  u64le(view: DataView, at: number): Value {
    const high = view.getUint32(at + 4, true)
    return high < 0x200000 ? high * 4_294_967_296 + view.getUint32(at, true) : readNumber(view, 'u64le', at)
  },
  rest_uint(m: Runtime, bytes: Uint8Array, view: DataView, pos: number, end: number): Value {
    switch (end - pos) {
      case 1:
        return bytes[pos] as number
      case 2:
        return view.getUint16(pos)
      case 4:
        return view.getUint32(pos)
      case 8:
        return helpers.u64(view, pos)
    }
    return rest(m, 'uint', pos, end)
  },
  rest_int(m: Runtime, _bytes: Uint8Array, view: DataView, pos: number, end: number): Value {
    switch (end - pos) {
      case 1:
        return view.getInt8(pos)
      case 2:
        return view.getInt16(pos)
      case 4:
        return view.getInt32(pos)
    }
    return rest(m, 'int', pos, end)
  },
  rest_uintle(m: Runtime, bytes: Uint8Array, view: DataView, pos: number, end: number): Value {
    switch (end - pos) {
      case 1:
        return bytes[pos] as number
      case 2:
        return view.getUint16(pos, true)
      case 4:
        return view.getUint32(pos, true)
    }
    return rest(m, 'uintle', pos, end)
  },
  rest_intle(m: Runtime, _bytes: Uint8Array, view: DataView, pos: number, end: number): Value {
    switch (end - pos) {
      case 1:
        return view.getInt8(pos)
      case 2:
        return view.getInt16(pos, true)
      case 4:
        return view.getInt32(pos, true)
    }
    return rest(m, 'intle', pos, end)
  },
  /** A name with a number behind it: the same text each time, which objects take faster. */
  nameOf(known: string[], prefix: string, value: Value): Value {
    if (typeof value !== 'number' || !(value >= 0 && value < 65_536 && Number.isInteger(value)))
      return operators.add(prefix, value)
    const found = known[value]
    if (found !== undefined) return found
    const name = `${prefix}${value}`
    known[value] = name
    return name
  },
}

function rest(m: Runtime, kind: 'uint' | 'int' | 'uintle' | 'intle', pos: number, end: number): Value {
  m.pos = pos
  m.end = end
  return m.rest(kind)
}

function environment(program: Program): object {
  const env: Record<string, unknown> = { ...helpers, enums: program.enums.map(({ entries }) => entries) }
  for (const [i, name] of functionNames.entries()) env[`f_${name}`] = functionList[i]?.pure ?? functionList[i]?.run
  return env
}
