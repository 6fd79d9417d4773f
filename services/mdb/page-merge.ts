/** Pages that overlap, as one sequence in the order of (timestamp, hash) in which no record is twice. */
import { Column, mixed_kind, number_kind, string_kind } from './column.ts'
import { messagesOf } from './page-objects.ts'
import { encodePage, encodeTable, type Page, type PageQuery, pickOf } from './page-open.ts'
import { jsonBytes, type Message, type Table } from './page-table.ts'
import { recordHash } from './record.ts'

/** Records of a page made by merging. */
export const page_records_max = 8_192
/** JSON of the records of such a page. */
const page_json_bytes_max = 64 * 1024 * 1024

/** Sorts by (timestamp, hash) and drops what is there twice. Hashes are made where timestamps tie only. */
export function sortRecords(records: readonly Message[]): Message[] {
  let ordered = true
  for (let i = 1; i < records.length && ordered; i++) ordered = records[i]!.timestamp > records[i - 1]!.timestamp
  if (ordered) return [...records]
  const sorted = [...records].sort((a, b) => a.timestamp - b.timestamp)
  const out: Message[] = []
  for (let i = 0; i < sorted.length; ) {
    let end = i + 1
    while (end < sorted.length && sorted[end]!.timestamp === sorted[i]!.timestamp) end++
    if (end === i + 1) out.push(sorted[i]!)
    else {
      const tied = sorted.slice(i, end).map((record) => ({ record, hash: recordHash(record) }))
      tied.sort((a, b) => a.hash.compare(b.hash))
      for (const [k, { record, hash }] of tied.entries())
        if (k === 0 || !hash.equals(tied[k - 1]!.hash)) out.push(record)
    }
    i = end
  }
  return out
}

/** Where each record of a sequence comes from. */
interface Order {
  size: number
  page: Uint32Array
  row: Uint32Array
  /** Records dropped. */
  dropped: number
}

/** The order of the rows [first, end) of each page. Of records that are twice, that of the earlier page stays. */
function orderOf(pages: readonly Page[], ranges: readonly (readonly [number, number])[]): Order {
  const times = pages.map((page) => page.timestamps())
  const at = ranges.map(([first]) => first)
  const total = ranges.reduce((sum, [first, end]) => sum + Math.max(0, end - first), 0)
  const order: Order = { size: 0, page: new Uint32Array(total), row: new Uint32Array(total), dropped: 0 }
  const add = (page: number, row: number) => {
    order.page[order.size] = page
    order.row[order.size++] = row
  }
  for (;;) {
    let best = -1
    let bestTime = Infinity
    // The oldest of the other pages: up to it the best page's records follow one another.
    let next = Infinity
    for (let p = 0; p < pages.length; p++) {
      if (at[p]! >= ranges[p]![1]) continue
      const time = times[p]![at[p]!]!
      if (time < bestTime) {
        next = bestTime
        bestTime = time
        best = p
      } else if (time < next) next = time
    }
    if (best < 0) return order
    const own = times[best]!
    const end = ranges[best]![1]
    if (bestTime < next) {
      let row = at[best]!
      while (row < end && own[row]! < next) add(best, row++)
      at[best] = row
      continue
    }
    // Several pages have records of this moment.
    const tied: { page: number; row: number; hash: Buffer }[] = []
    for (let p = 0; p < pages.length; p++) {
      for (; at[p]! < ranges[p]![1] && times[p]![at[p]!] === bestTime; at[p]!++)
        tied.push({ page: p, row: at[p]!, hash: pages[p]!.hash(at[p]!) })
    }
    tied.sort((a, b) => a.hash.compare(b.hash) || a.page - b.page)
    for (const [k, { page, row, hash }] of tied.entries()) {
      if (k > 0 && hash.equals(tied[k - 1]!.hash)) order.dropped++
      else add(page, row)
    }
  }
}

/** Columns of the records of an order. */
function gather(pages: readonly Page[], { size, page, row }: Order, fields?: readonly string[]): Table {
  const timestamps = new Float64Array(size)
  const times = pages.map((one) => one.timestamps())
  for (let i = 0; i < size; i++) timestamps[i] = times[page[i]!]![row[i]!]!
  const names = new Set(fields ?? pages.flatMap((one) => one.parameters))
  names.delete('timestamp')
  const columns: Column[] = []
  for (const name of names) {
    const column = gatherColumn(
      name,
      pages.map((one) => one.column(name)),
      { size, page, row },
    )
    if (column.count > 0) columns.push(column)
  }
  return { records: size, timestamps, columns }
}

type Places = Pick<Order, 'size' | 'page' | 'row'>

