/** Merges small pages into large ones in the background, a bounded piece at a time. */
import type { Logger } from 'pino'
import { ApiError } from '#services/common/errors.ts'
import { fold, named, newPage, type Pages } from './engine-pages.ts'
import { blocksOf, bundleOf, DamagedError, mergePages, page_records_max, RowsMerge, summarise } from './page.ts'
import { isFresh, type Newest, type NewPage, type PageHead, type Store } from './store.ts'

/** Bytes of JSON that a page's records have at most, whatever their number. */
export const page_json_bytes_max = 8 * 1024 * 1024
/** Fresh pages of a day that wait for their merge: each read opens them all. */
export const fresh_pages_max = 96
/** Pages that one merge takes, and pages' worth of records. */
const merge_pages_max = 256
const merge_size_max = 4
/** So many small pages (below an eighth), and middling ones (below three quarters), are merged. */
const small_pages_max = 12
const middling_pages_max = 6
/** Pages that may cover the same moment; those are a read's work for it. */
const depth_max = 8
/** A bundle of fewer records is bundled again with what comes. */
const bundle_records_min = 32
/** A day that nothing was written to for so long is brought to rest: few pages, all full. */
const rest_after_ms = 10 * 60_000
const look_every_ms = 30_000
/** Merges under way at once, so that they share commits. */
const at_once_max = 12
/** The same when room for fresh pages runs out: then each has few records. */
const urgent_at_once_max = 64
/** From this pressure on fresh pages go, however few there are of a day. */
const urgent_pressure = 0.65
/** From this pressure on `pace_max` records are merged for each that is stored; fewer below it, one when it gets urgent. */
const full_pressure = 0.8
const pace_max = 4
/** Records that writers wait for at most. */
const owed_max = 20_000
/** Days found by one question to the store. */
const found_max = 256
/** A day with a damaged page is left alone for so long. */
const damaged_rest_ms = 60 * 60_000

/** A page's size, 1 when it is full. */
const sizeOf = ({ records, json_bytes }: PageHead) =>
  Math.max(records / page_records_max, json_bytes / page_json_bytes_max)

/** The first of some pages, as many as one merge takes: so many that those that come out of it are as full as can be. */
function bounded(heads: PageHead[]): PageHead[] {
  let size = 0
  let best = 0
  let best_fill = 0
  for (const [i, head] of heads.slice(0, merge_pages_max).entries()) {
    size += sizeOf(head)
    if (i > 1 && size > merge_size_max) break
    const fill = size / Math.ceil(size)
    if (fill >= best_fill) [best, best_fill] = [i + 1, fill]
  }
  return heads.slice(0, Math.max(best, Math.min(2, heads.length)))
}

const byId = (a: PageHead, b: PageHead) => (a.id < b.id ? -1 : 1)
const byTime = (a: PageHead, b: PageHead) => a.from - b.from || byId(a, b)

/** The most pages that cover one moment. */
function deepest(heads: PageHead[]): PageHead[] {
  let most: PageHead[] = []
  let open: PageHead[] = []
  for (const head of [...heads].sort(byTime)) {
    open = open.filter(({ to }) => to >= head.from)
    open.push(head)
    if (open.length > most.length) most = [...open]
  }
  return most
}

/**
 * Pages of one day to merge next; undefined: it is well as it is. Fresh ones go first, oldest first; then pages of like size,
 * so that a record is rewritten few times; old large pages are touched only where too many cover the same moment.
 * `urgent`: fresh pages however few. `rest`: brings a day to rest.
 */
export function planMerge(heads: PageHead[], urgent = false, rest = false): PageHead[] | undefined {
  const fresh = freshOf(heads)
  if (isFull(fresh) || (fresh.length > 0 && (urgent || rest))) return bounded(fresh)
  const merged = heads.filter((head) => !isFresh(head)).sort(byTime)
  const small = merged.filter((head) => sizeOf(head) < 1 / 8)
  if (small.length >= small_pages_max) return bounded(small)
  const middling = merged.filter((head) => sizeOf(head) < 3 / 4)
  if (middling.length >= middling_pages_max) return shrinking(bounded(middling))
  const deep = deepest(merged)
  if (deep.length > depth_max) return bounded(deep)
  return rest ? shrinking(bounded(middling)) : undefined
}

const freshOf = (heads: PageHead[]) => heads.filter(isFresh).sort(byId)

/** Fresh pages of a day that are due to become columns. */
const isFull = (fresh: PageHead[]) =>
  fresh.length >= fresh_pages_max || fresh.reduce((sum, head) => sum + sizeOf(head), 0) >= 1

/** Rows to put into one bundle, since room for fresh pages runs out; undefined: there are none, or they are due to become columns. */
export function planBundle(heads: PageHead[]): PageHead[] | undefined {
  const fresh = freshOf(heads)
  if (isFull(fresh)) return undefined
  const loose = fresh.filter(({ kind, records }) => kind === 'rows' || records < bundle_records_min)
  return loose.some(({ kind }) => kind === 'rows') ? bounded(loose) : undefined
}

