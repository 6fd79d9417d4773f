/** The head that pages and rows begin with: see docs/mdb-format.md. */
import { crc32 } from 'node:zlib'
import { DamagedError } from './page-bytes.ts'

/** What a page's first bytes tell. */
export interface PageSummary {
  /** `rows`: as they came, quick to make; `bundle`: many of those; `page`: columns. */
  kind: 'rows' | 'bundle' | 'page'
  records: number
  /** Oldest and newest timestamp, both included, s. */
  from: number
  to: number
  /** Bytes of the records as JSON. */
  json_bytes: number
}

export const head_bytes = 36
export const format_version = 1
/** Records of one page: bounds what reading one takes. */
export const page_records_limit = 1_000_000
const magic = 0x4d444250
const kinds = [undefined, 'page', 'rows', 'bundle'] as const
/** The body is packed by zstd. */
export const packed_flag = 1

/** Writes the head into a page whose body is in place, and its checksum. */
export function sealPage(bytes: Buffer, summary: PageSummary, flags: number): void {
  const { records, from, to, json_bytes } = summary
  if (json_bytes >= 2 ** 32)
    throw new RangeError('the records of a page have 4 GiB of JSON or more: make smaller pages')
  bytes.writeUInt32BE(magic, 0)
  bytes[8] = format_version
  bytes[9] = kinds.indexOf(summary.kind)
  bytes[10] = flags
  bytes[11] = 0
  bytes.writeUInt32LE(records, 12)
  bytes.writeUInt32LE(json_bytes, 16)
  bytes.writeDoubleLE(from, 20)
  bytes.writeDoubleLE(to, 28)
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4)
}

export const bufferOf = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Reads the head alone: checks that these are bytes of ours, not that they are whole. Throws `DamagedError`. */
export function summarise(bytes: Uint8Array): PageSummary {
  const buffer = bufferOf(bytes)
  if (buffer.length < head_bytes) throw new DamagedError(`a page of ${buffer.length} bytes: its head has ${head_bytes}`)
  if (buffer.readUInt32BE(0) !== magic) throw new DamagedError('not a page: it does not begin with "MDBP"')
  const version = buffer[8]!
  const kind = kinds[buffer[9]!]
  if (version !== format_version) throw new DamagedError(`a page of version ${version}: this reads ${format_version}`)
  if (kind === undefined) throw new DamagedError(`a page of an unknown kind ${buffer[9]}`)
  if (buffer[10]! > packed_flag || buffer[11] !== 0) throw new DamagedError('a page with unknown flags')
  const summary: PageSummary = {
    kind,
    records: buffer.readUInt32LE(12),
    json_bytes: buffer.readUInt32LE(16),
    from: buffer.readDoubleLE(20),
    to: buffer.readDoubleLE(28),
  }
  if (summary.records < 1 || summary.records > page_records_limit)
    throw new DamagedError(`a page of ${summary.records} records`)
  if (!(summary.from <= summary.to)) throw new DamagedError(`a page from ${summary.from} to ${summary.to}`)
  return summary
}

/** Whether a page is whole and as it was written; throws `DamagedError` if not. */
export function verifyPage(bytes: Uint8Array): void {
  const buffer = bufferOf(bytes)
  const [expected, actual] = [buffer.readUInt32LE(4), crc32(buffer.subarray(8))]
  if (expected !== actual) {
    const hex = (value: number) => value.toString(16).padStart(8, '0')
    throw new DamagedError(
      `the checksum of a page is ${hex(actual)}, not ${hex(expected)}: it is cut off or was changed`,
    )
  }
}