function gatherColumn(name: string, sources: readonly (Column | undefined)[], { size, page, row }: Places): Column {
  const into = new Column(name)
  into.expect(
    Math.min(
      size,
      sources.reduce((sum, source) => sum + (source?.count ?? 0), 0),
    ),
  )
  // The value of a row is found by walking: rows of one page come in order.
  const at = new Uint32Array(sources.length)
  const codes = sources.map((source) => source && new Int32Array(source.strings.length).fill(-1))
  for (let i = 0; i < size; i++) {
    const source = sources[page[i]!]
    if (source === undefined) continue
    const wanted = row[i]!
    let k = wanted
    if (source.rows !== undefined) {
      const { rows, count } = source
      k = at[page[i]!]!
      // Ties may go back by some rows.
      while (k > 0 && (k >= count || rows[k]! > wanted)) k--
      while (k < count && rows[k]! < wanted) k++
      at[page[i]!] = k
      if (k >= count || rows[k] !== wanted) continue
    } else if (k >= source.count) continue
    const value = source.data[k]!
    if (source.kind === number_kind) into.pushNumber(i, value)
    else if (source.kind === string_kind) {
      const known = codes[page[i]!]!
      const code = known[value]!
      if (code >= 0 && into.kind === string_kind) into.pushCode(i, code)
      else {
        into.pushString(i, source.strings[value]!)
        known[value] = into.data[into.count - 1]!
      }
    } else if (source.kind === mixed_kind) into.pushFrom(i, source, k)
    else into.pushBoolean(i, value === 1)
  }
  return into
}

/** Records of pages that may overlap, in the order of (timestamp, hash), none twice. */
export function readPages(pages: readonly Page[], query: PageQuery = {}): Message[] {
  const { from, to, fields, reverse = false, count = Infinity } = query
  if (pages.length === 1) return pages[0]!.read(query)
  if (pages.reduce((sum, page) => sum + page.records, 0) < pages.length * columns_worth) {
    const all = sortRecords(pages.flatMap((page) => page.read({ from: from ?? -Infinity, to: to ?? Infinity })))
    const some = reverse ? all.reverse().slice(0, count) : all.slice(0, count)
    if (fields === undefined) return some
    return some.map((message) => pickOf(message, fields))
  }
  const order = orderOf(
    pages,
    pages.map((page) => page.rows(from, to)),
  )
  const first = reverse ? Math.max(0, order.size - count) : 0
  const end = Math.min(order.size, first + count)
  const some = { size: end - first, page: order.page.subarray(first, end), row: order.row.subarray(first, end) }
  const table = gather(pages, { ...some, dropped: 0 }, fields)
  const messages = messagesOf(table.timestamps, table.columns, 0, table.records)
  return reverse ? messages.reverse() : messages
}

/** Pages of fewer records on average are merged as messages: their columns would cost more than they hold. */
const columns_worth = 32

/** A part of a table's rows. */
function slice(pages: readonly Page[], order: Order, first: number, end: number): Table {
  const [page, row] = [order.page.subarray(first, end), order.row.subarray(first, end)]
  return gather(pages, { size: end - first, page, row, dropped: 0 })
}

/** Makes pages of at most `records_max` records of pages that may overlap; no record comes out twice. */
export function mergePages(pages: readonly Page[], records_max = page_records_max): Buffer[] {
  const total = pages.reduce((sum, page) => sum + page.records, 0)
  if (total < pages.length * columns_worth && total <= records_max) {
    const records = sortRecords(pages.flatMap((page) => page.read()))
    const known = records.length === total ? pages.reduce((sum, page) => sum + page.json_bytes, 0) : undefined
    if (known === undefined || known <= page_json_bytes_max) return [encodePage(records, known)]
  }
  const order = orderOf(
    pages,
    pages.map((page) => [0, page.records] as const),
  )
  const json_bytes = pages.reduce((sum, page) => sum + page.json_bytes, 0)
  const known = order.dropped === 0 ? json_bytes : undefined
  return cutPages(order.size, (first, end) => slice(pages, order, first, end), known, records_max)
}

/** Pages of at most `records_max` of `size` records, whose tables are made part by part. `known`: bytes of all as JSON. */
export function cutPages(
  size: number,
  tableOf: (first: number, end: number) => Table,
  known: number | undefined,
  records_max = page_records_max,
): Buffer[] {
  // Pages of about the same size, not large ones and a rest.
  const parts = Math.max(1, Math.ceil(size / records_max))
  const out: Buffer[] = []
  for (let part = 0; part < parts; part++) {
    const first = Math.floor((size * part) / parts)
    const end = Math.floor((size * (part + 1)) / parts)
    add(first, end, parts === 1 ? known : undefined)
  }
  return out

  function add(first: number, end: number, known?: number): void {
    const table = tableOf(first, end)
    const bytes = known ?? jsonBytes(table)
    if (bytes <= page_json_bytes_max || end - first < 2) {
      out.push(encodeTable(table, bytes))
      return
    }
    const middle = (first + end) >>> 1
    add(first, middle)
    add(middle, end)
  }
}
