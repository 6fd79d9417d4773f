/**
 * Keys and values of the lmdb store, and their checksums. All integers of keys are big-endian: byte order is their order.
 *
 * What may go missing is counted by what is above it: the row of a day knows how many heads it has, the row of a container
 * how many days, one row of `meta` how many containers and journal segments; each with an exclusive-or of their marks.
 */
import { crc32 } from 'node:zlib'
import { DamagedError } from './page.ts'
import type { NewPage, PageHead } from './store.ts'

/** Version of the layout, in `meta`. 1 was a key per record; 2 had no bundles. */
export const layout_version = 3
export const readable_versions = [2, 3]

/** A set of things as far as a checksum can tell: how many, and the exclusive-or of a mark of each. */
export interface Tally {
  count: number
  mark: number
}

export const tallyWith = (tally: Tally, mark: number, change: 1 | -1): Tally => ({
  count: tally.count + change,
  mark: (tally.mark ^ mark) >>> 0,
})

export const id_bytes = 20

/** container u32, day u32. */
export function dayKey(container: number, day: number): Buffer {
  const key = Buffer.allocUnsafe(8)
  key.writeUInt32BE(container, 0)
  key.writeUInt32BE(day, 4)
  return key
}

/** container u32, day u32, id. */
export function pageKey({ container, day, id }: Pick<PageHead, 'container' | 'day' | 'id'>): Buffer {
  const key = Buffer.allocUnsafe(8 + id_bytes)
  key.writeUInt32BE(container, 0)
  key.writeUInt32BE(day, 4)
  key.write(id, 8, 'latin1')
  return key
}

export function containerKey(container: number): Buffer {
  const key = Buffer.allocUnsafe(4)
  key.writeUInt32BE(container, 0)
  return key
}

/** Keys of a container's days, and of its pages: [start, end). */
export const containerRange = (container: number) => ({
  start: containerKey(container),
  end: containerKey(container + 1),
})

export function seqKey(seq: number): Buffer {
  const key = Buffer.allocUnsafe(8)
  key.writeBigUInt64BE(BigInt(seq), 0)
  return key
}

export const dayMark = (day: number): number => crc32(dayKey(0, day))
export const containerMark = (container: number): number => crc32(containerKey(container))
export const seqMark = (seq: number): number => crc32(seqKey(seq))
export const headMark = (head: PageHead): number => crc32(pageKey(head))

/** A value with the CRC-32 of key and value behind it. */
function sealed(key: Buffer, value: Buffer): Buffer {
  value.writeUInt32LE(crc32(value.subarray(0, -4), crc32(key)), value.length - 4)
  return value
}

function unsealed(what: string, key: Buffer, value: Buffer, size?: number): Buffer {
  if (value.length < 4 || (size !== undefined && value.length !== size))
    throw new DamagedError(`${what}: ${value.length} bytes`)
  if (crc32(value.subarray(0, -4), crc32(key)) !== value.readUInt32LE(value.length - 4))
    throw new DamagedError(`${what}: the checksum is wrong`)
  return value.subarray(0, -4)
}

/** JSON with a checksum. */
export const sealJson = (key: Buffer, value: unknown): Buffer =>
  sealed(key, Buffer.concat([Buffer.from(JSON.stringify(value)), Buffer.alloc(4)]))

export function openJson<T>(what: string, key: Buffer, value: Buffer): T {
  return JSON.parse(unsealed(what, key, value).toString()) as T
}

/** What the row of a day tells. */
export interface DayRow extends Tally {
  /** Journal segments up to this one hold nothing of the day any more. */
  merged_seq: number
  /** Pages among them that are fresh although they are not in the journal any more. */
  rows: number
}

const day_row_bytes = 24

export function sealDay(key: Buffer, row: DayRow): Buffer {
  const value = Buffer.alloc(day_row_bytes)
  value.writeUInt32LE(row.count, 0)
  value.writeUInt32LE(row.mark, 4)
  value.writeDoubleLE(row.merged_seq, 8)
  value.writeUInt32LE(row.rows, 16)
  return sealed(key, value)
}

