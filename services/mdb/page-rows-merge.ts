/** Fresh pages merged straight from their rows into columns: no message is made of a record, but where moments tie. */
import { Column, false_tag, json_tag, null_tag, number_tag, string_tag, true_tag } from './column.ts'
import { ByteReader, DamagedError } from './page-bytes.ts'
import { verifyPage } from './page-head.ts'
import { cutPages } from './page-merge.ts'
import { type Newest, rowsBody } from './page-open.ts'
import * as rows from './page-rows.ts'
import type { Message, Table } from './page-table.ts'
import { recordHash } from './record.ts'

/** Columns that are given room for all records at once; of very many columns each has few. */
const roomy_columns = 200

/** Values of all records as they are read, used again by the next merge. */
let tags = new Uint8Array(65_536)
/** Numbers; indices into the texts. */
let data = new Float64Array(65_536)

function room(values: number): void {
  if (values <= tags.length) return
  const size = Math.max(values, tags.length * 2)
  const [more_tags, more_data] = [new Uint8Array(size), new Float64Array(size)]
  more_tags.set(tags)
  more_data.set(data)
  tags = more_tags
  data = more_data
}

/** One merge: `add` each page in the order of their ids, then `finish` or `table`; nothing else comes in between. */
export class RowsMerge {
  readonly #names: string[] = []
  readonly #indices = new Map<string, number>()
  /** Columns of shapes; a shape is known by its list of names, which pages share. */
  readonly #columns_of = new Map<readonly string[], Uint32Array>()
  readonly #texts: string[] = []
  readonly #timestamps: number[] = []
  /** Of each record: the columns of its values, and where those begin. */
  readonly #columns: Uint32Array[] = []
  readonly #starts: number[] = []
  #values = 0

