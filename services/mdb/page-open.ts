/** Pages made of tables, and opened again. */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { type Column, lowerBound, number_kind } from './column.ts'
import { RowSets, readColumn, readColumnRows, writeColumn } from './column-code.ts'
import { readNumbers, writeNumbers } from './column-numbers.ts'
import { ByteReader, ByteWriter, DamagedError } from './page-bytes.ts'
import { head_bytes, type PageSummary, packed_flag, sealPage } from './page-head.ts'
import { messagesOf } from './page-objects.ts'
import { assign, readName, readRecords, scanRecords, writeName, writeRecords } from './page-rows.ts'
import { jsonBytes, type Message, type Table, tableOf } from './page-table.ts'
import { recordHash } from './record.ts'

export interface PageQuery {
  /** s, included. */
  from?: number
  /** s, excluded. */
  to?: number
  /** Parameters to give; `timestamp` always comes. Undefined: all. */
  fields?: readonly string[] | undefined
  /** Newest first. */
  reverse?: boolean
  /** At most so many, after `reverse`. */
  count?: number
}

/** The newest value of a parameter and its record's timestamp. */
export interface Newest {
  timestamp: number
  value: unknown
}

/** A run of one container's records in the order of (timestamp, hash), none twice; `rows` of a fresh page too. */
export interface Page extends PageSummary {
  /** Names of all parameters but `timestamp`. */
  readonly parameters: readonly string[]
  /** s; the caller does not write to it. */
  timestamps(): Float64Array
  /** Rows [first, end) with from ≤ timestamp < to. */
  rows(from?: number, to?: number): [first: number, end: number]
  read(query?: PageQuery): Message[]
  /** The messages of rows [first, end), oldest first. */
  messages(first: number, end: number, fields?: readonly string[]): Message[]
  /** A parameter's values and the rows that have one; undefined: no record has it. The caller does not write to it. */
  column(name: string): Column | undefined
  /** All records as columns. */
  table(): Table
  /** `recordHash` of a row: recomputed. */
  hash(row: number): Buffer
  newest(): Map<string, Newest>
}

/** A page with more parameters, all its records together, is kept as rows: columns of a few values gain nothing. */
export const columns_max = 4_096
/** Unpacked rows of a page. */
const rows_bytes_max = 1024 * 1024 * 1024

const writer = new ByteWriter()
const blocks = new ByteWriter()

/** One page of columns. The records are in order and none is there twice. */
export function encodeTable(table: Table, json_bytes = jsonBytes(table)): Buffer {
  const { records, timestamps, columns } = table
  if (records === 0) throw new RangeError('a page has at least one record')
  if (columns.length > columns_max) return encodeRowsPage(messagesOf(timestamps, columns, 0, records), json_bytes, true)
  writer.at = head_bytes
  writer.room(head_bytes)
  blocks.at = 0
  writeNumbers(blocks, timestamps, records)
  writer.varint(columns.length)
  writer.varint(blocks.at)
  const sets = new RowSets()
  for (const [index, column] of columns.entries()) {
    const start = blocks.at
    writeColumn(blocks, column, records, index, sets)
    writeName(writer, column.name)
    writer.varint(blocks.at - start)
  }
  writer.blob(blocks.bytes.subarray(0, blocks.at))
  const bytes = writer.take()
  sealPage(bytes, { kind: 'page', records, from: timestamps[0]!, to: timestamps[records - 1]!, json_bytes }, 0)
  return bytes
}

/**
 * One page of records in the order of (timestamp, hash), none twice: see `sortRecords`. At least one record; `json_bytes`: their
 * bytes as JSON if the caller knows. Throws TypeError for what JSON does not know (NaN), with record and parameter.
 */
export function encodePage(records: readonly Message[], json_bytes?: number): Buffer {
  const table = tableOf(records)
  for (let i = 1; i < table.records; i++)
    if (table.timestamps[i]! < table.timestamps[i - 1]!)
      throw new RangeError(`record ${i} is older than the one before`)
  return encodeTable(table, json_bytes)
}

/** The same records as rows: see `encodeRows`. `packed`: by zstd. */
export function encodeRowsPage(records: readonly Message[], known?: number, packed = false): Buffer {
  if (records.length === 0) throw new RangeError('a page has at least one record')
  writer.at = head_bytes
  writer.room(head_bytes)
  const json_bytes = writeRecords(writer, records, known)
  let bytes = writer.take()
  if (packed) bytes = Buffer.concat([bytes.subarray(0, head_bytes), zstdCompressSync(bytes.subarray(head_bytes))])
  const [from, to] = [records[0]!.timestamp, records.at(-1)!.timestamp]
  sealPage(bytes, { kind: 'rows', records: records.length, from, to, json_bytes }, packed ? packed_flag : 0)
  return bytes
}