/** A merge that would leave as many pages as before is none. */
function shrinking(heads: PageHead[]): PageHead[] | undefined {
  const size = heads.reduce((sum, head) => sum + sizeOf(head), 0)
  return heads.length > 1 && Math.ceil(size) < heads.length ? heads : undefined
}

/** What comes out of a merge; `newest`: of the fresh pages that went into it. */
interface Merged {
  pages: Buffer[]
  newest: Newest
}

interface Active {
  container: number
  day: number
  /** ms; last written to. */
  touched: number
  fresh: number
  fresh_size: number
  busy: boolean
  /** Its fresh pages go, however few. */
  urgent: boolean
}

export class Merger {
  readonly #store: Store
  readonly #pages: Pages
  readonly #log: Logger
  /** Days written to lately; the key is made of container and day. */
  readonly #active = new Map<number, Active>()
  readonly #due = new Set<Active>()
  readonly #timer: NodeJS.Timeout
  readonly #rest_after_ms: number
  #running = 0
  /** Records to merge before writers go on: see `pace`. */
  #owed = 0
  #stopped = false
  /** Who waits for a merge to end. */
  readonly #ended: (() => void)[] = []
  /** Merges done, those into bundles too, records that they wrote, and ms of computing. */
  merges = 0
  records = 0
  ms = 0

  constructor(store: Store, pages: Pages, log: Logger, rest_ms = rest_after_ms) {
    this.#store = store
    this.#pages = pages
    this.#log = log
    this.#rest_after_ms = rest_ms
    this.#timer = setInterval(() => void this.#look(), Math.min(look_every_ms, rest_ms))
    this.#timer.unref()
  }

  /** Fresh pages were stored. */
  touch(heads: readonly PageHead[]): void {
    const now = Date.now()
    for (const head of heads) {
      const active = this.#of(head.container, head.day)
      active.touched = now
      active.fresh++
      active.fresh_size += sizeOf(head)
      if (active.fresh >= fresh_pages_max || active.fresh_size >= 1) this.#due.add(active)
    }
    if (this.#due.size > 0 || this.#store.pressure > urgent_pressure) this.#pump()
  }

  #of(container: number, day: number): Active {
    const key = container * 2 ** 17 + day
    let active = this.#active.get(key)
    if (!active) {
      active = { container, day, touched: Date.now(), fresh: 0, fresh_size: 0, busy: false, urgent: false }
      this.#active.set(key, active)
    }
    return active
  }

