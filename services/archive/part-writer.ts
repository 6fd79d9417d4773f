/** Writes the Parquet files of a day, row group by row group: what is held in memory does not grow with the day. */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { constants, zstdCompressSync } from 'node:zlib'
import type { SchemaElement } from 'hyparquet'
import { ByteWriter, ParquetWriter } from 'hyparquet-writer'
import {
  type Cell,
  columns_max,
  columnType,
  container_column,
  Digest,
  type MessageRecord,
  rest_column,
  rest_utf16_column,
  toCells,
} from './columns.ts'
import { fileDigest, type Part, type Run } from './manifest.ts'

/** Records of one row group, and bytes of their JSON: what is held in memory while a file is written. */
const group_records_max = 32_768
const group_bytes_max = 32 * 1024 * 1024
/** A new file begins after so many bytes. */
const part_bytes_max = 512 * 1024 * 1024
/** A page of a column: 4,096 numbers, or 8,192 places in a dictionary; what reading a few rows decodes at least. */
const page_bytes = 32 * 1024

const compression = 'ZSTD' as const
// Each page carries a checksum of its content: a damaged one is not decoded into other values.
const zstd = { params: { [constants.ZSTD_c_checksumFlag]: 1, [constants.ZSTD_c_compressionLevel]: 3 } }
const compressors = { ZSTD: (bytes: Uint8Array) => zstdCompressSync(bytes, zstd) }

function schemaOf(names: readonly string[]): SchemaElement[] {
  const text = { type: 'BYTE_ARRAY', converted_type: 'UTF8' } as const
  return [
    { name: 'root', num_children: names.length + 4 },
    { name: container_column, type: 'INT64', repetition_type: 'REQUIRED' },
    { name: 'timestamp', type: 'DOUBLE', repetition_type: 'REQUIRED' },
    ...names.map((name): SchemaElement => {
      const type = columnType(name)!
      const element = type === 'STRING' ? text : ({ type } as const)
      return { name, ...element, repetition_type: 'OPTIONAL' }
    }),
    { name: rest_column, ...text, repetition_type: 'OPTIONAL' },
    { name: rest_utf16_column, ...text, repetition_type: 'OPTIONAL' },
  ]
}

/** A file being written. Its schema is fixed by its first row group. */
interface OpenPart {
  file: string
  fd: number
  writer: ByteWriter & { flush?: () => void }
  parquet: ParquetWriter
  names: string[]
}

interface OpenRun extends Omit<Run, 'sha256'> {
  digest: Digest
}

/** Writes records, which come in the order of (container, timestamp), into as many files as their columns and sizes need. */
export class PartsWriter {
  readonly #folder: string
  readonly #prefix: string
  /** Columns so far, in the order in which they were seen; files begun later have them all. */
  readonly #columns: Set<string>
  /** Columns that have a value. */
  readonly used = new Set<string>()
  readonly #done: Omit<Part, 'addition' | 'bytes' | 'sha256'>[] = []
  #part: OpenPart | undefined
  #runs: (Run | OpenRun)[] = []
  #rows = 0
  // The row group that is being filled.
  #containers: bigint[] = []
  #timestamps: number[] = []
  #rest: (string | null)[] = []
  #restUtf16: (string | null)[] = []
  #cells = new Map<string, Cell[]>()
  #bytes = 0
  records = 0

  constructor(folder: string, prefix: string, columns: Iterable<string> = []) {
    this.#folder = folder
    this.#prefix = prefix
    this.#columns = new Set([...columns].filter((name) => columnType(name)))
  }

  readonly #hasRoom = (name: string) => this.#columns.has(name) || this.#columns.size < columns_max