/** What both kinds of page have in common. */
export abstract class AnyPage implements Page {
  abstract readonly parameters: readonly string[]
  abstract timestamps(): Float64Array
  abstract column(name: string): Column | undefined
  readonly kind: PageSummary['kind']
  readonly records: number
  readonly from: number
  readonly to: number
  readonly json_bytes: number

  constructor({ kind, records, from, to, json_bytes }: PageSummary) {
    this.kind = kind
    this.records = records
    this.from = from
    this.to = to
    this.json_bytes = json_bytes
  }

  rows(from = -Infinity, to = Infinity): [number, number] {
    const first = from <= this.from ? 0 : lowerBound(this.timestamps(), from)
    return [first, to > this.to ? this.records : Math.max(first, lowerBound(this.timestamps(), to))]
  }

  messages(first: number, end: number, fields?: readonly string[]): Message[] {
    if (first >= end) return []
    const columns: Column[] = []
    for (const name of fields === undefined ? this.parameters : new Set(fields)) {
      const column = this.column(name)
      if (column) columns.push(column)
    }
    return messagesOf(this.timestamps(), columns, first, end)
  }

  read({ from, to, fields, reverse = false, count = Infinity }: PageQuery = {}): Message[] {
    const [first, end] = this.rows(from, to)
    if (!reverse) return this.messages(first, Math.min(end, first + count), fields)
    return this.messages(Math.max(first, end - count), end, fields).reverse()
  }

  table(): Table {
    return {
      records: this.records,
      timestamps: this.timestamps(),
      columns: this.parameters.map((name) => this.column(name)!),
    }
  }

  hash(row: number): Buffer {
    return recordHash(this.messages(row, row + 1)[0]!)
  }

  newest(): Map<string, Newest> {
    const newest = new Map<string, Newest>()
    const timestamps = this.timestamps()
    for (const name of this.parameters) {
      const column = this.column(name)!
      const last = column.count - 1
      const row = column.rows ? column.rows[last]! : last
      newest.set(name, { timestamp: timestamps[row]!, value: column.value(last) })
    }
    return newest
  }
}

/** A page whose columns are read when they are asked for. */
class ColumnPage extends AnyPage {
  readonly parameters: readonly string[]
  readonly #bytes: Uint8Array
  readonly #index: Map<string, number>
  /** Where the blocks begin; the first is the timestamps', the last number is the end. */
  readonly #starts: Float64Array
  readonly #columns: (Column | undefined)[]
  readonly #rows: (Uint32Array | undefined)[]
  #timestamps: Float64Array | undefined