  #columnsOf(shape: readonly string[]): Uint32Array {
    const known = this.#columns_of.get(shape)
    if (known) return known
    const columns = Uint32Array.from(shape, (name) => {
      let index = this.#indices.get(name)
      if (index === undefined) {
        index = this.#names.push(name) - 1
        this.#indices.set(name, index)
      }
      return index
    })
    this.#columns_of.set(shape, columns)
    return columns
  }

  /** Reads the rows of a page of so many records. Throws `DamagedError`. */
  add(bytes: Uint8Array, records: number): void {
    verifyPage(bytes)
    const from = new ByteReader(rowsBody(bytes))
    const shapes: Uint32Array[] = []
    /** Texts of this page that may come again, as indices. */
    const known: number[] = []
    for (let row = 0; row < records; row++) {
      const which = from.varint()
      if (which === 0) shapes.push(this.#columnsOf(rows.readShape(from, row)))
      const columns = which === 0 ? shapes.at(-1)! : shapes[which - 1]
      if (columns === undefined) throw new DamagedError(`record ${row}: there is no shape ${which} before it`)
      this.#timestamps.push(from.f64())
      this.#columns.push(columns)
      this.#starts.push(this.#values)
      room(this.#values + columns.length)
      for (let i = 0; i < columns.length; i++) this.#readValue(from, known)
    }
    if (from.at !== from.end) throw new DamagedError(`${from.end - from.at} bytes follow the last record`)
  }

  #readValue(from: ByteReader, known: number[]): void {
    const at = this.#values++
    const what = from.u8()
    if (what >= rows.small || what === rows.float_value || what === rows.whole_value) {
      tags[at] = number_tag
      data[at] = what >= rows.small ? what - rows.small : what === rows.float_value ? from.f64() : from.signed()
      return
    }
    switch (what) {
      case rows.true_value:
        tags[at] = true_tag
        return
      case rows.false_value:
        tags[at] = false_tag
        return
      case rows.null_value:
        tags[at] = null_tag
        return
      case rows.again_value: {
        const index = known[from.varint()]
        if (index === undefined) throw new DamagedError('a value refers to no earlier text')
        tags[at] = string_tag
        data[at] = index
        return
      }
      case rows.string_value:
      case rows.json_value: {
        const text = from.text()
        const index = this.#texts.push(text) - 1
        tags[at] = what === rows.string_value ? string_tag : json_tag
        data[at] = index
        if (what === rows.string_value && text.length <= rows.again_max) known.push(index)
        return
      }
      default:
        throw new DamagedError(`a value is of an unknown kind ${what}`)
    }
  }

  #value(at: number): unknown {
    switch (tags[at]) {
      case number_tag:
        return data[at]
      case string_tag:
        return this.#texts[data[at]!]
      case json_tag:
        return JSON.parse(this.#texts[data[at]!]!)
      case null_tag:
        return null
      default:
        return tags[at] === true_tag
    }
  }

  #message(record: number): Message {
    const message: Message = { timestamp: this.#timestamps[record]! }
    const columns = this.#columns[record]!
    for (let i = 0; i < columns.length; i++)
      rows.assign(message, this.#names[columns[i]!]!, this.#value(this.#starts[record]! + i))
    return message
  }

  /** Records in the order of (timestamp, hash), none twice: of those that are, the earlier page's stays. */
  #order(): number[] {
    const times = this.#timestamps
    let ordered = true
    for (let i = 1; i < times.length && ordered; i++) ordered = times[i]! > times[i - 1]!
    const all = Array.from(times, (_, i) => i)
    if (ordered) return all
    all.sort((a, b) => times[a]! - times[b]! || a - b)
    const order: number[] = []
    for (let i = 0; i < all.length; ) {
      let end = i + 1
      while (end < all.length && times[all[end]!] === times[all[i]!]) end++
      if (end === i + 1) order.push(all[i]!)
      else {
        const tied = all.slice(i, end).map((record) => ({ record, hash: recordHash(this.#message(record)) }))
        tied.sort((a, b) => a.hash.compare(b.hash) || a.record - b.record)
        for (const [k, { record, hash }] of tied.entries())
          if (k === 0 || !hash.equals(tied[k - 1]!.hash)) order.push(record)
      }
      i = end
    }
    return order
  }

  #table(order: readonly number[], first: number, end: number): Table {
    const records = end - first
    const timestamps = new Float64Array(records)
    const columns: Column[] = []
    const made: (Column | undefined)[] = new Array(this.#names.length).fill(undefined)
    for (let row = 0; row < records; row++) {
      const record = order[first + row]!
      timestamps[row] = this.#timestamps[record]!
      const indices = this.#columns[record]!
      let at = this.#starts[record]!
      for (let i = 0; i < indices.length; i++, at++) {
        let column = made[indices[i]!]
        if (column === undefined) {
          column = made[indices[i]!] = new Column(this.#names[indices[i]!]!)
          if (columns.push(column) <= roomy_columns) column.expect(records)
        }
        const tag = tags[at]
        if (tag === number_tag) column.pushNumber(row, data[at]!)
        else if (tag === string_tag) column.pushString(row, this.#texts[data[at]!]!)
        else if (tag === json_tag) column.push(row, this.#value(at))
        else if (tag === null_tag) column.pushNull(row)
        else column.pushBoolean(row, tag === true_tag)
      }
    }
    return { records, timestamps, columns }
  }

  /** All records as columns. */
  table(): Table {
    const order = this.#order()
    return this.#table(order, 0, order.length)
  }

  /** Pages of all records, and the newest value of each parameter. `json_bytes`: of all that was added, as JSON. */
  finish(json_bytes: number, records_max?: number): { pages: Buffer[]; newest: Map<string, Newest> } {
    const order = this.#order()
    const newest = new Map<string, Newest>()
    const tableOf = (first: number, end: number) => {
      const table = this.#table(order, first, end)
      // Later parts have later values.
      for (const column of table.columns) {
        const last = column.count - 1
        const timestamp = table.timestamps[column.rows ? column.rows[last]! : last]!
        newest.set(column.name, { timestamp, value: column.value(last) })
      }
      return table
    }
    const known = order.length === this.#timestamps.length ? json_bytes : undefined
    return { pages: cutPages(order.length, tableOf, known, records_max), newest }
  }
}
