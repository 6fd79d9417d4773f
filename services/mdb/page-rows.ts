/** Rows: records one after another, as they come. Quick to make; columns come when pages merge. See docs/mdb-format.md. */
import { exactJson } from './column.ts'
import { type ByteReader, type ByteWriter, DamagedError } from './page-bytes.ts'
import { names, numbers } from './page-names.ts'
import { type Message, numberBytes, textBytes } from './page-table.ts'

export const null_value = 0
export const false_value = 1
export const true_value = 2
/** A whole number within ±2⁵², zigzag. */
export const whole_value = 3
export const float_value = 4
/** A text that was not there before: it gets the next index. */
export const string_value = 5
/** The index of an earlier text. */
export const again_value = 6
export const json_value = 7
/** A byte of `small` and above is a whole number of 0 … 255 − small. */
export const small = 16
const whole_max = 2 ** 52
/** A record with more parameters is not a device's message. */
const parameters_max = 2_000
/** Texts longer than this are not looked up again. */
export const again_max = 64

/** Writes a name: its number, or 0 and its text. */
export function writeName(out: ByteWriter, name: string): void {
  const number = numbers.get(name)
  if (number !== undefined) return out.varint(number)
  out.varint(0)
  out.text(name)
}

export function readName(from: ByteReader): string {
  const number = from.varint()
  if (number === 0) return from.text()
  const name = names[number - 1]
  if (name === undefined) throw new DamagedError(`there is no parameter number ${number}: it needs a newer version`)
  return name
}

/** The names of a record in its order. */
class Shape {
  readonly names: string[] = []
  /** Bytes of names, colons, commas and braces of such a record as JSON, the timestamp's too. */
  json_bytes = '{"timestamp":}'.length
  /** The shape with one name more. */
  readonly next = new Map<string, Shape>()
  /** Its index among the shapes that a page used; belongs to `page`. */
  index = -1
  page = 0
  /** The name that came last. */
  lastName = ''
  lastNext: Shape | undefined
}

const root = new Shape()
let shapes_made = 0
/** Shapes kept from page to page: beyond it they are made anew. */
const shapes_max = 20_000
let pages_made = 0

function nextShape(shape: Shape, name: string): Shape {
  if (shape.lastName === name && shape.lastNext) return shape.lastNext
  let next = shape.next.get(name)
  if (next === undefined) {
    next = new Shape()
    next.names.push(...shape.names, name)
    next.json_bytes = shape.json_bytes + textBytes(name) + 2
    shape.next.set(name, next)
    shapes_made++
  }
  shape.lastName = name
  shape.lastNext = next
  return next
}

function forgetShapes(): void {
  root.next.clear()
  root.lastNext = undefined
  shapes_made = 0
}

const texts = new Map<string, number>()
/** Few records have few texts twice. */
let texts_wanted = true

function writeValue(out: ByteWriter, value: unknown): void {
  switch (typeof value) {
    case 'number':
      if (value === Math.floor(value) && value <= whole_max && value >= -whole_max) {
        if (value >= 0 && value < 256 - small) {
          if (value === 0 && Object.is(value, -0)) break
          return out.u8(value + small)
        }
        out.u8(whole_value)
        return out.signed(value)
      }
      if (value - value !== 0) throw new TypeError(`is ${value}: a number must be finite`)
      break
    case 'string': {
      if (texts_wanted && value.length <= again_max) {
        const index = texts.get(value)
        if (index !== undefined) {
          out.u8(again_value)
          return out.varint(index)
        }
      }
      if (!value.isWellFormed()) {
        out.u8(json_value)
        return out.text(JSON.stringify(value))
      }
      if (texts_wanted && value.length <= again_max) texts.set(value, texts.size)
      out.u8(string_value)
      return out.text(value)
    }
    case 'boolean':
      return out.u8(value ? true_value : false_value)
    default:
      if (value === null) return out.u8(null_value)
      out.u8(json_value)
      return out.text(exactJson(value))
  }
  out.u8(float_value)
  out.f64(value)
}

