/** Reads the Parquet files of a day, block by block. */
import { type FileHandle, open } from 'node:fs/promises'
import { zstdDecompressSync } from 'node:zlib'
import { type AsyncBuffer, type DecodedArray, type ParquetScan, parquetScan } from 'hyparquet'
import { type Cell, container_column, rest_column, rest_utf16_column, toTexts } from './columns.ts'

/** Rows decoded at once. The last block stays at hand: runs of few rows stand side by side in it. */
const block_rows = 8_192

const own = new Set([container_column, 'timestamp', rest_column, rest_utf16_column])
const compressors = { ZSTD: (bytes: Uint8Array) => zstdDecompressSync(bytes) as Uint8Array }

export interface Text {
  timestamp: number
  json: string
}

type Block = readonly [first: number, end: number]

export class PartReader {
  readonly path: string
  readonly #handle: FileHandle
  readonly #scan: ParquetScan
  /** In the order of their rows; none goes over the border of a row group. */
  readonly #blocks: Block[]
  /** Columns of parameters. */
  readonly names: readonly string[]
  readonly records: number

  private constructor(path: string, handle: FileHandle, scan: ParquetScan) {
    this.path = path
    this.#handle = handle
    this.#scan = scan
    this.records = Number(scan.metadata.num_rows)
    this.#blocks = scan.ranges.flatMap(({ rowStart, rowEnd }) => blocksOf(rowStart, rowEnd))
    const all = scan.metadata.schema.slice(1).map(({ name }) => name)
    this.names = all.filter((name) => !own.has(name))
  }

  static async open(path: string): Promise<PartReader> {
    const handle = await open(path, 'r')
    try {
      const { size } = await handle.stat()
      const file: AsyncBuffer = {
        byteLength: size,
        async slice(start, end = size) {
          const bytes = Buffer.allocUnsafeSlow(Math.max(0, end - start))
          for (let at = 0; at < bytes.length; ) {
            const { bytesRead } = await handle.read(bytes, at, bytes.length - at, start + at)
            if (bytesRead === 0) throw new Error('it ends too early')
            at += bytesRead
          }
          return bytes.buffer
        },
      }
      return new PartReader(path, handle, await parquetScan({ file, compressors }))
    } catch (error) {
      await handle.close()
      throw new Error(`${path} is damaged: ${(error as Error).message}`)
    }
  }

  /** Columns of a block, each as long as the block. */
  async #columns([rowStart, rowEnd]: Block, names: readonly string[]): Promise<DecodedArray[]> {
    try {
      const read = names.map((column) => this.#scan.readColumn({ column, rowStart, rowEnd }))
      // All settle before one is given up: none is left to fail unseen.
      await Promise.allSettled(read)
      const columns = await Promise.all(read)
      if (columns.some(({ length }) => length !== rowEnd - rowStart)) throw new Error('rows are missing')
      return columns
    } catch (error) {
      throw new Error(`${this.path} is damaged: ${(error as Error).message}`)
    }
  }

  /** Blocks that have rows of a range. */
  #within(first: number, end: number): Block[] {
    return this.#blocks.filter(([from, to]) => from < end && to > first)
  }

  /** Containers of rows, for a check. */
  async containers(first: number, end: number): Promise<number[]> {
    const ids: number[] = []
    for (const block of this.#within(first, end)) {
      const [column] = await this.#columns(block, [container_column])
      for (let row = Math.max(first, block[0]); row < Math.min(end, block[1]); row++)
        ids.push(Number(column![row - block[0]]))
    }
    return ids
  }

  /** Timestamps of rows. */
  async timestamps(first: number, end: number): Promise<Float64Array> {
    const times = new Float64Array(end - first)
    for (const block of this.#within(first, end)) {
      const [column] = await this.#columns(block, ['timestamp'])
      for (let row = Math.max(first, block[0]); row < Math.min(end, block[1]); row++)
        times[row - first] = column![row - block[0]] as number
    }
    return times
  }

  /** Records of rows as JSON texts, block by block; `fields`: these parameters are enough. */
  async *texts(first: number, end: number, reverse = false, fields?: readonly string[]): AsyncGenerator<Text[]> {
    const names = fields ? this.names.filter((name) => fields.includes(name)) : this.names
    const blocks = this.#within(first, end)
    for (const block of reverse ? blocks.reverse() : blocks) {
      const wanted = ['timestamp', ...names, rest_column, rest_utf16_column]
      const columns = (await this.#columns(block, wanted)) as ArrayLike<Cell>[]
      const times = columns[0] as ArrayLike<number>
      const [from, to] = [Math.max(first, block[0]) - block[0], Math.min(end, block[1]) - block[0]]
      const jsons = toTexts(names, columns, from, to)
      const texts = jsons.map((json, i) => ({ timestamp: times[from + i]!, json }))
      yield reverse ? texts.reverse() : texts
    }
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

function blocksOf(first: number, end: number): Block[] {
  const count = Math.ceil((end - first) / block_rows)
  return Array.from({ length: count }, (_, i) => [first + i * block_rows, Math.min(end, first + (i + 1) * block_rows)])
}
