import { mkdirSync } from 'node:fs'
import { type Database, open, type RootDatabase } from 'lmdb'
import type { Logger } from 'pino'
import { ApiError } from '#services/common/errors.ts'
import type { Append, Appended, Container, Engine, Range } from './engine.ts'

/** Bytes that may wait for the disk: beyond it writers are told to come back. */
const waiting_bytes_max = 64 * 1024 * 1024
/** Records that one page of a read, or one slice of a removal, touches: bounds how long other work waits. */
const page_records = 512
const slice_records = 5_000

const microseconds = (timestamp: number) => BigInt(Math.round(timestamp * 1e6))

/** Key: container u32, timestamp in µs u64, hash 8 bytes; all big-endian, so that byte order is the order of time. */
function recordKey(container: number, timestamp: number, hash?: Buffer): Buffer {
  const key = Buffer.alloc(hash ? 20 : 12)
  key.writeUInt32BE(container, 0)
  key.writeBigUInt64BE(microseconds(timestamp), 4)
  if (hash) hash.copy(key, 12)
  return key
}

const keyTimestamp = (key: Buffer) => Number(key.readBigUInt64BE(4)) / 1e6

interface Waiting {
  batch: Append[]
  bytes: number
  resolve(appended: Appended[]): void
  reject(error: unknown): void
}

/** A container that was removed and whose records are not all gone yet. */
interface Doomed {
  doomed: true
}

/**
 * MDB's store on LMDB: one writer, group commit. Appends that arrive while a commit is on its way to the disk
 * share the next one. `overlappingSync` is off, so a commit's promise means: synced.
 */
export class LmdbEngine implements Engine {
  readonly #root: RootDatabase<unknown, string>
  readonly #records: Database<Buffer, Buffer>
  readonly #meta: Database<Container | Doomed | number, string>
  readonly #containers = new Map<number, Container>()
  readonly #log: Logger
  #nextId = 1
  #waiting: Waiting[] = []
  #waitingBytes = 0
  #writing = false
  /** The last of the works that change counters: they run one after another. */
  #last: Promise<unknown> = Promise.resolve()
  #closed = false
  /** Durable commits so far; appends per commit show how well they are grouped. */
  commits = 0

  constructor(folder: string, log: Logger, map_size = 1024 ** 4) {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    this.#log = log
    // The map is address space, not disk: LMDB's file grows as data comes.
    this.#root = open({ path: folder, mapSize: map_size, maxDbs: 4, overlappingSync: false, noMemInit: true })
    this.#records = this.#root.openDB({ name: 'records', keyEncoding: 'binary', encoding: 'binary' }) as never
    this.#meta = this.#root.openDB({ name: 'meta', encoding: 'json' }) as never
    this.#nextId = (this.#meta.get('next_id') as number | undefined) ?? 1
    const doomed: number[] = []
    for (const { key, value } of this.#meta.getRange({ start: 'container:', end: 'container;' })) {
      const id = Number(key.slice(10))
      if ((value as Doomed).doomed) doomed.push(id)
      else this.#containers.set(id, value as Container)
    }
    for (const id of doomed) void this.#bury(id)
  }

  containers(): Container[] {
    return [...this.#containers.values()]
  }

  #get(id: number): Container {
    const container = this.#containers.get(id)
    if (!container) throw new ApiError('not_found', `there is no container ${id}`, { id })
    return container
  }

  /** One durable transaction of any work; the writes are those that `work` makes, all in one turn. */
  async #commit(work: () => void): Promise<void> {
    if (this.#closed) throw new ApiError('unavailable', 'the store is closing')
    try {
      await this.#root.batch(work)
      this.commits++
    } catch (error) {
      this.#log.error({ err: error }, 'a commit failed')
      throw new ApiError('unavailable', `the store cannot write: ${(error as Error).message}`, {
        retryAfter: 5,
        cause: error,
      })
    }
  }