/** Bytes of a value as JSON. */
function valueBytes(value: unknown): number {
  switch (typeof value) {
    case 'number':
      return numberBytes(value)
    case 'string':
      return textBytes(value)
    case 'boolean':
      return value ? 4 : 5
    default:
      return value === null ? 4 : Buffer.byteLength(JSON.stringify(value))
  }
}

/**
 * Writes the body of rows. A record: the number of its shape, or 0 and the shape; its timestamp; the values. Returns the bytes of
 * the records as JSON: `known`, or counted. Throws TypeError that names the record and the parameter.
 */
export function writeRecords(out: ByteWriter, records: readonly Message[], known?: number): number {
  if (texts.size > 0) texts.clear()
  texts_wanted = records.length > 2
  if (shapes_made > shapes_max) forgetShapes()
  const page = ++pages_made
  let shapes = 0
  let bytes = 0
  for (let row = 0; row < records.length; row++) {
    const record = records[row]!
    let shape = root
    for (const name in record) if (name !== 'timestamp' && record[name] !== undefined) shape = nextShape(shape, name)
    if (shape.page === page) out.varint(shape.index + 1)
    else {
      shape.page = page
      shape.index = shapes++
      out.u8(0)
      out.varint(shape.names.length)
      for (const name of shape.names) writeName(out, name)
    }
    const { timestamp } = record
    if (typeof timestamp !== 'number' || timestamp - timestamp !== 0)
      throw new TypeError(`record ${row}: "timestamp" is missing: a number, seconds since 1970 UTC`)
    out.f64(timestamp)
    if (known === undefined) bytes += shape.json_bytes + numberBytes(timestamp)
    for (const name in record) {
      if (name === 'timestamp') continue
      const value = record[name]
      if (value === undefined) continue
      try {
        writeValue(out, value)
      } catch (error) {
        if (!(error instanceof TypeError)) throw error
        throw new TypeError(`record ${row}: "${name}" ${error.message}`)
      }
      if (known === undefined) bytes += valueBytes(value)
    }
  }
  return known ?? bytes
}

/** What a first look at rows tells. */
export interface RowsScan {
  timestamps: Float64Array
  /** In the order of their first use. */
  parameters: readonly string[]
}

/** Passes a text; it must be UTF-8. */
function passText(from: ByteReader): number {
  const size = from.varint()
  from.need(size)
  const { bytes } = from
  const end = from.at + size
  let at = from.at
  while (at < end && bytes[at]! < 128) at++
  if (at === end) {
    from.at = end
    return size
  }
  return from.utf8(size).length
}

/** Throws unless a text is the JSON of an array, an object, or a text that UTF-8 cannot hold. */
function checkJson(text: string): void {
  const value: unknown = JSON.parse(text)
  if (typeof value === 'string' && !value.isWellFormed()) return
  if (typeof value !== 'object' || value === null) throw new TypeError('is a plain value in JSON')
  exactJson(value)
}

