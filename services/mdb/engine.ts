/** MDB's engine: records of containers in the order of (timestamp, hash), in pages, on a store. */
import type { Logger } from 'pino'
import { ApiError } from '#services/common/errors.ts'
import { removeRange, sweepExpired } from './engine-edges.ts'
import { Merger } from './engine-merge.ts'
import { fold, Pages } from './engine-pages.ts'
import { Reader, type ReadQuery } from './engine-read.ts'
import { type Append, Sifter } from './engine-sift.ts'
import type { Message } from './page.ts'
import { type Container, day_s, dayOf, isFresh, type Newest, type Store } from './store.ts'

export type { Append, ReadQuery }

/** Bytes that may wait for the disk: beyond it writers are told to come back. */
const waiting_bytes_max = 64 * 1024 * 1024
/** A write that waits longer than this tells that the store is slow or away: others are not let in behind it. */
const waiting_time_max_ms = 5_000
/** Held up no longer than this for the sake of merges. */
const pace_max_ms = 1_000
/** One commit's worth. */
const group_bytes_max = 8 * 1024 * 1024
/** How often expired pages are looked for. */
const sweep_every_ms = 30_000
/** How often a shared store is asked which containers there are. */
const refresh_every_ms = 5_000

export interface Appended {
  container: number
  stored: number
  /** Records that were there already: a re-send. */
  duplicates: number
}

export interface Statistics {
  id: number
  records: number
  /** As JSON texts. */
  bytes: number
  /** Of its pages. */
  disk_bytes: number
  pages: number
  /** Pages that wait for their merge. */
  fresh_pages: number
  /** Timestamps of its first and last record, s; absent when it is empty. */
  from?: number
  to?: number
  /** Records of each UTC day in its pages; what overlapping pages both have is counted twice until they are merged. */
  days: { day: string; records: number }[]
}

interface Waiting {
  batch: Append[]
  bytes: number
  since: number
  resolve(appended: Appended[]): void
  reject(error: unknown): void
}

export interface EngineOptions {
  log: Logger
  /** ms without writes until a day is brought to rest. */
  rest_ms?: number | undefined
  /** s since 1970; what TTL is measured by. */
  now?: () => number
}

export class Engine {
  readonly store: Store
  readonly merger: Merger
  readonly log: Logger
  readonly now: () => number
  readonly #pages: Pages
  readonly #reader: Reader
  readonly #sifter: Sifter
  readonly #containers = new Map<number, Container>()
  readonly #timers: NodeJS.Timeout[] = []
  #waiting: Waiting[] = []
  #waiting_bytes = 0
  #writing = false
  /** ms; since when the commit under way is. */
  #since = 0
  /** The last of the works that must not overlap: commits, removals. */
  #last: Promise<unknown> = Promise.resolve()
  #closed = false
  #sweeping = false
  #refreshed = 0
  /** Containers made, changed and removed by this process. */
  #changes = 0
  /** Groups stored so far, records, and records that were there already. */
  groups = 0
  stored = 0
  duplicates = 0
  /** Appends told to come back. */
  refused = 0
  /** Damage met so far. */
  damages = 0

  /** Opens an engine on a store; the engine closes it. */
  static async open(store: Store, options: EngineOptions): Promise<Engine> {
    const engine = new Engine(store, options)
    await engine.refresh()
    return engine
  }

