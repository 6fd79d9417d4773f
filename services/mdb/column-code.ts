/** A column as bytes: in which rows it has values, then the values. See docs/mdb-format.md. */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import {
  boolean_kind,
  Column,
  json_tag,
  mixed_kind,
  number_kind,
  number_tag,
  string_kind,
  string_tag,
} from './column.ts'
import { readInts } from './column-ints.ts'
import { writeInts } from './column-ints-write.ts'
import { readNumbers, writeNumbers } from './column-numbers.ts'
import { type ByteReader, type ByteWriter, DamagedError } from './page-bytes.ts'

/** Every row has a value. */
const all_rows = 0
/** How many rows lie between one value and the next. */
const gaps = 1
/** Lengths of the stretches without and with values, in turn. */
const stretches = 2
/** The rows of an earlier column. */
const same_rows = 3

/** Texts shorter than this gain nothing by general compression. */
const compressed_min = 96
/** Texts of one column, unpacked: more is no dictionary but an attack on memory. */
const text_bytes_max = 256 * 1024 * 1024

/** What the columns of a page that was written so far share: their rows, to be referred to. */
export class RowSets {
  readonly #sets: { rows: Uint32Array; count: number; index: number }[] = []

  /** The index of an earlier column with the same rows; −1: there is none, and this one is kept. */
  find(rows: Uint32Array, count: number, index: number): number {
    for (const set of this.#sets) {
      if (set.count !== count) continue
      let i = 0
      while (i < count && set.rows[i] === rows[i]) i++
      if (i === count) return set.index
    }
    this.#sets.push({ rows, count, index })
    return -1
  }
}

let scratch = new Uint32Array(1024)

function writeRows(out: ByteWriter, column: Column, records: number, index: number, sets: RowSets): void {
  const { kind, count } = column
  if (count === records) return out.u8(kind | (all_rows << 2))
  const rows = column.rows ?? Uint32Array.from({ length: count }, (_, i) => i)
  const same = sets.find(rows, count, index)
  if (same >= 0) {
    out.u8(kind | (same_rows << 2))
    out.varint(same)
    return
  }
  if (scratch.length < count * 2 + 2) scratch = new Uint32Array(count * 4 + 2)
  let size = 0
  let next = 0
  for (let i = 0; i < count; ) {
    const start = rows[i]!
    let end = start + 1
    i++
    while (i < count && rows[i] === end) {
      i++
      end++
    }
    scratch[size++] = start - next
    scratch[size++] = end - start
    next = end
  }
  if (size < count) {
    out.u8(kind | (stretches << 2))
    out.varint(size >>> 1)
    writeInts(out, scratch, size)
    return
  }
  for (let i = 0; i < count; i++) scratch[i] = rows[i]! - (i === 0 ? 0 : rows[i - 1]! + 1)
  out.u8(kind | (gaps << 2))
  out.varint(count)
  writeInts(out, scratch, count)
}

function writeStrings(out: ByteWriter, strings: readonly string[]): void {
  out.varint(strings.length)
  if (strings.length === 0) return
  writeInts(
    out,
    Uint32Array.from(strings, (text) => text.length),
    strings.length,
  )
  const text = Buffer.from(strings.join(''))
  if (text.length >= compressed_min) {
    const small = zstdCompressSync(text)
    if (small.length < text.length) {
      out.varint(small.length * 2 + 1)
      out.blob(small)
      return
    }
  }
  out.varint(text.length * 2)
  out.blob(text)
}

/** Writes column `index` of a page of so many records; it has at least one value. */
export function writeColumn(out: ByteWriter, column: Column, records: number, index: number, sets: RowSets): void {
  writeRows(out, column, records, index, sets)
  const { kind, data, count, tags } = column
  if (kind === number_kind) return writeNumbers(out, data, count)
  if (kind === string_kind) {
    writeStrings(out, column.strings)
    return writeInts(out, data, count)
  }
  if (kind === boolean_kind) return writeInts(out, data, count)
  writeInts(out, Uint32Array.from(tags!.subarray(0, count)), count)
  const numbers = data.filter((_, i) => i < count && tags![i] === number_tag)
  if (numbers.length > 0) writeNumbers(out, numbers, numbers.length)
  const codes = data.filter((_, i) => i < count && tags![i]! >= string_tag)
  if (codes.length === 0) return
  writeStrings(out, column.strings)
  writeInts(out, codes, codes.length)
}

/** Whole numbers of 0 … below `limit`. */
function readIndices(from: ByteReader, size: number, limit: number, what: string): Int32Array {
  const { base, factor, offsets } = readInts(from, size)
  const values = offsets instanceof Int32Array ? offsets : new Int32Array(size)
  for (let i = 0; i < size; i++) {
    const value = base + (offsets ? offsets[i]! : 0) * factor
    if (!(value >= 0 && value < limit)) throw new DamagedError(`${what} ${value} is not below ${limit}`)
    values[i] = value
  }
  return values
}

