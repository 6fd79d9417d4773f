/** Records as columns: what a page is made of and what comes out of it. */
import { boolean_kind, Column, false_tag, json_tag, null_tag, number_kind, number_tag, true_tag } from './column.ts'

/** One flat JSON object of parameters; `timestamp` in s since 1970 UTC. */
export type Message = { timestamp: number } & Record<string, unknown>

/** Records in order. */
export interface Table {
  records: number
  timestamps: Float64Array
  columns: Column[]
}

/** Messages have some dozens of parameters. */
const usual_columns = 200

/** Turns messages into columns one after another. Names are the messages' in the order of their first use. */
export class TableBuilder {
  readonly timestamps: Float64Array
  readonly columns: Column[] = []
  readonly #index = new Map<string, number>()
  records = 0

  constructor(records: number) {
    this.timestamps = new Float64Array(records)
  }

  #make(name: string): Column {
    const column = new Column(name)
    // Usual columns have a value in most records; of very many columns each has few.
    if (this.columns.length < usual_columns) column.expect(this.timestamps.length)
    this.#index.set(name, this.columns.length)
    this.columns.push(column)
    return column
  }

  add(message: Message): void {
    const row = this.records
    const { timestamp } = message
    if (typeof timestamp !== 'number' || timestamp - timestamp !== 0)
      throw new TypeError(`record ${row}: "timestamp" is missing: a number, seconds since 1970 UTC`)
    this.timestamps[row] = timestamp
    // Most messages have their parameters in the same order: the next column is mostly the one that is looked for.
    let guess = 0
    const { columns } = this
    for (const name in message) {
      if (name === 'timestamp') continue
      const value = message[name]
      let column = columns[guess]
      if (column === undefined || column.name !== name) {
        if (value === undefined) continue
        const index = this.#index.get(name)
        if (index === undefined) column = this.#make(name)
        else {
          column = columns[index]!
          guess = index
        }
      }
      guess++
      if (typeof value === 'number' && column.kind === number_kind && value - value === 0) column.pushNumber(row, value)
      else this.#push(column, row, value)
    }
    this.records = row + 1
  }

  #push(column: Column, row: number, value: unknown): void {
    try {
      column.push(row, value)
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
      throw new TypeError(`record ${row}: "${column.name}" ${error.message}`)
    }
  }

  table(): Table {
    const { records, timestamps } = this
    return { records, timestamps, columns: this.columns.filter((column) => column.count > 0) }
  }
}

/** Columns of messages. Throws TypeError that names the record and the parameter. */
export function tableOf(messages: readonly Message[]): Table {
  const builder = new TableBuilder(messages.length)
  for (const message of messages) builder.add(message)
  return builder.table()
}

/** Bytes of a number as JSON. */
export function numberBytes(value: number): number {
  let size = 0
  if (value < 0) {
    size = 1
    value = -value
  }
  if (value < 1e9) {
    if (value === Math.floor(value)) {
      return size + (value < 10 ? 1 : value < 100 ? 2 : value < 1_000 ? 3 : value < 1e4 ? 4 : digits(value))
    }
    if (value >= 1e-6) {
      for (let places = 1, scale = 10; places < 8; places++, scale *= 10) {
        const scaled = Math.floor(value * scale + 0.5)
        if (scaled / scale === value) return size + digits(Math.floor(value)) + 1 + places
      }
    }
  }
  return size + String(value).length
}

/** Bytes of a text as JSON. */
export function textBytes(text: string): number {
  const { length } = text
  if (length > 256) return Buffer.byteLength(JSON.stringify(text))
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    // Quotation mark, backslash, controls, and all but ASCII.
    if (code < 32 || code > 126 || code === 34 || code === 92) return Buffer.byteLength(JSON.stringify(text))
  }
  return length + 2
}

function digits(value: number): number {
  if (value < 1e4) return value < 10 ? 1 : value < 100 ? 2 : value < 1_000 ? 3 : 4
  return value < 1e5 ? 5 : value < 1e6 ? 6 : value < 1e7 ? 7 : value < 1e8 ? 8 : value < 1e9 ? 9 : String(value).length
}

function columnBytes(column: Column): number {
  const { kind, data, count } = column
  let bytes = 0
  if (kind === number_kind) {
    let before = NaN
    let size = 0
    for (let i = 0; i < count; i++) {
      const value = data[i]!
      if (value !== before) {
        size = numberBytes(value)
        before = value
      }
      bytes += size
    }
    return bytes
  }
  if (kind === boolean_kind) {
    for (let i = 0; i < count; i++) bytes += data[i] === 1 ? 4 : 5
    return bytes
  }
  const { tags } = column
  const texts = column.strings.map(textBytes)
  if (tags === undefined) {
    for (let i = 0; i < count; i++) bytes += texts[data[i]!]!
    return bytes
  }
  for (let i = 0; i < count; i++) {
    const tag = tags[i]!
    if (tag === null_tag || tag === true_tag) bytes += 4
    else if (tag === false_tag) bytes += 5
    else if (tag === number_tag) bytes += numberBytes(data[i]!)
    else if (tag === json_tag) bytes += Buffer.byteLength(JSON.stringify(JSON.parse(column.strings[data[i]!]!)))
    else bytes += texts[data[i]!]!
  }
  return bytes
}

/** Bytes of all records as JSON, each as `JSON.stringify` writes it. */
export function jsonBytes({ records, timestamps, columns }: Table): number {
  // Braces; then each value with its name, a colon and, but for a record's last, a comma.
  let bytes = records * (2 + '"timestamp":'.length)
  for (let i = 0; i < records; i++) bytes += numberBytes(timestamps[i]!)
  for (const column of columns) bytes += columnBytes(column) + column.count * (textBytes(column.name) + 2)
  return bytes
}