  private constructor(store: Store, { log, rest_ms, now = () => Date.now() / 1000 }: EngineOptions) {
    this.store = store
    this.log = log
    this.now = now
    this.#pages = new Pages(store)
    this.#reader = new Reader(store, this.#pages)
    this.#sifter = new Sifter(store, this.#pages, (error) => {
      this.damages++
      log.error({ reason: error.message }, 'a page is damaged')
    })
    this.merger = new Merger(store, this.#pages, log, rest_ms)
    this.#timers.push(setInterval(() => void this.sweep(), sweep_every_ms).unref())
    if (store.shared)
      this.#timers.push(setInterval(() => void this.refresh().catch(() => {}), refresh_every_ms).unref())
  }

  // ── Containers ─────────────────────────────────────────────────────────────────────────────────────────────────────

  containers(): Container[] {
    return [...this.#containers.values()]
  }

  /** Containers as the store has them now. */
  async refresh(): Promise<void> {
    let changes: number
    let found: Container[]
    // What was changed meanwhile may be newer than what was read.
    do {
      changes = this.#changes
      found = await this.store.containers()
    } while (changes !== this.#changes)
    const known = new Set(this.#containers.keys())
    for (const container of found) {
      this.#containers.set(container.id, container)
      known.delete(container.id)
    }
    for (const id of known) {
      this.#containers.delete(id)
      this.#sifter.remove(id)
    }
    this.#refreshed = Date.now()
  }

  /** On a shared store a container may have been made by another process a moment ago. */
  async find(ids: Iterable<number>): Promise<void> {
    if (!this.store.shared || Date.now() - this.#refreshed < 100) return
    for (const id of ids) if (!this.#containers.has(id)) return this.refresh()
  }

  has(id: number): boolean {
    return this.#containers.has(id)
  }

  #get(id: number): Container {
    const container = this.#containers.get(id)
    if (!container) throw new ApiError('not_found', `there is no container ${id}`, { id })
    return container
  }

  async create(wanted: Pick<Container, 'account_id' | 'name' | 'ttl'>): Promise<Container> {
    const container = await this.store.create(wanted)
    this.#changes++
    this.#containers.set(container.id, container)
    return container
  }

  async edit(id: number, fields: Partial<Pick<Container, 'name' | 'ttl'>>): Promise<Container> {
    this.#get(id)
    const container = await this.store.edit(id, fields)
    this.#changes++
    this.#containers.set(id, container)
    return container
  }

  async remove(id: number): Promise<void> {
    this.#get(id)
    await this.store.remove(id)
    this.#changes++
    this.#containers.delete(id)
    this.#sifter.remove(id)
  }

  // ── Writes ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Stores a batch for any number of containers; resolves when it is durable. See `Store.insert` for what a failure leaves. */
  append(batch: Append[]): Promise<Appended[]> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw new ApiError('unavailable', 'the store is closing')
      for (const { container } of batch) this.#get(container)
      const bytes = batch.reduce((sum, append) => sum + append.bytes.length, 0)
      this.#refuseWhenFull(bytes)
      this.#waiting_bytes += bytes
      this.#waiting.push({ batch, bytes, since: Date.now(), resolve, reject })
      if (this.#writing) return
      this.#writing = true
      // Let the requests of this turn of the loop in, too.
      setImmediate(() => void this.#writeAll())
    })
  }

  get waitingBytes(): number {
    return this.#waiting_bytes
  }

  #refuseWhenFull(bytes: number): void {
    const slow = 'the store is slower than its writers'
    this.refused++
    if (this.#waiting_bytes > 0 && this.#waiting_bytes + bytes > waiting_bytes_max)
      throw new ApiError('unavailable', `${slow}: too much waits for the disk; send again later`)
    if (this.store.pressure >= 1)
      throw new ApiError('unavailable', `${slow}: too many fresh pages wait for their merge; send again later`)
    if (this.#since > 0 && Date.now() - this.#since > waiting_time_max_ms)
      throw new ApiError('unavailable', `the store does not answer for ${waiting_time_max_ms} ms; send again later`)
    this.refused--
  }

  /** Runs `work` after all that was asked before it. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#last.then(work)
    this.#last = run.catch(() => {})
    return run
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      let bytes = 0
      let count = 0
      while (count < this.#waiting.length && (count === 0 || bytes < group_bytes_max))
        bytes += this.#waiting[count++]!.bytes
      const group = this.#waiting.splice(0, count)
      this.#since = Date.now()
      const records = group.reduce((sum, { batch }) => batch.reduce((sum, { page }) => sum + page.records, sum), 0)
      await this.merger.pace(records, pace_max_ms)
      await this.alone(() => this.#writeGroup(group))
      this.#waiting_bytes -= bytes
    }
    this.#writing = false
  }

  async #writeGroup(waiting: Waiting[]): Promise<void> {
    // A container may have gone while its records waited.
    const group = waiting.filter(({ batch, reject }) => {
      const gone = batch.find(({ container }) => !this.#containers.has(container))
      if (gone) reject(new ApiError('not_found', `there is no container ${gone.container}`, { id: gone.container }))
      return !gone
    })
    const appends = group.flatMap(({ batch }) => batch)
    this.#since = Date.now()
    try {
      const { pages, stored } = await this.#sifter.sift(appends)
      await this.store.insert(pages)
      this.merger.touch(pages.map(({ head }) => head))
      this.groups++
      let next = 0
      for (const { batch, resolve } of group) {
        const answers = batch.map(({ container, sent }) => {
          const count = stored[next++]!
          this.stored += count
          this.duplicates += sent - count
          return { container, stored: count, duplicates: sent - count }
        })
        resolve(answers)
      }
    } catch (error) {
      this.#sifter.forget(appends.map(({ container }) => container))
      const known =
        error instanceof ApiError ? error : new ApiError('internal', (error as Error).message, { cause: error })
      if (known.kind === 'internal') this.log.error({ err: error }, 'a batch was not stored')
      // One that went away on a shared store must not take the others with it.
      if (known.kind === 'not_found' && group.length > 1) {
        await this.refresh().catch(() => {})
        for (const one of group) await this.#writeGroup([one])
      } else for (const { reject } of group) reject(known)
    } finally {
      this.#since = 0
    }
  }

  /** Records of [from, to) go, pages at the edges are rewritten; returns how many. */
  async removeRange(id: number, from: number, to: number): Promise<number> {
    this.#get(id)
    return removeRange(this, this.#pages, id, from, to, () => this.#sifter.forget([id]))
  }

  /** Drops pages that have expired as a whole. Records that have expired in others are not read. */
  async sweep(): Promise<void> {
    if (this.#sweeping || this.#closed) return
    this.#sweeping = true
    try {
      await sweepExpired(this, this.#pages, (id) => this.#sifter.forget([id]))
    } finally {
      this.#sweeping = false
    }
  }

  // ── Reads ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Records before this moment have expired, s since 1970; −∞ without a TTL, and of a container that is gone. */
  expiredBefore(id: number): number {
    const ttl = this.#containers.get(id)?.ttl ?? 0
    return ttl > 0 ? this.now() - ttl : Number.NEGATIVE_INFINITY
  }

  /** A query without what has expired. */
  #within(id: number, query: ReadQuery): ReadQuery {
    this.#get(id)
    return { ...query, from: Math.max(query.from, this.expiredBefore(id)) }
  }

  /** Records in the order of (timestamp, hash), in batches. */
  read(id: number, query: ReadQuery): AsyncGenerator<Message[]> {
    return this.#reader.read(id, this.#within(id, query))
  }

  /** Names of parameters that records of a range may have; the first `count` of them, if it is given. */
  parameters(id: number, query: ReadQuery): Promise<Set<string>> {
    return this.#reader.parameters(id, this.#within(id, query))
  }

  /** The same as blocks of rows or pages: see `Reader.blocks`. */
  blocks(id: number, query: ReadQuery): AsyncGenerator<Buffer> {
    return this.#reader.blocks(id, this.#within(id, query))
  }

  /** Newest value of each parameter that the container ever got, also if its record has expired. */
  async telemetry(id: number): Promise<Newest> {
    this.#get(id)
    for (;;) {
      const days = await this.store.unmerged(Number.MAX_SAFE_INTEGER, id)
      const heads = (await Promise.all(days.map(({ day }) => this.store.heads(id, day)))).flat()
      const fresh = await this.#pages.open(heads.filter(isFresh))
      if (!fresh) continue
      // After the fresh pages: what was merged meanwhile is in both, not in neither.
      const newest = await this.store.newest(id)
      for (const page of fresh) fold(newest, page.newest())
      return newest
    }
  }

  async statistics(id: number): Promise<Statistics> {
    const { records, bytes } = this.#get(id)
    const found: Statistics = { id, records, bytes, disk_bytes: 0, pages: 0, fresh_pages: 0, days: [] }
    for (const day of await this.store.days(id, 0, dayOf(Number.MAX_SAFE_INTEGER / 1e6))) {
      let count = 0
      for (const head of await this.store.heads(id, day)) {
        const { size, from, to, records } = head
        count += records
        found.disk_bytes += size
        found.pages++
        if (isFresh(head)) found.fresh_pages++
        found.from = Math.min(found.from ?? from, from)
        found.to = Math.max(found.to ?? to, to)
      }
      if (count > 0) found.days.push({ day: new Date(day * day_s * 1000).toISOString().slice(0, 10), records: count })
    }
    return found
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    this.#closed = true
    // An append that was taken waits for a turn of the event loop.
    while (this.#writing) await new Promise((resolve) => setImmediate(resolve)).then(() => this.#last)
    await this.merger.stop()
    await this.#last
    await this.store.close()
  }
}
