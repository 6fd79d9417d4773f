/**
 * Bundles: blocks of rows of one container as they came, packed together in one page. Making one reads no record; whoever opens it
 * sorts them. For blocks of a few records each, which would cost more as columns than they hold.
 */
import { constants, zstdCompressSync } from 'node:zlib'
import type { Column } from './column.ts'
import { ByteReader, ByteWriter, DamagedError } from './page-bytes.ts'
import { head_bytes, type PageSummary, sealPage, summarise, verifyPage } from './page-head.ts'
import { AnyPage, openPlain, type Page, unpack } from './page-open.ts'
import { RowsMerge } from './page-rows-merge.ts'
import { jsonBytes, type Table } from './page-table.ts'

const body = new ByteWriter()
const fast = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }

/** A bundle of blocks of rows: see `blocksOf`. */
export function bundleOf(blocks: readonly Uint8Array[]): Buffer {
  const sum: PageSummary = { kind: 'bundle', records: 0, json_bytes: 0, from: Infinity, to: -Infinity }
  body.at = 0
  for (const block of blocks) {
    const { records, json_bytes, from, to } = summarise(block)
    sum.records += records
    sum.json_bytes += json_bytes
    sum.from = Math.min(sum.from, from)
    sum.to = Math.max(sum.to, to)
    body.varint(block.length)
    body.blob(block)
  }
  const packed = zstdCompressSync(body.bytes.subarray(0, body.at), fast)
  const bytes = Buffer.concat([Buffer.alloc(head_bytes), packed])
  sealPage(bytes, sum, 0)
  return bytes
}

/** The blocks of a bundle; of rows they are one. Throws `DamagedError`. */
export function blocksOf(bytes: Uint8Array): Uint8Array[] {
  if (summarise(bytes).kind !== 'bundle') return [bytes]
  verifyPage(bytes)
  const from = new ByteReader(unpack(bytes.subarray(head_bytes)))
  const blocks: Uint8Array[] = []
  while (from.at < from.end) {
    const block = from.blob(from.varint())
    if (summarise(block).kind !== 'rows') throw new DamagedError(`block ${blocks.length} of a bundle is not of rows`)
    blocks.push(block)
  }
  return blocks
}

/** A bundle, sorted. It may have fewer records than its head tells: none is twice. */
class BundlePage extends AnyPage {
  readonly parameters: readonly string[]
  readonly #table: Table
  readonly #columns: Map<string, Column>

  constructor(bytes: Uint8Array, summary: PageSummary) {
    const merge = new RowsMerge()
    let records = 0
    for (const block of blocksOf(bytes)) {
      const { records: more } = summarise(block)
      merge.add(block, more)
      records += more
    }
    if (records !== summary.records) throw new DamagedError(`a bundle of ${records} records, not ${summary.records}`)
    const table = merge.table()
    super({
      ...summary,
      records: table.records,
      json_bytes: table.records === records ? summary.json_bytes : jsonBytes(table),
    })
    if (table.timestamps[0] !== this.from || table.timestamps[table.records - 1] !== this.to)
      throw new DamagedError('the timestamps of a bundle are not those of its head')
    this.#table = table
    this.#columns = new Map(table.columns.map((column) => [column.name, column]))
    this.parameters = [...this.#columns.keys()]
  }

  timestamps(): Float64Array {
    return this.#table.timestamps
  }

  column(name: string): Column | undefined {
    return this.#columns.get(name)
  }
}

/** Opens a page of any kind. Throws `DamagedError`. */
export function openPage(bytes: Uint8Array): Page {
  const summary = summarise(bytes)
  verifyPage(bytes)
  return summary.kind === 'bundle' ? new BundlePage(bytes, summary) : openPlain(bytes, summary)
}
