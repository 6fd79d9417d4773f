/** One parameter of a run of records: only the values that are there, and in which rows they are. */
import { DamagedError } from './page-bytes.ts'

export const number_kind = 0
export const boolean_kind = 1
export const string_kind = 2
/** Values of several kinds: each has a tag. */
export const mixed_kind = 3

export const null_tag = 0
export const false_tag = 1
export const true_tag = 2
export const number_tag = 3
export const string_tag = 4
/** Arrays, objects, and texts that UTF-8 cannot hold: JSON in the dictionary. */
export const json_tag = 5

const first_room = 16
const none = new Float64Array(0)

/** Arrays and objects within each other: deeper ones are an attack on the stack. */
const depth_max = 200

/** JSON of a nested value; unlike `JSON.stringify`, −0 stays −0. Throws TypeError for what JSON cannot say. */
export function exactJson(value: unknown, depth = 0): string {
  if (depth > depth_max) throw new TypeError(`is nested deeper than ${depth_max}`)
  switch (typeof value) {
    case 'number':
      if (!Number.isFinite(value)) throw new TypeError(`is ${value}: a number must be finite`)
      return Object.is(value, -0) ? '-0' : String(value)
    case 'string':
    case 'boolean':
      return JSON.stringify(value)
    case 'object': {
      if (value === null) return 'null'
      const inner = (item: unknown) => exactJson(item, depth + 1)
      if (Array.isArray(value)) return `[${value.map((item) => (item === undefined ? 'null' : inner(item))).join()}]`
      const entries = Object.entries(value).filter(([, item]) => item !== undefined)
      return `{${entries.map(([name, item]) => `${JSON.stringify(name)}:${inner(item)}`).join()}}`
    }
    default:
      throw new TypeError(`is a ${typeof value}: JSON has none`)
  }
}

/** The values of one parameter. Written by `push…` in the order of rows, or made whole by a reader. */
export class Column {
  readonly name: string
  kind = -1
  /** Values that are there. */
  count = 0
  /** The row of each value, ascending; undefined: value i is of row i, and all rows have one. */
  rows: Uint32Array | undefined
  /** Numbers; 0 and 1 of booleans; indices into `strings`. */
  data: Float64Array | Int32Array
  /** Of a mixed column: what each value is. */
  tags: Uint8Array | undefined
  /** Distinct texts in the order of their first use. */
  strings: string[] = []
  #codes: Map<string, number> | undefined
  #lastText = ''
  #lastCode = -1

  constructor(name: string, kind = -1, data: Float64Array | Int32Array = none) {
    this.name = name
    this.kind = kind
    this.data = data
  }

  /** Makes room for so many values before the first comes. */
  expect(count: number): void {
    this.data = new Float64Array(Math.max(first_room, count))
  }