  /** Finds days that a process before this one, or another one, left unmerged; brings days to rest. */
  async #look(): Promise<void> {
    if (this.#stopped) return
    try {
      for (const { container, day } of await this.#store.unmerged(found_max)) this.#of(container, day)
    } catch (error) {
      this.#log.warn({ reason: (error as Error).message }, 'the store did not tell what is unmerged')
    }
    const now = Date.now()
    for (const active of this.#active.values()) if (now - active.touched >= this.#rest_after_ms) this.#due.add(active)
    this.#pump()
  }

  #pump(): void {
    while (
      !this.#stopped &&
      this.#running < (this.#store.pressure > urgent_pressure ? urgent_at_once_max : at_once_max)
    ) {
      const next = this.#take()
      if (!next) break
      this.#running++
      next.busy = true
      void this.#run(next).finally(() => {
        this.#running--
        next.busy = false
        for (const resolve of this.#ended.splice(0)) resolve()
        // Other work of the process comes in between.
        setImmediate(() => this.#pump())
      })
    }
  }

  #take(): Active | undefined {
    for (const active of this.#due) {
      if (active.busy) continue
      this.#due.delete(active)
      return active
    }
    if (this.#store.pressure <= urgent_pressure) return undefined
    // The room for fresh pages runs out: those that are there for longest go, however few there are of a day.
    for (const active of this.#active.values()) {
      if (active.busy || active.fresh === 0) continue
      active.urgent = true
      return active
    }
    return undefined
  }

  async #run(active: Active): Promise<void> {
    const { container, day } = active
    const rest = Date.now() - active.touched >= this.#rest_after_ms
    const { urgent } = active
    active.urgent = false
    const key = container * 2 ** 17 + day
    // Again behind the others, should it be written to.
    this.#active.delete(key)
    this.#active.set(key, active)
    try {
      active.fresh = 0
      active.fresh_size = 0
      if (await this.mergeOnce(container, day, urgent, rest)) this.#due.add(active)
      else if (rest && Date.now() - active.touched >= this.#rest_after_ms) this.#active.delete(key)
    } catch (error) {
      if (error instanceof DamagedError) {
        active.touched = Date.now() + damaged_rest_ms
        this.#log.error({ reason: error.message }, 'a page is damaged: it is not merged')
      } else if (error instanceof ApiError && error.kind === 'not_found') {
        this.#active.delete(key)
      } else if (!this.#stopped) {
        active.touched = Date.now()
        this.#log.warn({ container, day, reason: (error as Error).message }, 'pages were not merged')
        await new Promise((resolve) => setTimeout(resolve, 1_000))
      }
    }
  }

  /** One merge of a day; false when there is nothing to merge. */
  async mergeOnce(container: number, day: number, urgent: boolean, rest: boolean): Promise<boolean> {
    const heads = await this.#store.heads(container, day)
    const bundle = urgent && !rest && !this.#store.shared ? planBundle(heads) : undefined
    if (bundle && (await this.#bundle(container, day, bundle))) return true
    const group = planMerge(heads, bundle !== undefined || (urgent && this.#store.shared), rest)
    if (!group) return false
    const records = group.reduce((sum, head) => sum + head.records, 0)
    const json_bytes = group.reduce((sum, head) => sum + head.json_bytes, 0)
    const fitting = Math.floor((page_json_bytes_max * records) / Math.max(1, json_bytes))
    const records_max = Math.max(1, Math.min(page_records_max, fitting))
    const merged = (await this.#mergeRows(group, json_bytes, records_max)) ?? (await this.#merge(group, records_max))
    if (!merged) return true
    const { pages, newest } = merged
    const made = pages.map((bytes) => newPage(container, bytes, 'page'))
    await this.#replace(container, day, group, { pages: made, newest })
    return true
  }

  /** Puts rows, and bundles, into one bundle. False: there are others among them, or one is gone. */
  async #bundle(container: number, day: number, group: PageHead[]): Promise<boolean> {
    const loaded = await this.#store.load(group)
    if (!loaded.every((bytes) => bytes && isFresh(summarise(bytes)))) return false
    const began = performance.now()
    const blocks = group.flatMap((head, i) => named(head, () => blocksOf(loaded[i]!)))
    const bundle = newPage(container, bundleOf(blocks), 'bundle')
    this.ms += performance.now() - began
    await this.#replace(container, day, group, { pages: [bundle] })
    return true
  }

  async #replace(container: number, day: number, group: PageHead[], made: { pages: NewPage[]; newest?: Newest }) {
    if (await this.#store.replace(container, day, group, made.pages, made.newest)) {
      const records = group.reduce((sum, head) => sum + head.records, 0)
      this.merges++
      this.records += records
      if (isFresh(group[0]!)) this.#owed -= records
    }
    this.#pages.forget(group)
  }

  /** Fresh pages of rows; undefined: there are others among them, or one is gone. */
  async #mergeRows(group: PageHead[], json_bytes: number, records_max: number): Promise<Merged | undefined> {
    if (!isFresh(group[0]!)) return undefined
    const loaded = await this.#store.load(group)
    if (!loaded.every((bytes) => bytes && isFresh(summarise(bytes)))) return undefined
    const began = performance.now()
    const merge = new RowsMerge()
    for (const [i, head] of group.entries())
      named(head, () => {
        for (const block of blocksOf(loaded[i]!)) merge.add(block, summarise(block).records)
      })
    const merged = merge.finish(json_bytes, records_max)
    this.ms += performance.now() - began
    return merged
  }

  /** Pages of any kind; undefined: one is gone. */
  async #merge(group: PageHead[], records_max: number): Promise<Merged | undefined> {
    const opened = await this.#pages.open(group)
    if (!opened) return undefined
    const began = performance.now()
    const pages = mergePages(opened, records_max)
    const newest: Newest = new Map()
    for (const [i, page] of opened.entries()) if (isFresh(group[i]!)) fold(newest, page.newest())
    this.ms += performance.now() - began
    return { pages, newest }
  }

  /**
   * Keeps pace between writers and merges while room for fresh pages runs out: records that are stored wait until others were
   * merged for them, the more the less room there is, but no longer than `patience_ms`.
   */
  async pace(records: number, patience_ms: number): Promise<void> {
    const { pressure } = this.#store
    if (pressure <= urgent_pressure) this.#owed = 0
    else
      this.#owed +=
        records *
        Math.min(pace_max, 1 + ((pressure - urgent_pressure) * (pace_max - 1)) / (full_pressure - urgent_pressure))
    this.#owed = Math.min(this.#owed, owed_max)
    const end = Date.now() + patience_ms
    while (this.#owed > 0 && Date.now() < end) {
      this.#pump()
      if (this.#running === 0) return
      await this.#oneEnded()
    }
  }

  #oneEnded(): Promise<void> {
    return new Promise((resolve) => this.#ended.push(resolve))
  }

  /** Merges until nothing is left to do for days that are known; `rest`: brings them to rest. */
  async settle(container: number, days: Iterable<number>, rest = true): Promise<void> {
    for (const day of days) while (!this.#stopped && (await this.mergeOnce(container, day, true, rest))) {}
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    while (this.#running > 0) await this.#oneEnded()
  }
}