  constructor(bytes: Uint8Array, summary: PageSummary) {
    super(summary)
    this.#bytes = bytes
    const from = new ByteReader(bytes, head_bytes)
    const count = from.count(3)
    if (count > columns_max) throw new DamagedError(`a page of ${count} parameters`)
    const parameters: string[] = []
    this.#starts = new Float64Array(count + 2)
    this.#starts[1] = from.varint()
    for (let i = 0; i < count; i++) {
      parameters.push(readName(from))
      this.#starts[i + 2] = from.varint()
    }
    let at = from.at
    for (let i = 0; i < count + 2; i++) this.#starts[i] = at += this.#starts[i]!
    if (at !== bytes.length) throw new DamagedError(`a page of ${bytes.length} bytes whose blocks end at ${at}`)
    this.#index = new Map(parameters.map((name, i) => [name, i]))
    if (this.#index.size !== count || this.#index.has('timestamp')) throw new DamagedError('a parameter is there twice')
    this.parameters = parameters
    this.#columns = new Array(count)
    this.#rows = new Array(count)
  }

  #reader(block: number): ByteReader {
    return new ByteReader(this.#bytes, this.#starts[block]!, this.#starts[block + 1]!)
  }

  timestamps(): Float64Array {
    if (this.#timestamps) return this.#timestamps
    const from = this.#reader(0)
    const values = Float64Array.from(readNumbers(from, this.records))
    if (from.at !== from.end) throw new DamagedError('bytes follow the timestamps of a page')
    if (values[0] !== this.from || values[values.length - 1] !== this.to)
      throw new DamagedError('the timestamps of a page are not those of its head')
    for (let i = 1; i < values.length; i++)
      if (!(values[i]! >= values[i - 1]!)) throw new DamagedError(`record ${i} of a page is older than the one before`)
    return (this.#timestamps = values)
  }

  column(name: string): Column | undefined {
    const index = this.#index.get(name)
    if (index === undefined) return undefined
    return (this.#columns[index] ??= this.#read(index))
  }

  #read(index: number): Column {
    const from = this.#reader(index + 1)
    const name = this.parameters[index]!
    try {
      const column = readColumn(from, name, this.records, (other) => this.#rowsOf(other, index))
      if (from.at !== from.end) throw new DamagedError('bytes follow its values')
      this.#rows[index] = column.rows
      return column
    } catch (error) {
      if (!(error instanceof DamagedError)) throw error
      throw new DamagedError(`parameter "${name}" of a page: ${error.message}`)
    }
  }

  /** The rows of an earlier column. */
  #rowsOf(other: number, index: number): Uint32Array | undefined {
    if (other >= index) throw new DamagedError(`it has the rows of column ${other}, which is not before it`)
    return (this.#rows[other] ??= readColumnRows(this.#reader(other + 1), this.records, (before) =>
      this.#rowsOf(before, other),
    ))
  }
}

/** Rows: few, so they are read as messages; columns are made when they are asked for. */
class RowsPage extends AnyPage {
  readonly parameters: readonly string[]
  readonly #body: Uint8Array
  readonly #timestamps: Float64Array
  readonly #hashes: Buffer[] = []
  #messages: Message[] | undefined
  #columns: Map<string, Column> | undefined

  constructor(bytes: Uint8Array, summary: PageSummary) {
    super(summary)
    this.#body = rowsBody(bytes)
    const { timestamps, parameters } = scanRecords(new ByteReader(this.#body), this.records)
    if (timestamps[0] !== this.from || timestamps[this.records - 1] !== this.to)
      throw new DamagedError('the timestamps of rows are not those of their head')
    for (let i = 1; i < this.records; i++)
      if (timestamps[i]! < timestamps[i - 1]!) throw new DamagedError(`record ${i} is older than the one before it`)
    this.#timestamps = timestamps
    this.parameters = parameters
  }

  timestamps(): Float64Array {
    return this.#timestamps
  }

  override messages(first: number, end: number, fields?: readonly string[]): Message[] {
    // They are the caller's: each call makes new ones.
    const all = readRecords(new ByteReader(this.#body), this.records)
    const some = first === 0 && end === this.records ? all : all.slice(first, Math.max(first, end))
    if (fields === undefined) return some
    return some.map((message) => pickOf(message, fields))
  }

  /** For looking only. */
  #all(): Message[] {
    return (this.#messages ??= readRecords(new ByteReader(this.#body), this.records))
  }

  /** Kept: the check of a block and the search for what is there already ask for the same ones. */
  override hash(row: number): Buffer {
    return (this.#hashes[row] ??= recordHash(this.#all()[row]!))
  }

  override newest(): Map<string, Newest> {
    const newest = new Map<string, Newest>()
    const messages = this.#all()
    for (let row = messages.length - 1; row >= 0; row--) {
      const message = messages[row]!
      for (const name in message)
        if (name !== 'timestamp' && !newest.has(name))
          newest.set(name, { timestamp: message.timestamp, value: message[name] })
    }
    return newest
  }

  column(name: string): Column | undefined {
    if (this.#columns === undefined) {
      const { columns } = tableOf(this.#all())
      this.#columns = new Map(columns.map((column) => [column.name, column]))
    }
    return this.#columns.get(name)
  }
}

/** A message with some of its parameters. */
export function pickOf(message: Message, fields: readonly string[]): Message {
  const picked: Message = { timestamp: message.timestamp }
  for (const name of fields) if (Object.hasOwn(message, name)) assign(picked, name, message[name])
  return picked
}

/** The records of rows, unpacked. */
export function rowsBody(bytes: Uint8Array): Uint8Array {
  const body = bytes.subarray(head_bytes)
  if (!(bytes[10]! & packed_flag)) return body
  return unpack(body)
}

/** One zstd frame of rows. */
export function unpack(frame: Uint8Array): Uint8Array {
  try {
    return zstdDecompressSync(frame, { maxOutputLength: rows_bytes_max })
  } catch (error) {
    throw new DamagedError(`the rows of a page cannot be unpacked: ${(error as Error).message}`)
  }
}

/** Opens a page of columns or rows that `verifyPage` passed. Throws `DamagedError`. */
export function openPlain(bytes: Uint8Array, summary: PageSummary): Page {
  return summary.kind === 'page' ? new ColumnPage(bytes, summary) : new RowsPage(bytes, summary)
}

/**
 * Reads all of a page and checks what `openPage` leaves: each column, that numbers are finite, and that records of one moment are
 * in the order of their hashes and none is twice. Throws `DamagedError`.
 */
export function checkPage(page: Page): void {
  // Opened rows are read to the last value already.
  if (page.kind === 'page') {
    for (const { name, kind, data, count, tags } of page.table().columns) {
      if (kind !== number_kind && tags === undefined) continue
      for (let i = 0; i < count; i++)
        if (data[i]! - data[i]! !== 0) throw new DamagedError(`value ${i} of "${name}" is ${data[i]}`)
    }
    page.read()
  }
  const timestamps = page.timestamps()
  for (let row = 1; row < page.records; row++) {
    if (timestamps[row] !== timestamps[row - 1]) continue
    const order = page.hash(row - 1).compare(page.hash(row))
    if (order === 0) throw new DamagedError(`record ${row} is the same as the one before it`)
    if (order > 0) throw new DamagedError(`record ${row} must come before the one before it: their hashes say so`)
  }
}
