/**
 * Which records of an append are new. Most are later than all that their container has, which one comparison tells.
 * Others are looked up: in a window of the latest keys, if the container has many such records, else in its pages.
 */
import { Bounded } from './bounded.ts'
import { newPage, type Pages } from './engine-pages.ts'
import { Window } from './engine-window.ts'
import { DamagedError, lowerBound, type Page } from './page.ts'
import { encodeRows } from './rows.ts'
import { day_s, dayOf, type NewPage, type PageHead, type Store } from './store.ts'

/** Records looked up in pages until a container gets a window. */
const lookups_max = 500
const window_bytes_max = 96 * 1024 * 1024
/** Pages opened at a time for a look-up. */
const pages_at_once = 32
/** Containers whose newest timestamp is asked for at a time. */
const asked_at_once = 256

export interface Append {
  container: number
  /** Opened and checked; in the order of (timestamp, hash), none twice. */
  page: Page
  /** Its bytes. */
  bytes: Buffer
  /** Records that were sent for it, with those that were twice among them. */
  sent: number
}

interface State {
  /** No record of the container is later, s. */
  newest: number
  lookups: number
}

/** What of a group of appends is to be stored. */
export interface Sifted {
  pages: NewPage[]
  /** New records of each append. */
  stored: number[]
}

export class Sifter {
  readonly #store: Store
  readonly #pages: Pages
  readonly #onDamage: (error: DamagedError) => void
  readonly #states = new Map<number, State>()
  readonly #windows = new Bounded<number, Window>(window_bytes_max)

  constructor(store: Store, pages: Pages, onDamage: (error: DamagedError) => void) {
    this.#store = store
    this.#pages = pages
    this.#onDamage = onDamage
  }

  /** What was taken for stored was not, or was removed. */
  forget(containers: Iterable<number>): void {
    for (const container of containers) this.#windows.delete(container)
  }

  remove(container: number): void {
    this.#states.delete(container)
    this.#windows.delete(container)
  }

  /** Appends are looked at in their order; what one brings is there for the next. */
  async sift(appends: readonly Append[]): Promise<Sifted> {
    await this.#learn(appends)
    const pending = new Map<number, Page[]>()
    const sifted: Sifted = { pages: [], stored: [] }
    for (const append of appends) {
      const { container, page } = append
      const state = this.#states.get(container)!
      const window = this.#windows.get(container)
      let doubles: Uint8Array | undefined
      if (page.from <= state.newest) doubles = await this.#doubles(append, state, window, pending.get(container) ?? [])
      else if (window) for (const [row, t] of page.timestamps().entries()) window.add(t, page.hash(row))
      state.newest = Math.max(state.newest, page.to)
      const pages = cut(append, doubles)
      sifted.stored.push(pages.reduce((sum, { head }) => sum + head.records, 0))
      sifted.pages.push(...pages)
      const before = pending.get(container)
      if (before) before.push(page)
      else pending.set(container, [page])
      if (window) {
        window.trim()
        this.#windows.set(container, window, window.bytes)
      } else if (state.lookups > lookups_max) {
        const fresh = new Window(state.newest)
        this.#windows.set(container, fresh, fresh.bytes)
        state.lookups = 0
      }
    }
    return sifted
  }

