import { crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { recordHash } from './record.ts'

/** One flat JSON object of parameters; `timestamp` in s since 1970 UTC. */
export type Message = { timestamp: number } & Record<string, unknown>

/** Bytes that are no page of ours, or not whole, or changed since they were written. `message` names what is wrong. */
export class DamagedError extends Error {
  override name = 'DamagedError'
}

/** What a page's first bytes tell. */
export interface PageSummary {
  kind: 'rows' | 'page'
  records: number
  /** Oldest and newest timestamp, both included, s. */
  from: number
  to: number
  /** Bytes of the records as JSON. */
  json_bytes: number
}

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
  /** `recordHash` of a row: recomputed. */
  hash(row: number): Buffer
  newest(): Map<string, Newest>
}

const magic = 0x4d444250
const head_bytes = 40

/** Sorts by (timestamp, hash) and drops what is there twice. Hashes are made where timestamps tie only. */
export function sortRecords(records: readonly Message[]): Message[] {
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

/** One page of records in the order of (timestamp, hash), none twice: see `sortRecords`. At least one record. */
export function encodePage(records: readonly Message[], json_bytes?: number): Buffer {
  const text = Buffer.from(JSON.stringify(records))
  const body = zstdCompressSync(text)
  const bytes = Buffer.alloc(head_bytes + body.length)
  bytes.writeUInt32BE(magic, 0)
  bytes.writeUInt32LE(records.length, 8)
  bytes.writeUInt32LE(json_bytes ?? text.length - 1 - records.length, 12)
  bytes.writeDoubleLE(records[0]!.timestamp, 16)
  bytes.writeDoubleLE(records.at(-1)!.timestamp, 24)
  body.copy(bytes, head_bytes)
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4)
  return bytes
}

/** Reads the head alone: checks that these are bytes of ours, not that they are whole. */
export function summarise(bytes: Uint8Array): PageSummary {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (buffer.length < head_bytes || buffer.readUInt32BE(0) !== magic) throw new DamagedError('not a page: no "MDBP"')
  return {
    kind: 'page',
    records: buffer.readUInt32LE(8),
    json_bytes: buffer.readUInt32LE(12),
    from: buffer.readDoubleLE(16),
    to: buffer.readDoubleLE(24),
  }
}

class PlainPage implements Page {
  readonly kind = 'page'
  readonly records: number
  readonly from: number
  readonly to: number
  readonly json_bytes: number
  readonly #messages: Message[]
  readonly #timestamps: Float64Array

  constructor(summary: PageSummary, messages: Message[]) {
    this.records = summary.records
    this.from = summary.from
    this.to = summary.to
    this.json_bytes = summary.json_bytes
    this.#messages = messages
    this.#timestamps = Float64Array.from(messages, (m) => m.timestamp)
  }

  get parameters(): string[] {
    const names = new Set(this.#messages.flatMap((m) => Object.keys(m)))
    names.delete('timestamp')
    return [...names]
  }

  timestamps(): Float64Array {
    return this.#timestamps
  }

  rows(from = -Infinity, to = Infinity): [number, number] {
    return [lowerBound(this.#timestamps, from), lowerBound(this.#timestamps, to)]
  }

  read({ from, to, fields, reverse = false, count = Infinity }: PageQuery = {}): Message[] {
    const [first, end] = this.rows(from, to)
    const some = reverse
      ? this.#messages.slice(Math.max(first, end - count), end).reverse()
      : this.#messages.slice(first, Math.min(end, first + count))
    if (fields === undefined) return some
    return some.map((message) => {
      const picked: Message = { timestamp: message.timestamp }
      for (const name of fields) if (Object.hasOwn(message, name)) picked[name] = message[name]
      return picked
    })
  }

  hash(row: number): Buffer {
    return recordHash(this.#messages[row]!)
  }

  newest(): Map<string, Newest> {
    const newest = new Map<string, Newest>()
    for (const message of this.#messages)
      for (const [name, value] of Object.entries(message))
        if (name !== 'timestamp') newest.set(name, { timestamp: message.timestamp, value })
    return newest
  }
}

/** The first index whose value is not below `bound`. */
export function lowerBound(values: Float64Array, bound: number): number {
  let low = 0
  let high = values.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (values[middle]! < bound) low = middle + 1
    else high = middle
  }
  return low
}

/** Opens a page, or the rows of a fresh one. Throws `DamagedError`. */
export function openPage(bytes: Uint8Array): Page {
  const summary = summarise(bytes)
  if (crc32(bytes.subarray(8)) !== Buffer.from(bytes.buffer, bytes.byteOffset, 8).readUInt32LE(4))
    throw new DamagedError('the checksum of a page is wrong')
  return new PlainPage(summary, JSON.parse(zstdDecompressSync(bytes.subarray(head_bytes)).toString()) as Message[])
}

/** Records of pages that may overlap, in the order of (timestamp, hash), none twice. */
export function readPages(pages: readonly Page[], query: PageQuery = {}): Message[] {
  const { fields, reverse = false, count = Infinity, ...range } = query
  const all = sortRecords(pages.flatMap((page) => page.read(range)))
  const some = reverse ? all.reverse().slice(0, count) : all.slice(0, count)
  if (fields === undefined) return some
  return some.map((message) => {
    const picked: Message = { timestamp: message.timestamp }
    for (const name of fields) if (Object.hasOwn(message, name)) picked[name] = message[name]
    return picked
  })
}

/** Records of a page made by merging. */
export const page_records_max = 8192

/** Makes pages of at most `records_max` records of pages that may overlap; no record comes out twice. */
export function mergePages(pages: readonly Page[], records_max = page_records_max): Buffer[] {
  const all = sortRecords(pages.flatMap((page) => page.read()))
  const out: Buffer[] = []
  for (let at = 0; at < all.length; at += records_max) out.push(encodePage(all.slice(at, at + records_max)))
  return out
}