  async create(wanted: Pick<Container, 'account_id' | 'name' | 'ttl'>): Promise<Container> {
    const taken = this.containers().find((c) => c.name === wanted.name && c.account_id === wanted.account_id)
    if (taken) throw new ApiError('conflict', `a container named "${wanted.name}" exists`, { id: taken.id })
    const container: Container = { id: this.#nextId++, ...wanted, records: 0, bytes: 0, created: Date.now() / 1000 }
    // Known before it is written, so that a second request for the same name conflicts.
    this.#containers.set(container.id, container)
    try {
      await this.#commit(() => {
        this.#meta.put('next_id', this.#nextId)
        this.#meta.put(`container:${container.id}`, container)
      })
    } catch (error) {
      this.#containers.delete(container.id)
      throw error
    }
    return container
  }

  async edit(id: number, fields: Partial<Pick<Container, 'name' | 'ttl'>>): Promise<Container> {
    const container = this.#get(id)
    return this.#alone(async () => {
      await this.#commit(() => void this.#meta.put(`container:${id}`, { ...container, ...fields }))
      return Object.assign(container, fields)
    })
  }

  async remove(id: number): Promise<void> {
    const container = this.#get(id)
    this.#containers.delete(id)
    try {
      await this.#commit(() => void this.#meta.put(`container:${id}`, { doomed: true }))
    } catch (error) {
      this.#containers.set(id, container)
      throw error
    }
    void this.#bury(id)
  }

  /** Takes a removed container's records away, slice by slice. What is left at a stop goes at the next start. */
  async #bury(id: number): Promise<void> {
    try {
      while (!this.#closed) {
        const keys = [...this.#keys(id, { from: 0, to: Number.MAX_SAFE_INTEGER / 1e6, reverse: false }, slice_records)]
        await this.#commit(() => {
          for (const key of keys) this.#records.remove(key)
          if (keys.length < slice_records) this.#meta.remove(`container:${id}`)
        })
        if (keys.length < slice_records) return
      }
    } catch (error) {
      if (!this.#closed) this.#log.warn({ err: error, container: id }, 'removed records are left for the next start')
    }
  }

  *#keys(container: number, range: Range, limit: number): Generator<Buffer> {
    const options = { start: recordKey(container, range.from), end: recordKey(container, range.to), limit }
    for (const key of this.#records.getKeys(options)) yield key
  }

  append(batch: Append[]): Promise<Appended[]> {
    return new Promise((resolve, reject) => {
      for (const { container } of batch) this.#get(container)
      let bytes = 0
      for (const { records } of batch) for (const { json } of records) bytes += json.length
      if (this.#waitingBytes + bytes > waiting_bytes_max) {
        throw new ApiError('unavailable', 'the store is slower than its writers: too much waits for the disk')
      }
      this.#waitingBytes += bytes
      this.#waiting.push({ batch, bytes, resolve, reject })
      if (!this.#writing) {
        this.#writing = true
        // Let the requests of this turn of the loop in, too.
        setImmediate(() => void this.#writeAll())
      }
    })
  }

  /** Runs `work` after all that was asked before it. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#last.then(work)
    this.#last = run.catch(() => {})
    return run
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting
      this.#waiting = []
      await this.#alone(() => this.#writeGroup(group))
      for (const { bytes } of group) this.#waitingBytes -= bytes
    }
    this.#writing = false
  }

  async #writeGroup(group: Waiting[]): Promise<void> {
    const puts = new Map<string, { key: Buffer; json: Buffer }>()
    const growth = new Map<number, { records: number; bytes: number }>()
    const answers: (Appended[] | ApiError)[] = []
    for (const { batch } of group) {
      // A container may have gone while its records waited.
      const gone = batch.find(({ container }) => !this.#containers.has(container))
      if (gone) {
        answers.push(new ApiError('not_found', `there is no container ${gone.container}`, { id: gone.container }))
        continue
      }
      answers.push(batch.map((append) => this.#collect(append, puts, growth)))
    }
    try {
      if (puts.size > 0) {
        await this.#commit(() => {
          for (const { key, json } of puts.values()) this.#records.put(key, json)
          for (const [id, { records, bytes }] of growth) {
            const container = this.#containers.get(id)
            if (!container) continue
            this.#meta.put(`container:${id}`, {
              ...container,
              records: container.records + records,
              bytes: container.bytes + bytes,
            })
          }
        })
      }
    } catch (error) {
      for (const waiting of group) waiting.reject(error)
      return
    }
    for (const [id, { records, bytes }] of growth) {
      const container = this.#containers.get(id)
      if (!container) continue
      container.records += records
      container.bytes += bytes
    }
    for (const [index, waiting] of group.entries()) {
      const answer = answers[index] as Appended[] | ApiError
      if (answer instanceof ApiError) waiting.reject(answer)
      else waiting.resolve(answer)
    }
  }

  /** Adds what is new of one append to the transaction; only this process writes, so a look before is enough. */
  #collect(
    { container, records }: Append,
    puts: Map<string, { key: Buffer; json: Buffer }>,
    growth: Map<number, { records: number; bytes: number }>,
  ): Appended {
    const grown = growth.get(container) ?? { records: 0, bytes: 0 }
    growth.set(container, grown)
    let stored = 0
    for (const { timestamp, hash, json } of records) {
      const key = recordKey(container, timestamp, hash)
      const name = key.toString('latin1')
      if (puts.has(name) || this.#records.doesExist(key)) continue
      puts.set(name, { key, json })
      stored++
      grown.records++
      grown.bytes += json.length
    }
    return { container, stored, duplicates: records.length - stored }
  }

  *read(id: number, range: Range): Generator<{ timestamp: number; json: Buffer }> {
    const container = this.#get(id)
    const from = container.ttl > 0 ? Math.max(range.from, Date.now() / 1000 - container.ttl) : range.from
    if (from >= range.to) return
    // Bounds have no hash, so no stored key equals them: which side LMDB includes does not matter.
    let [start, end] = [recordKey(id, from), recordKey(id, range.to)]
    for (;;) {
      const bounds = range.reverse ? { start: end, end: start, reverse: true } : { start, end }
      // One more than a page tells where the next page begins.
      const page = [...this.#records.getRange({ ...bounds, limit: page_records + 1 })]
      for (const { key, value } of page.slice(0, page_records)) {
        yield { timestamp: keyTimestamp(key), json: value }
      }
      const next = page[page_records]
      if (!next) return
      if (range.reverse) end = next.key
      else start = next.key
    }
  }

  async removeRange(id: number, range: Range): Promise<number> {
    const container = this.#get(id)
    let removed = 0
    for (;;) {
      const count = await this.#alone(() => this.#removeSlice(container, range))
      removed += count
      if (count < slice_records) return removed
    }
  }

  async #removeSlice(container: Container, range: Range): Promise<number> {
    const keys: Buffer[] = []
    let bytes = 0
    const bounds = {
      start: recordKey(container.id, range.from),
      end: recordKey(container.id, range.to),
      limit: slice_records,
    }
    for (const { key, value } of this.#records.getRange(bounds)) {
      keys.push(key)
      bytes += value.length
    }
    if (keys.length === 0) return 0
    const left = { records: container.records - keys.length, bytes: container.bytes - bytes }
    await this.#commit(() => {
      for (const key of keys) this.#records.remove(key)
      if (this.#containers.has(container.id)) this.#meta.put(`container:${container.id}`, { ...container, ...left })
    })
    Object.assign(container, left)
    return keys.length
  }

  async close(): Promise<void> {
    while (this.#writing) await this.#last
    await this.#last
    this.#closed = true
    await this.#root.close()
  }
}
