/** Messages made of columns: by generated code, so that all of one make have one shape. */
import { boolean_kind, type Column, lowerBound, mixed_kind, number_kind, string_kind } from './column.ts'
import { assign } from './page-rows.ts'
import type { Message } from './page-table.ts'

/** Rare values are set one by one: a column is rare if fewer than one of so many rows has it. */
const rare_share = 8
/** Sets of rows that patterns are made of; columns of further ones are set one by one. */
const sets_max = 24
/** A pattern is worth code of its own after so many messages. */
const code_after = 64
/** Makers that are kept; a fleet has some dozens. */
const makers_max = 2_000

type Values = Float64Array | Int32Array | readonly unknown[]
type Make = (out: Message[], rows: Uint32Array, count: number, timestamps: Float64Array, values: Values[]) => void

/** A parameter of the wanted rows: value i is of row i. */
interface Source {
  name: string
  /** n numbers, b booleans, s indices into `strings`, v values. */
  type: 'n' | 'b' | 's' | 'v'
  values: Values
  strings: readonly string[]
}

const makers = new Map<string, { made: number; make: Make | undefined }>()

function generate(sources: readonly Source[]): Make {
  const loads: string[] = []
  const fields: string[] = []
  for (const [i, { name, type }] of sources.entries()) {
    loads.push(`const a${i} = values[${i * 2}], s${i} = values[${i * 2 + 1}]`)
    // In brackets it is a property like any other, not the object's prototype.
    const key = name === '__proto__' ? '["__proto__"]' : JSON.stringify(name)
    const value = type === 's' ? `s${i}[a${i}[i]]` : type === 'b' ? `a${i}[i] === 1` : `a${i}[i]`
    fields.push(`${key}: ${value}`)
  }
  return new Function(
    'out',
    'rows',
    'count',
    'timestamps',
    'values',
    `${loads.join('\n')}
    for (let k = 0; k < count; k++) {
      const i = rows[k]
      out[i] = { timestamp: timestamps[i], ${fields.join(', ')} }
    }`,
  ) as Make
}

function valueAt({ type, values, strings }: Source, i: number): unknown {
  const value = values[i]
  return type === 's' ? strings[value as number] : type === 'b' ? value === 1 : value
}

function make(out: Message[], rows: Uint32Array, count: number, timestamps: Float64Array, sources: Source[]): void {
  let key = ''
  for (const { name, type, values } of sources)
    key += `${values instanceof Int32Array ? 'i' : 'f'}${type}${name.length}.${name}`
  let maker = makers.get(key)
  if (maker === undefined) {
    if (makers.size >= makers_max) makers.clear()
    maker = { made: 0, make: undefined }
    makers.set(key, maker)
  }
  maker.made += count
  if (maker.made >= code_after) {
    maker.make ??= generate(sources)
    maker.make(
      out,
      rows,
      count,
      timestamps,
      sources.flatMap(({ values, strings }) => [values, strings]),
    )
    return
  }
  for (let k = 0; k < count; k++) {
    const i = rows[k]!
    const message: Message = { timestamp: timestamps[i]! }
    for (const source of sources) assign(message, source.name, valueAt(source, i))
    out[i] = message
  }
}

/** Values `first` … of the column as those of rows 0 …; `rows`: where each of them goes, if not one after another. */
function sourceOf(column: Column, first: number, end: number, rows?: Uint32Array, size = 0, row = 0): Source {
  const { name, kind, data, strings } = column
  const type = kind === number_kind ? 'n' : kind === boolean_kind ? 'b' : kind === string_kind ? 's' : 'v'
  let values: Values
  if (kind === mixed_kind) {
    const spread: unknown[] = new Array(rows ? size : end - first)
    for (let i = first; i < end; i++) spread[rows ? rows[i]! - row : i - first] = column.value(i)
    values = spread
  } else if (rows === undefined) values = data.subarray(first, end)
  else {
    values = data instanceof Int32Array ? new Int32Array(size) : new Float64Array(size)
    for (let i = first; i < end; i++) values[rows[i]! - row] = data[i]!
  }
  return { name, type, values, strings }
}

interface Part {
  source: Source
  /** Which set of rows has it; −1: all rows. */
  set: number
}

/** The messages of rows [first, end). */
export function messagesOf(
  timestamps: Float64Array,
  columns: readonly Column[],
  first: number,
  end: number,
): Message[] {
  const size = end - first
  const out: Message[] = new Array(size)
  if (size <= 0) return []
  const parts: Part[] = []
  const rare: { column: Column; from: number; to: number }[] = []
  const sets: { rows: Uint32Array; from: number; to: number }[] = []
  for (const column of columns) {
    const { rows } = column
    if (rows === undefined) {
      if (column.count >= end) parts.push({ source: sourceOf(column, first, end), set: -1 })
      else rare.push({ column, from: first, to: column.count })
      continue
    }
    const from = lowerBound(rows, first, column.count)
    const to = lowerBound(rows, end, column.count)
    if (to - from === size) parts.push({ source: sourceOf(column, from, to), set: -1 })
    else if ((to - from) * rare_share < size) rare.push({ column, from, to })
    else {
      let set = sets.findIndex((known) => known.rows === rows)
      if (set < 0 && sets.length < sets_max) set = sets.push({ rows, from, to }) - 1
      if (set < 0) rare.push({ column, from, to })
      else parts.push({ source: sourceOf(column, from, to, rows, size, first), set })
    }
  }
  const times = timestamps.subarray(first, end)
  if (sets.length === 0) {
    const all = new Uint32Array(size)
    for (let i = 0; i < size; i++) all[i] = i
    make(
      out,
      all,
      size,
      times,
      parts.map(({ source }) => source),
    )
  } else {
    const patterns = new Uint32Array(size)
    for (const [bit, { rows, from, to }] of sets.entries()) {
      for (let i = from; i < to; i++) patterns[rows[i]! - first]! |= 1 << bit
    }
    const groups = new Map<number, number[]>()
    for (let i = 0; i < size; i++) {
      const group = groups.get(patterns[i]!)
      if (group) group.push(i)
      else groups.set(patterns[i]!, [i])
    }
    for (const [pattern, rows] of groups) {
      const some = parts.filter(({ set }) => set < 0 || (pattern >>> set) & 1)
      make(
        out,
        Uint32Array.from(rows),
        rows.length,
        times,
        some.map(({ source }) => source),
      )
    }
  }
  for (const { column, from, to } of rare) {
    for (let i = from; i < to; i++)
      assign(out[(column.rows ? column.rows[i]! : i) - first]!, column.name, column.value(i))
  }
  return out
}