/** The kind of a column and its rows; `rowsOf` gives those of an earlier column. */
function readRows(
  from: ByteReader,
  records: number,
  rowsOf: (index: number) => Uint32Array | undefined,
): { kind: number; rows: Uint32Array | undefined } {
  const head = from.u8()
  const kind = head & 3
  const how = head >>> 2
  if (how === all_rows) return { kind, rows: undefined }
  if (how === same_rows) return { kind, rows: rowsOf(from.varint()) }
  if (how === gaps) {
    const count = from.varint()
    if (count < 1 || count > records) throw new DamagedError(`a column has ${count} values in ${records} records`)
    const between = readIndices(from, count, records, 'a gap')
    const rows = new Uint32Array(count)
    let row = -1
    for (let i = 0; i < count; i++) {
      row += between[i]! + 1
      rows[i] = row
    }
    if (row >= records) throw new DamagedError('a value is beyond the last record')
    return { kind, rows }
  }
  if (how !== stretches) throw new DamagedError(`the rows of a column are of an unknown kind ${how}`)
  const count = from.varint()
  if (count < 1 || count > records) throw new DamagedError(`a column has ${count} stretches in ${records} records`)
  const sizes = readIndices(from, count * 2, records + 1, 'a stretch')
  let total = 0
  let end = 0
  for (let i = 0; i < sizes.length; i += 2) {
    total += sizes[i + 1]!
    end += sizes[i]! + sizes[i + 1]!
  }
  if (end > records || total < 1) throw new DamagedError('a value is beyond the last record')
  const rows = new Uint32Array(total)
  let row = 0
  let at = 0
  for (let i = 0; i < sizes.length; i += 2) {
    row += sizes[i]!
    for (let left = sizes[i + 1]!; left > 0; left--) rows[at++] = row++
  }
  return { kind, rows }
}

/** The rows alone of a column that `writeColumn` wrote; undefined: all. */
export function readColumnRows(
  from: ByteReader,
  records: number,
  rowsOf: (index: number) => Uint32Array | undefined,
): Uint32Array | undefined {
  return readRows(from, records, rowsOf).rows
}

function readStrings(from: ByteReader): string[] {
  const count = from.varint()
  if (count === 0) return []
  if (count > 2 ** 22) throw new DamagedError(`a column has ${count} texts`)
  const lengths = readIndices(from, count, text_bytes_max, 'the length of a text')
  const size = from.varint()
  const packed = from.blob(Math.floor(size / 2))
  let bytes: Uint8Array = packed
  if (size % 2 === 1) {
    try {
      bytes = zstdDecompressSync(packed, { maxOutputLength: text_bytes_max })
    } catch (error) {
      throw new DamagedError(`the texts of a column cannot be unpacked: ${(error as Error).message}`)
    }
  }
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
  const strings: string[] = []
  let at = 0
  for (let i = 0; i < count; i++) strings.push(text.slice(at, (at += lengths[i]!)))
  if (at !== text.length) throw new DamagedError('the texts of a column have another length than announced')
  return strings
}

/** Reads what `writeColumn` wrote. */
export function readColumn(
  from: ByteReader,
  name: string,
  records: number,
  rowsOf: (index: number) => Uint32Array | undefined,
): Column {
  const { kind, rows } = readRows(from, records, rowsOf)
  const count = rows === undefined ? records : rows.length
  const column = new Column(name, kind, kind === number_kind ? readNumbers(from, count) : new Int32Array(0))
  column.count = count
  column.rows = rows
  if (kind === boolean_kind) column.data = readIndices(from, count, 2, 'yes or no')
  if (kind === string_kind) {
    column.strings = readStrings(from)
    column.data = readIndices(from, count, column.strings.length, 'the index of a text')
  }
  if (kind !== mixed_kind) return column
  const tags = Uint8Array.from(readIndices(from, count, json_tag + 1, 'a tag'))
  column.tags = tags
  const data = new Float64Array(count)
  const numbers = tags.filter((tag) => tag === number_tag).length
  if (numbers > 0) {
    const values = readNumbers(from, numbers)
    for (let i = 0, k = 0; i < count; i++) if (tags[i] === number_tag) data[i] = values[k++]!
  }
  const texts = tags.filter((tag) => tag >= string_tag).length
  if (texts > 0) {
    column.strings = readStrings(from)
    const codes = readIndices(from, texts, column.strings.length, 'the index of a text')
    for (let i = 0, k = 0; i < count; i++) if (tags[i]! >= string_tag) data[i] = codes[k++]!
  }
  column.data = data
  return column
}