  #grow(): void {
    const data = new Float64Array(Math.max(first_room, this.data.length * 2))
    data.set(this.data)
    this.data = data
    if (this.rows) {
      const rows = new Uint32Array(data.length)
      rows.set(this.rows)
      this.rows = rows
    }
    if (this.tags) {
      const tags = new Uint8Array(data.length)
      tags.set(this.tags)
      this.tags = tags
    }
  }

  /** Adds a value; its tag must fit the kind. */
  #add(row: number, value: number): void {
    const { count } = this
    if (count === this.data.length) this.#grow()
    if (this.rows !== undefined) this.rows[count] = row
    else if (row !== count) {
      this.rows = new Uint32Array(this.data.length)
      for (let i = 0; i < count; i++) this.rows[i] = i
      this.rows[count] = row
    }
    this.data[count] = value
    this.count = count + 1
  }

  #addTagged(row: number, value: number, tag: number): void {
    if (this.tags === undefined) {
      const { kind, data } = this
      this.tags = new Uint8Array(data.length)
      for (let i = 0; i < this.count; i++) {
        this.tags[i] =
          kind === number_kind ? number_tag : kind === string_kind ? string_tag : data[i] ? true_tag : false_tag
      }
      this.kind = mixed_kind
    }
    this.#add(row, value)
    this.tags[this.count - 1] = tag
  }

  pushNumber(row: number, value: number): void {
    if (this.kind === number_kind) return this.#add(row, value)
    if (this.kind === -1) {
      this.kind = number_kind
      return this.#add(row, value)
    }
    this.#addTagged(row, value, number_tag)
  }

  pushBoolean(row: number, value: boolean): void {
    if (this.kind === -1) this.kind = boolean_kind
    if (this.kind === boolean_kind) return this.#add(row, value ? 1 : 0)
    this.#addTagged(row, value ? 1 : 0, value ? true_tag : false_tag)
  }

  /** A well-formed text. */
  pushString(row: number, text: string): void {
    if (this.kind === -1) this.kind = string_kind
    if (this.kind === string_kind) return this.#add(row, this.code(text))
    this.#addTagged(row, this.code(text), string_tag)
  }

  pushNull(row: number): void {
    this.#addTagged(row, 0, null_tag)
  }

  pushJson(row: number, text: string): void {
    this.#addTagged(row, this.code(text), json_tag)
  }

  /** A text of the dictionary. */
  pushCode(row: number, code: number): void {
    if (this.kind === string_kind) this.#add(row, code)
    else this.pushString(row, this.strings[code]!)
  }

  /** Value i of those that are there of another column. */
  pushFrom(row: number, { data, tags, strings }: Column, i: number): void {
    const [value, tag] = [data[i]!, tags![i]!]
    if (tag === number_tag) this.pushNumber(row, value)
    else if (tag === string_tag) this.pushString(row, strings[value]!)
    else if (tag === json_tag) this.pushJson(row, strings[value]!)
    else if (tag === null_tag) this.pushNull(row)
    else this.pushBoolean(row, tag === true_tag)
  }

  /** The index of a text in the dictionary. */
  code(text: string): number {
    if (text === this.#lastText && this.#lastCode >= 0) return this.#lastCode
    this.#codes ??= new Map(this.strings.map((known, i) => [known, i]))
    let code = this.#codes.get(text)
    if (code === undefined) {
      code = this.strings.length
      this.strings.push(text)
      this.#codes.set(text, code)
    }
    this.#lastText = text
    this.#lastCode = code
    return code
  }

  /** Whether a text is new to the dictionary. */
  knows(text: string): boolean {
    return text === this.#lastText || (this.#codes?.has(text) ?? false)
  }

  /** Value i of those that are there. */
  value(i: number): unknown {
    const data = this.data[i]!
    switch (this.kind) {
      case number_kind:
        return data
      case boolean_kind:
        return data === 1
      case string_kind:
        return this.strings[data]
      default:
        switch (this.tags?.[i]) {
          case null_tag:
            return null
          case false_tag:
            return false
          case true_tag:
            return true
          case number_tag:
            return data
          case string_tag:
            return this.strings[data]
          default:
            return parsed(this.strings[data]!)
        }
    }
  }

  /** Adds any value. Throws TypeError for one that JSON does not know; undefined is not there. */
  push(row: number, value: unknown): void {
    switch (typeof value) {
      case 'number':
        // NaN and the infinities.
        if (value - value !== 0) throw new TypeError(`is ${value}: a number must be finite`)
        this.pushNumber(row, value)
        return
      case 'string':
        if (this.knows(value) || value.isWellFormed()) this.pushString(row, value)
        else this.pushJson(row, JSON.stringify(value))
        return
      case 'boolean':
        this.pushBoolean(row, value)
        return
      case 'undefined':
        return
      case 'object':
        if (value === null) this.pushNull(row)
        else this.pushJson(row, exactJson(value))
        return
      default:
        throw new TypeError(`is a ${typeof value}: JSON has none`)
    }
  }

  /** The index of a row's value; −1: the row has none. */
  find(row: number): number {
    const { rows, count } = this
    if (rows === undefined) return row < count ? row : -1
    const at = lowerBound(rows, row, count)
    return at < count && rows[at] === row ? at : -1
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new DamagedError(`"${text.slice(0, 32)}" is no JSON`)
  }
}

/** The first index of ascending values that is not below `bound`. */
export function lowerBound(values: Float64Array | Uint32Array, bound: number, size = values.length): number {
  let low = 0
  let high = size
  while (low < high) {
    const middle = (low + high) >>> 1
    if (values[middle]! < bound) low = middle + 1
    else high = middle
  }
  return low
}