  /** `bytes`: of its JSON, to bound what is held. */
  add(container: number, record: MessageRecord, bytes: number): void {
    const { names, values, rest, rest_utf16 } = toCells(record, this.#hasRoom)
    if (this.#part && names.some((name) => !this.#columns.has(name))) this.#finishPart()
    const row = this.#timestamps.length
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!
      let column = this.#cells.get(name)
      if (!column) {
        this.#columns.add(name)
        this.used.add(name)
        this.#cells.set(name, (column = []))
      }
      while (column.length < row) column.push(null)
      column.push(values[i]!)
    }
    this.#containers.push(BigInt(container))
    this.#timestamps.push(record.timestamp)
    this.#rest.push(rest)
    this.#restUtf16.push(rest_utf16)
    this.#bytes += bytes
    this.#count(container, record)
    if (row + 1 >= group_records_max || this.#bytes >= group_bytes_max) this.#flush()
  }

  #count(container: number, record: MessageRecord): void {
    let run = this.#runs.at(-1) as OpenRun | undefined
    if (run?.container !== container) {
      this.#endRun()
      const { timestamp } = record
      run = { container, first: this.#rows, records: 0, from: timestamp, to: timestamp, digest: new Digest() }
      this.#runs.push(run)
    }
    run.digest.add(record)
    run.records++
    run.to = record.timestamp
    this.#rows++
    this.records++
  }

  #endRun(): void {
    const run = this.#runs.pop()
    if (!run) return
    const { digest, ...rest } = run as OpenRun
    this.#runs.push({ ...rest, sha256: digest.hex() })
  }

  #flush(): void {
    const rows = this.#timestamps.length
    if (rows === 0) return
    this.#part ??= this.#begin()
    const { parquet, names, fd, writer } = this.#part
    const nothing = new Array<Cell>(rows).fill(null)
    const columnData = [
      { name: container_column, data: this.#containers },
      { name: 'timestamp', data: this.#timestamps },
      ...names.map((name) => {
        const data = this.#cells.get(name)
        while (data && data.length < rows) data.push(null)
        return { name, data: data ?? nothing }
      }),
      { name: rest_column, data: this.#rest },
      { name: rest_utf16_column, data: this.#restUtf16 },
    ]
    parquet.write({ columnData, rowGroupSize: rows, pageSize: page_bytes })
    drain(fd, writer)
    this.#containers = []
    this.#timestamps = []
    this.#rest = []
    this.#restUtf16 = []
    this.#cells = new Map()
    this.#bytes = 0
    if (writer.offset >= part_bytes_max) this.#finishPart()
  }

  #begin(): OpenPart {
    const file = `${this.#prefix}-${String(this.#done.length).padStart(4, '0')}.parquet`
    const names = [...this.#columns]
    const writer = new ByteWriter()
    const kvMetadata = [{ key: 'milepost', value: 'records of MDB; rest: JSON of what has no column' }]
    const schema = schemaOf(names)
    const parquet = new ParquetWriter({
      writer,
      schema,
      codec: compression,
      compressors,
      createdBy: 'milepost',
      kvMetadata,
    })
    return { file, fd: openSync(join(this.#folder, file), 'wx', 0o600), writer, parquet, names }
  }

  #finishPart(): void {
    this.#flush()
    this.#endRun()
    const part = this.#part
    if (!part) return
    this.#part = undefined
    part.parquet.finish()
    drain(part.fd, part.writer)
    fsyncSync(part.fd)
    closeSync(part.fd)
    this.#done.push({ file: part.file, records: this.#rows, runs: this.#runs as Run[] })
    this.#runs = []
    this.#rows = 0
  }

  /** Files written, synced, with the digests that their bytes have. */
  async finish(addition: number): Promise<Part[]> {
    this.#finishPart()
    const parts: Part[] = []
    for (const { file, records, runs } of this.#done) {
      const path = join(this.#folder, file)
      const { size: bytes } = await stat(path)
      parts.push({ file, addition, bytes, sha256: await fileDigest(path), records, runs })
    }
    return parts
  }

  /** Lets go of an unfinished file. */
  abandon(): void {
    if (this.#part) closeSync(this.#part.fd)
    this.#part = undefined
  }
}

/** Hands what was written on to the file. */
function drain(fd: number, writer: ByteWriter): void {
  const bytes = writer.getBytes()
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
  writer.index = 0
}