  /** Newest timestamps of containers that were not asked for yet. */
  async #learn(appends: readonly Append[]): Promise<void> {
    const unknown = new Set<number>()
    for (const { container } of appends) if (!this.#states.has(container)) unknown.add(container)
    const ids = [...unknown]
    for (let at = 0; at < ids.length; at += asked_at_once) {
      const some = ids.slice(at, at + asked_at_once)
      const newest = await Promise.all(some.map((container) => this.#newest(container)))
      for (const [i, container] of some.entries()) this.#states.set(container, { newest: newest[i]!, lookups: 0 })
    }
  }

  async #newest(container: number): Promise<number> {
    const days = await this.#store.days(container, 0, dayOf(Number.MAX_SAFE_INTEGER / 1e6))
    const last = days.at(-1)
    if (last === undefined) return -1
    const heads = await this.#store.heads(container, last)
    return heads.reduce((newest, { to }) => Math.max(newest, to), -1)
  }

  /** Marks rows of an append that are stored already. */
  async #doubles(
    { container, page }: Append,
    state: State,
    window: Window | undefined,
    pending: Page[],
  ): Promise<Uint8Array | undefined> {
    const timestamps = page.timestamps()
    const doubles = new Uint8Array(timestamps.length)
    let found = false
    // Rows up to here are older than the window reaches back.
    const after = window?.after ?? Number.POSITIVE_INFINITY
    const looked = upperBound(timestamps, Math.min(after, state.newest))
    if (looked > 0) {
      state.lookups += looked
      const days = dayOf(timestamps[looked - 1]!)
      for (let day = dayOf(timestamps[0]!); day <= days; day++) {
        const first = lowerBound(timestamps, day * day_s)
        const end = Math.min(looked, lowerBound(timestamps, (day + 1) * day_s))
        if (first < end && (await this.#lookUp(container, day, page, first, end, doubles))) found = true
      }
      for (const other of pending) if (mark(page, 0, looked, other, doubles)) found = true
    }
    if (window) {
      for (let row = looked; row < timestamps.length; row++) {
        if (window.add(timestamps[row]!, page.hash(row))) continue
        doubles[row] = 1
        found = true
      }
    }
    return found ? doubles : undefined
  }

  async #lookUp(
    container: number,
    day: number,
    page: Page,
    first: number,
    end: number,
    doubles: Uint8Array,
  ): Promise<boolean> {
    const timestamps = page.timestamps()
    const [from, to] = [timestamps[first]!, timestamps[end - 1]!]
    let found = false
    const done = new Set<string>()
    for (;;) {
      const heads = (await this.#store.heads(container, day)).filter(
        (head) => head.from <= to && head.to >= from && !done.has(head.id),
      )
      if (heads.length === 0) return found
      const some = heads.slice(0, pages_at_once)
      const pages = await this.#openAll(some)
      for (const other of pages) if (other && mark(page, first, end, other, doubles)) found = true
      const gone = pages.includes(undefined)
      if (!gone && some.length === heads.length) return found
      // What is gone was merged into another page, which the next look finds.
      for (const [i, head] of some.entries()) if (pages[i] !== undefined) done.add(head.id)
      if (gone) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** A page that is damaged tells nothing: what may be in it is stored again rather than lost. */
  async #openAll(heads: PageHead[]): Promise<(Page | null | undefined)[]> {
    return Promise.all(
      heads.map(async (head) => {
        try {
          return (await this.#pages.open([head]))?.[0]
        } catch (error) {
          if (!(error instanceof DamagedError)) throw error
          this.#onDamage(error)
          return null
        }
      }),
    )
  }
}

/** The first index whose value is above `bound`. */
function upperBound(values: Float64Array, bound: number): number {
  let low = 0
  let high = values.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (values[middle]! <= bound) low = middle + 1
    else high = middle
  }
  return low
}

/** Marks rows [first, end) of `page` that `other` has, too. */
function mark(page: Page, first: number, end: number, other: Page, doubles: Uint8Array): boolean {
  const timestamps = page.timestamps()
  const others = other.timestamps()
  let found = false
  const last = Math.min(end, upperBound(timestamps, other.to))
  for (let row = Math.max(first, lowerBound(timestamps, other.from)); row < last; row++) {
    const timestamp = timestamps[row]!
    let low = lowerBound(others, timestamp)
    if (doubles[row] === 1 || others[low] !== timestamp) continue
    const hash = page.hash(row)
    let high = upperBound(others, timestamp)
    while (low < high) {
      const middle = (low + high) >>> 1
      const order = other.hash(middle).compare(hash)
      if (order === 0) {
        doubles[row] = 1
        found = true
        break
      }
      if (order < 0) low = middle + 1
      else high = middle
    }
  }
  return found
}

/** An append as fresh pages of one day each, without rows that are marked. */
function cut({ container, page, bytes }: Append, doubles: Uint8Array | undefined): NewPage[] {
  const [first, last] = [dayOf(page.from), dayOf(page.to)]
  if (!doubles && first === last) return [newPage(container, bytes, 'rows', page)]
  const pages: NewPage[] = []
  const timestamps = page.timestamps()
  for (let row = 0; row < page.records; ) {
    const day = dayOf(timestamps[row]!)
    const end = lowerBound(timestamps, (day + 1) * day_s)
    let messages = page.read({ from: day * day_s, to: (day + 1) * day_s })
    const begin = row
    if (doubles) messages = messages.filter((_, i) => doubles[begin + i] !== 1)
    if (messages.length > 0) pages.push(newPage(container, encodeRows(messages), 'rows'))
    row = end
  }
  return pages
}