/** Checks the body of rows, each value of it, and makes nothing of them. Throws `DamagedError`. */
export function scanRecords(from: ByteReader, records: number): RowsScan {
  // A record takes at least the number of its shape and its timestamp.
  if (records * 9 > from.end - from.at) throw new DamagedError(`${records} records in ${from.end - from.at} bytes`)
  const timestamps = new Float64Array(records)
  const shapes: (readonly string[])[] = []
  let known = 0
  for (let row = 0; row < records; row++) {
    const which = from.varint()
    let shape = shapes[which - 1]
    if (which === 0) {
      shape = readShape(from, row)
      shapes.push(shape)
    }
    if (shape === undefined) throw new DamagedError(`record ${row}: there is no shape ${which} before it`)
    const timestamp = from.f64()
    if (timestamp - timestamp !== 0) throw new DamagedError(`record ${row}: "timestamp" is ${timestamp}`)
    timestamps[row] = timestamp
    for (let i = 0; i < shape.length; i++) {
      const what = from.u8()
      if (what >= small || what <= true_value) continue
      if (what === float_value) {
        const value = from.f64()
        if (value - value !== 0) throw new DamagedError(`record ${row}: "${shape[i]}" is ${value}`)
      } else if (what === whole_value) from.signed()
      else if (what === again_value) {
        if (from.varint() >= known) throw new DamagedError(`record ${row}: "${shape[i]}" refers to no earlier text`)
      } else if (what === string_value) {
        if (passText(from) <= again_max) known++
      } else if (what === json_value) {
        try {
          checkJson(from.text())
        } catch (error) {
          throw new DamagedError(`record ${row}: "${shape[i]}" ${(error as Error).message}`)
        }
      } else throw new DamagedError(`record ${row}: "${shape[i]}" is of an unknown kind ${what}`)
    }
  }
  if (from.at !== from.end) throw new DamagedError(`${from.end - from.at} bytes follow the last record`)
  return { timestamps, parameters: shapes.length === 1 ? shapes[0]! : [...new Set(shapes.flat())] }
}

/** Shapes read lately, with their bytes: a fleet's blocks begin with the same few, over and over. */
const recent: ({ bytes: Uint8Array; shape: readonly string[] } | undefined)[] = new Array(256).fill(undefined)
const recent_bytes_max = 1_024

/** The names of a shape; lists of the same bytes are mostly one and the same. */
export function readShape(from: ByteReader, row: number): readonly string[] {
  const { bytes, at } = from
  const size = from.count(1)
  const slot = (size * 31 + (bytes[from.at]! ^ (bytes[at + (size >> 1)]! * 7)) + bytes[at + size - 1]! * 13) & 255
  const known = recent[slot]
  if (known && at + known.bytes.length <= from.end) {
    let i = 0
    while (i < known.bytes.length && known.bytes[i] === bytes[at + i]) i++
    if (i === known.bytes.length) {
      from.at = at + i
      return known.shape
    }
  }
  if (size > parameters_max) throw new DamagedError(`record ${row}: ${size} parameters, at most ${parameters_max}`)
  const shape: string[] = new Array(size)
  for (let i = 0; i < size; i++) shape[i] = readName(from)
  if (shape.includes('timestamp') || new Set(shape).size !== size)
    throw new DamagedError(`record ${row}: a parameter is there twice`)
  if (from.at - at <= recent_bytes_max) recent[slot] = { bytes: bytes.slice(at, from.at), shape }
  return shape
}

/** Sets a property, whatever it is called. */
export function assign(message: Message, name: string, value: unknown): void {
  if (name !== '__proto__') message[name] = value
  else Object.defineProperty(message, name, { value, enumerable: true, configurable: true, writable: true })
}

/** The messages of rows that `scanRecords` passed. */
export function readRecords(from: ByteReader, records: number): Message[] {
  const messages: Message[] = new Array(records)
  const shapes: (readonly string[])[] = []
  const known: string[] = []
  for (let row = 0; row < records; row++) {
    const which = from.varint()
    if (which === 0) shapes.push(readShape(from, row))
    const shape = which === 0 ? shapes.at(-1)! : shapes[which - 1]!
    const message: Message = { timestamp: from.f64() }
    for (let i = 0; i < shape.length; i++) assign(message, shape[i]!, readValue(from, known))
    messages[row] = message
  }
  return messages
}

function readValue(from: ByteReader, known: string[]): unknown {
  const what = from.u8()
  if (what >= small) return what - small
  switch (what) {
    case float_value:
      return from.f64()
    case whole_value:
      return from.signed()
    case true_value:
      return true
    case false_value:
      return false
    case again_value:
      return known[from.varint()]
    case string_value: {
      const text = from.text()
      if (text.length <= again_max) known.push(text)
      return text
    }
    case json_value:
      return JSON.parse(from.text())
    default:
      return null
  }
}