export function openDay(key: Buffer, value: Buffer): DayRow {
  const bytes = unsealed(`the row of ${nameOfDay(key)}`, key, value, day_row_bytes)
  const [count, mark] = [bytes.readUInt32LE(0), bytes.readUInt32LE(4)]
  return { count, mark, merged_seq: bytes.readDoubleLE(8), rows: bytes.readUInt32LE(16) }
}

export function nameOfDay(key: Buffer): string {
  return nameDay(key.readUInt32BE(0), key.readUInt32BE(4))
}

/** `container 7, 2026-11-24`. */
export function nameDay(container: number, day: number): string {
  const date = new Date(day * 86_400_000)
  return `container ${container}, ${Number.isNaN(date.getTime()) ? `day ${day}` : date.toISOString().slice(0, 10)}`
}

const head_bytes = 37
const kinds = [undefined, 'rows', 'page', 'bundle'] as const

function writeHead(head: PageHead, value: Buffer, at: number): void {
  value.writeUInt8(kinds.indexOf(head.kind), at)
  value.writeDoubleLE(head.from, at + 1)
  value.writeDoubleLE(head.to, at + 9)
  value.writeUInt32LE(head.records, at + 17)
  value.writeDoubleLE(head.json_bytes, at + 21)
  value.writeUInt32LE(head.size, at + 29)
}

function readHead(bytes: Buffer, at: number, container: number, day: number, id: string): PageHead {
  return {
    container,
    day,
    id,
    kind: kinds[bytes[at]!] ?? 'page',
    from: bytes.readDoubleLE(at + 1),
    to: bytes.readDoubleLE(at + 9),
    records: bytes.readUInt32LE(at + 17),
    json_bytes: bytes.readDoubleLE(at + 21),
    size: bytes.readUInt32LE(at + 29),
  }
}

export function sealHead(key: Buffer, head: PageHead): Buffer {
  const value = Buffer.alloc(head_bytes)
  writeHead(head, value, 0)
  return sealed(key, value)
}

export function openHead(key: Buffer, value: Buffer): PageHead {
  const bytes = unsealed(`the head of a page of ${nameOfDay(key)}`, key, value, head_bytes)
  return readHead(bytes, 0, key.readUInt32BE(0), key.readUInt32BE(4), key.toString('latin1', 8))
}

const entry_bytes = 8 + id_bytes + head_bytes - 4

/** One commit's fresh pages of any containers: count u32, an entry a page (container, day, id, head), the pages, a CRC-32. */
export function sealSegment(seq: number, pages: readonly NewPage[]): Buffer {
  let size = 4 + pages.length * entry_bytes + 4
  for (const { bytes } of pages) size += bytes.length
  const value = Buffer.allocUnsafe(size)
  value.writeUInt32LE(pages.length, 0)
  let at = 4
  let body = 4 + pages.length * entry_bytes
  for (const { head, bytes } of pages) {
    value.writeUInt32LE(head.container, at)
    value.writeUInt32LE(head.day, at + 4)
    value.write(head.id, at + 8, 'latin1')
    writeHead(head, value, at + 8 + id_bytes)
    at += entry_bytes
    body += bytes.copy(value, body)
  }
  return sealed(seqKey(seq), value)
}

/** The pages of a segment, as views into it. */
export function openSegment(seq: number, value: Buffer): NewPage[] {
  const bytes = unsealed(`journal segment ${seq}`, seqKey(seq), value)
  const count = bytes.readUInt32LE(0)
  let at = 4
  let body = 4 + count * entry_bytes
  const pages: NewPage[] = []
  for (let i = 0; i < count; i++, at += entry_bytes) {
    const id = bytes.toString('latin1', at + 8, at + 8 + id_bytes)
    const head = readHead(bytes, at + 8 + id_bytes, bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4), id)
    pages.push({ head, bytes: bytes.subarray(body, body + head.size) })
    body += head.size
  }
  return pages
}
