/** Which pages there are outside of the journal: rows of days and heads, remembered, and held against their counts. */
import type { Database } from 'lmdb'
import { Bounded } from './bounded.ts'
import { dayNumber } from './lmdb-journal.ts'
import * as layout from './lmdb-layout.ts'
import { DamagedError } from './page.ts'
import type { PageHead } from './store.ts'

/** Rows of days, and heads, that are remembered. */
const day_rows_kept = 500_000
const heads_kept = 300_000

type Bytes = Database<Buffer, Buffer>

/** Holds what was counted against what was found. */
export function expect(what: string, wanted: layout.Tally, found: layout.Tally): void {
  if (wanted.count !== found.count) throw new DamagedError(`${what}: ${found.count} of ${wanted.count} are there`)
  if (wanted.mark !== found.mark) throw new DamagedError(`${what}: they are not those that were written`)
}

export class Directory {
  readonly #days: Bytes
  readonly #heads: Bytes
  readonly #rows = new Bounded<number, Map<number, layout.DayRow>>(day_rows_kept)
  readonly #known = new Bounded<number, PageHead[]>(heads_kept)
  /** Rows and heads as they are while a commit that changes them is on its way: the file may be one or the other. */
  readonly #pinned_rows = new Map<number, Map<number, layout.DayRow>>()
  readonly #pinned_heads = new Map<number, PageHead[]>()

  constructor(days: Bytes, heads: Bytes) {
    this.#days = days
    this.#heads = heads
  }

  clear(): void {
    this.#rows.clear()
    this.#known.clear()
    this.#pinned_rows.clear()
    this.#pinned_heads.clear()
  }

  /** Rows of all days of a container; `wanted`: its own count of them. */
  rows(container: number, wanted: layout.Tally): Map<number, layout.DayRow> {
    const known = this.#pinned_rows.get(container) ?? this.#rows.get(container)
    if (known) return known
    const rows = new Map<number, layout.DayRow>()
    let tally: layout.Tally = { count: 0, mark: 0 }
    for (const { key, value } of this.#days.getRange(layout.containerRange(container))) {
      const day = key.readUInt32BE(4)
      rows.set(day, layout.openDay(key, value))
      tally = layout.tallyWith(tally, layout.dayMark(day), 1)
    }
    expect(`days of container ${container}`, wanted, tally)
    this.#rows.set(container, rows, rows.size + 1)
    return rows
  }

  /** Heads of a day in the order of their ids; `row`: the row of the day. */
  heads(container: number, day: number, row: layout.DayRow | undefined): PageHead[] {
    const number = dayNumber(container, day)
    const known = this.#pinned_heads.get(number) ?? this.#known.get(number)
    if (known) return known
    const heads: PageHead[] = []
    let tally: layout.Tally = { count: 0, mark: 0 }
    const range = { start: layout.dayKey(container, day), end: layout.dayKey(container, day + 1) }
    for (const { key, value } of this.#heads.getRange(range)) {
      const head = layout.openHead(key, value)
      heads.push(head)
      tally = layout.tallyWith(tally, layout.headMark(head), 1)
    }
    expect(`pages of ${layout.nameDay(container, day)}`, row ?? { count: 0, mark: 0 }, tally)
    this.#known.set(number, heads, heads.length + 1)
    return heads
  }

  /** Holds what is known of a day until `show` or `clear`. */
  pin(container: number, day: number, rows: Map<number, layout.DayRow>, heads: PageHead[]): void {
    this.#pinned_rows.set(container, rows)
    this.#pinned_heads.set(dayNumber(container, day), heads)
  }

  /** Whether a commit that changes this day is on its way. */
  isPinned(container: number, day: number): boolean {
    return this.#pinned_heads.has(dayNumber(container, day))
  }

  /** A day as a commit left it; `row` undefined: it has none any more. */
  show(container: number, day: number, row: layout.DayRow | undefined, heads: PageHead[]): void {
    const number = dayNumber(container, day)
    const rows = this.#pinned_rows.get(container) ?? this.#rows.get(container)
    this.#pinned_heads.delete(number)
    this.#known.set(number, heads, heads.length + 1)
    if (!rows) return
    if (row) rows.set(day, row)
    else rows.delete(day)
    this.#rows.set(container, rows, rows.size + 1)
  }

  /** The commit under way has ended. */
  unpin(): void {
    this.#pinned_rows.clear()
    this.#pinned_heads.clear()
  }

  forget(container: number): void {
    const rows = this.#pinned_rows.get(container) ?? this.#rows.get(container)
    for (const day of rows?.keys() ?? []) this.#known.delete(dayNumber(container, day))
    this.#rows.delete(container)
  }
}
