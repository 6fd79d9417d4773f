/** Fresh pages: a segment of the journal for each commit, and in memory what of them is not merged yet. */
import type { Database } from 'lmdb'
import { openSegment, sealSegment, seqKey, seqMark, type Tally, tallyWith } from './lmdb-layout.ts'
import type { NewPage } from './store.ts'

/** Room for fresh pages, in the file and in memory; engine and writers heed `pressure`. */
const bytes_max = 192 * 1024 * 1024
const pages_max = 500_000

export type FreshPage = NewPage & { seq: number }

interface FreshDay {
  container: number
  day: number
  pages: Map<string, FreshPage>
}

const day_bits = 17
export const day_max = 2 ** day_bits - 1
/** One number for (container, day). */
export const dayNumber = (container: number, day: number): number => container * 2 ** day_bits + day

export const ofNumber = (number: number): { container: number; day: number } => ({
  container: Math.floor(number / 2 ** day_bits),
  day: number % 2 ** day_bits,
})

export class Journal {
  readonly #table: Database<Buffer, Buffer>
  /** By number, in the order in which days got their first fresh page. */
  readonly #days = new Map<number, FreshDay>()
  readonly #by_container = new Map<number, Set<number>>()
  /** Pages of each segment that are still fresh, and its bytes. */
  readonly #segments = new Map<number, { live: number; bytes: number }>()
  #bytes = 0
  #pages = 0
  tally: Tally = { count: 0, mark: 0 }

  constructor(table: Database<Buffer, Buffer>) {
    this.#table = table
  }

  /** Reads all segments; `isFresh` tells which of their pages still count. Returns what it found to be there. */
  load(isFresh: (page: NewPage, seq: number) => boolean): Tally {
    this.#days.clear()
    this.#by_container.clear()
    this.#segments.clear()
    this.#bytes = 0
    this.#pages = 0
    let found: Tally = { count: 0, mark: 0 }
    for (const { key, value } of this.#table.getRange()) {
      const seq = Number(key.readBigUInt64BE(0))
      found = tallyWith(found, seqMark(seq), 1)
      this.add(
        seq,
        openSegment(seq, value).filter((page) => isFresh(page, seq)),
        value.length,
      )
    }
    return found
  }

  /** Share of the room that is taken: from 1 writers must wait. */
  get pressure(): number {
    return Math.max(this.#bytes / bytes_max, this.#pages / pages_max)
  }

  /** Segments of which nothing is fresh any more. */
  get hollow(): number[] {
    return [...this.#segments].filter(([, { live }]) => live === 0).map(([seq]) => seq)
  }

  /** The oldest segment there is. */
  get oldest(): number {
    return this.#segments.keys().next().value ?? Number.MAX_SAFE_INTEGER
  }

  *all(): Generator<FreshPage> {
    for (const { pages } of this.#days.values()) yield* pages.values()
  }

  pagesOf(container: number, day: number): ReadonlyMap<string, FreshPage> {
    return this.#days.get(dayNumber(container, day))?.pages ?? new Map()
  }

  daysOf(container: number): number[] {
    return [...(this.#by_container.get(container) ?? [])]
  }

  /** Days with fresh pages, those that have them longest first. */
  *unmerged(): Generator<{ container: number; day: number }> {
    for (const { container, day } of this.#days.values()) yield { container, day }
  }

  /** Within a transaction: writes a segment; returns its bytes. */
  write(seq: number, pages: readonly NewPage[]): number {
    const segment = sealSegment(seq, pages)
    this.#table.put(seqKey(seq), segment)
    this.tally = tallyWith(this.tally, seqMark(seq), 1)
    return segment.length
  }

  /** Shows pages of a segment. */
  add(seq: number, pages: readonly NewPage[], bytes: number): void {
    this.#segments.set(seq, { live: pages.length, bytes })
    this.#bytes += bytes
    this.#pages += pages.length
    for (const page of pages) {
      const { container, day, id } = page.head
      const number = dayNumber(container, day)
      let fresh = this.#days.get(number)
      if (!fresh) {
        fresh = { container, day, pages: new Map() }
        this.#days.set(number, fresh)
        const days = this.#by_container.get(container)
        if (days) days.add(day)
        else this.#by_container.set(container, new Set([day]))
      }
      fresh.pages.set(id, { head: page.head, bytes: page.bytes, seq })
    }
  }

  /** Within a transaction: so many pages of segments are not fresh any more; removes segments that are empty by it. */
  release(seqs: Iterable<number>): void {
    for (const seq of seqs) {
      const segment = this.#segments.get(seq)
      if (segment && --segment.live <= 0) this.sweep(seq)
    }
  }

  sweep(seq: number): void {
    const segment = this.#segments.get(seq)
    if (!segment) return
    this.#segments.delete(seq)
    this.#bytes -= segment.bytes
    this.#table.remove(seqKey(seq))
    this.tally = tallyWith(this.tally, seqMark(seq), -1)
  }

  /** Hides pages that were released. */
  remove(container: number, day: number, ids: Iterable<string>): void {
    const number = dayNumber(container, day)
    const fresh = this.#days.get(number)
    if (!fresh) return
    for (const id of ids) if (fresh.pages.delete(id)) this.#pages--
    if (fresh.pages.size > 0) return
    this.#days.delete(number)
    const days = this.#by_container.get(container)
    days?.delete(day)
    if (days?.size === 0) this.#by_container.delete(container)
  }
}
