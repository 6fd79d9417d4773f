/**
 * MDB's store on LMDB: one process, one file. Fresh pages of a commit go into one journal segment, so that a commit for
 * ten thousand containers is one write; they are held in memory until a merge puts a page of the tree in their place.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { type Database, open, type RootDatabase } from 'lmdb'
import type { Logger } from 'pino'
import { ApiError } from '#services/common/errors.ts'
import { Commits } from './lmdb-commits.ts'
import { Directory, expect } from './lmdb-directory.ts'
import { makeFile, openTable } from './lmdb-file.ts'
import { day_max, dayNumber, Journal, ofNumber } from './lmdb-journal.ts'
import * as layout from './lmdb-layout.ts'
import { NewestValues } from './lmdb-newest.ts'
import { own } from './lmdb-owner.ts'
import { DamagedError } from './page.ts'
import { type Container, isFresh, type Newest, type NewPage, type PageHead, type Store } from './store.ts'

/** Rows of days looked through at a time for fresh pages. */
const sought_at_once = 20_000
/** Keys that one commit of a removal touches. */
const bury_keys = 2_000

/** A container and what its row says besides. */
interface Entry {
  container: Container
  /** What its pages outside of the journal hold. */
  settled: { records: number; bytes: number }
  /** Its rows of days. */
  days: layout.Tally
}

interface Meta {
  version: number
  next_id: number
  next_seq: number
  containers: layout.Tally
  journal: layout.Tally
}

export interface LmdbOptions {
  log: Logger
  /** Bytes of address space; the file grows as data comes. */
  map_size?: number | undefined
  /** Looks without taking possession: for tools. */
  readOnly?: boolean
  /** False: nothing is synced. For trials that are not about that. */
  sync?: boolean
}

const nameKey = (account_id: number, name: string) => `${account_id}/${name}`
const nothing: layout.Tally = { count: 0, mark: 0 }
const meta_key = Buffer.from('meta')

export class LmdbStore implements Store {
  readonly shared = false
  readonly folder: string
  readonly root: RootDatabase<unknown, string>
  readonly commits: Commits
  readonly #log: Logger
  readonly #readOnly: boolean
  readonly #disown: () => void
  readonly #meta: Database<Buffer, Buffer>
  readonly #containers: Database<Buffer, Buffer>
  readonly #days: Database<Buffer, Buffer>
  readonly #heads: Database<Buffer, Buffer>
  readonly #pages: Database<Buffer, Buffer>
  readonly #newest: NewestValues
  readonly #journal: Journal
  readonly #directory: Directory
  readonly #entries = new Map<number, Entry>()
  /** Ids by account and name. */
  readonly #names = new Map<string, number>()
  /** Days that have fresh pages outside of the journal: those that this process made, and that it found so far. */
  readonly #strays = new Set<number>()
  /** From which row of days on those of earlier processes are looked for; undefined: all were seen. */
  #sought: Buffer | undefined = layout.dayKey(0, 0)
  #next_id = 1
  #next_seq = 1
  #tally = nothing

  constructor(folder: string, { log, map_size = 1024 ** 4, readOnly = false, sync = true }: LmdbOptions) {
    if (!readOnly) makeFile(folder, map_size)
    this.folder = folder
    this.#log = log
    this.#readOnly = readOnly
    this.#disown = readOnly ? () => {} : own(folder)
    try {
      // `overlappingSync` is off, so a commit's promise means: synced. `eventTurnBatching` is off, since the promise of such
      // a batch is in nobody's hands: when a commit fails it would end the process.
      const options = {
        mapSize: map_size,
        maxDbs: 12,
        overlappingSync: false,
        eventTurnBatching: false,
        noMemInit: true,
        readOnly,
        noSync: !sync,
      }
      this.root = open({ path: folder, ...options })
      const table = (name: string) => openTable(this.root, name)
      this.#meta = table('store')
      this.#containers = table('containers')
      this.#days = table('days')
      this.#heads = table('heads')
      this.#pages = table('pages')
      this.#newest = new NewestValues(table('newest'))
      this.#journal = new Journal(table('journal'))
      this.#directory = new Directory(this.#days, this.#heads)
      const unpin = () => this.#directory.unpin()
      this.commits = new Commits(this.root, folder, log, () => this.#load(), unpin)
      this.#load()
    } catch (error) {
      this.#disown()
      throw error
    }
  }

  /** Reads what is held in memory: at the start, and after a commit that failed. */
  #load(): void {
    const before = new Map(this.#entries)
    this.#entries.clear()
    this.#names.clear()
    this.#directory.clear()
    this.#newest.clear()
    const meta = this.#readMeta()
    this.#next_id = meta.next_id
    this.#next_seq = meta.next_seq
    this.#tally = meta.containers
    this.#journal.tally = meta.journal
    let found = nothing
    const doomed: number[] = []
    for (const { key, value } of this.#containers.getRange()) {
      const id = key.readUInt32BE(0)
      const row = layout.openJson<Entry & { doomed?: true }>(`the row of container ${id}`, key, value)
      if (row.doomed) {
        doomed.push(id)
        continue
      }
      found = layout.tallyWith(found, layout.containerMark(id), 1)
      const known = before.get(id)
      // Who holds a container goes on to see what becomes of it.
      if (known) row.container = Object.assign(known.container, row.container)
      this.#entries.set(id, row)
      this.#names.set(nameKey(row.container.account_id, row.container.name), id)
    }
    expect('containers', this.#tally, found)
    const segments = this.#journal.load(({ head: { container, day } }, seq) => {
      return this.#entries.has(container) && seq > (this.#rows(container).get(day)?.merged_seq ?? 0)
    })
    expect('journal segments', this.#journal.tally, segments)
    for (const { head } of this.#journal.all()) this.#count(head, 1)
    if (this.#readOnly) return
    for (const seq of this.#journal.hollow) this.#sweep(seq)
    for (const id of doomed) void this.#bury(id)
  }

  #readMeta(): Meta {
    const value = this.#meta.get(meta_key)
    if (value === undefined) {
      const version = layout.layout_version
      return { version, next_id: 1, next_seq: 1, containers: nothing, journal: nothing }
    }
    const meta = layout.openJson<Meta>('the first row of the store', meta_key, value)
    if (!layout.readable_versions.includes(meta.version)) {
      const { version } = meta
      throw new Error(
        `the store ${this.folder} has layout ${version}; this release reads ${layout.readable_versions.join(' and ')}`,
      )
    }
    return meta
  }

  #putMeta(): void {
    const meta: Meta = {
      version: layout.layout_version,
      next_id: this.#next_id,
      next_seq: this.#next_seq,
      containers: this.#tally,
      journal: this.#journal.tally,
    }
    this.#meta.put(meta_key, layout.sealJson(meta_key, meta))
  }

  #count(head: PageHead, change: 1 | -1): void {
    const entry = this.#entries.get(head.container)
    if (!entry) return
    entry.container.records += change * head.records
    entry.container.bytes += change * head.json_bytes
  }

  /** Share of the room for fresh pages that is taken: from 1 writers must wait. */
  get pressure(): number {
    return this.#journal.pressure
  }

  async ready(): Promise<void> {
    this.commits.check()
  }

  // ── Containers ─────────────────────────────────────────────────────────────────────────────────────────────────────

  async containers(): Promise<Container[]> {
    return [...this.#entries.values()].map(({ container }) => container)
  }

  #entry(id: number): Entry {
    const entry = this.#entries.get(id)
    if (!entry) throw new ApiError('not_found', `there is no container ${id}`, { id })
    return entry
  }

  #putEntry({ container, settled, days }: Entry): void {
    const key = layout.containerKey(container.id)
    this.#containers.put(key, layout.sealJson(key, { container: { ...container, ...settled }, settled, days }))
  }

  #refuseTaken(account_id: number, name: string, but?: number): void {
    const id = this.#names.get(nameKey(account_id, name))
    if (id !== undefined && id !== but) throw new ApiError('conflict', `a container named "${name}" exists`, { id })
  }

  /** `id` and `created`: those of a container of another store. */
  async create(wanted: Pick<Container, 'account_id' | 'name' | 'ttl'> & Partial<Container>): Promise<Container> {
    const { id = this.#next_id, account_id, name, ttl, created = Date.now() / 1000 } = wanted
    this.#refuseTaken(account_id, name)
    if (this.#entries.has(id)) throw new ApiError('conflict', `there is a container ${id}`, { id })
    this.#next_id = Math.max(this.#next_id, id + 1)
    const container: Container = { id, account_id, name, ttl, records: 0, bytes: 0, created }
    const entry: Entry = { container, settled: { records: 0, bytes: 0 }, days: nothing }
    // Known before it is written, so that a second request for the same name conflicts.
    this.#entries.set(id, entry)
    this.#names.set(nameKey(account_id, name), id)
    await this.commits.commit({
      prepare: () => {
        this.#tally = layout.tallyWith(this.#tally, layout.containerMark(id), 1)
        this.#putMeta()
        this.#putEntry(entry)
      },
    })
    return container
  }

  async edit(id: number, fields: Partial<Pick<Container, 'name' | 'ttl'>>): Promise<Container> {
    const { container } = this.#entry(id)
    if (fields.name !== undefined) this.#refuseTaken(container.account_id, fields.name, id)
    await this.commits.commit({
      prepare: () => {
        const entry = this.#entries.get(id)
        if (!entry) return
        this.#names.delete(nameKey(container.account_id, container.name))
        Object.assign(entry.container, fields)
        this.#names.set(nameKey(container.account_id, container.name), id)
        this.#putEntry(entry)
      },
    })
    return container
  }

  async remove(id: number): Promise<void> {
    const { container } = this.#entry(id)
    let done = false
    await this.commits.commit({
      prepare: () => {
        if (!this.#entries.delete(id)) return
        done = true
        this.#names.delete(nameKey(container.account_id, container.name))
        const key = layout.containerKey(id)
        this.#containers.put(key, layout.sealJson(key, { doomed: true }))
        this.#tally = layout.tallyWith(this.#tally, layout.containerMark(id), -1)
        for (const day of this.#journal.daysOf(id)) {
          const pages = this.#journal.pagesOf(id, day)
          this.#journal.release([...pages.values()].map(({ seq }) => seq))
          this.#journal.remove(id, day, [...pages.keys()])
        }
        this.#putMeta()
      },
      apply: () => {
        this.#directory.forget(id)
        this.#newest.forget(id)
        for (const number of this.#strays) if (ofNumber(number).container === id) this.#strays.delete(number)
      },
    })
    if (done) void this.#bury(id)
  }

  /** Takes a removed container's pages away, slice by slice. What is left at a stop goes at the next start. */
  async #bury(id: number): Promise<void> {
    const range = { ...layout.containerRange(id), limit: bury_keys }
    try {
      for (const table of [this.#pages, this.#heads, this.#days]) {
        for (;;) {
          const keys = [...table.getKeys(range)]
          if (keys.length === 0) break
          const prepare = () => {
            for (const key of keys) table.remove(key)
          }
          await this.commits.commit({ prepare })
        }
      }
      const key = layout.containerKey(id)
      const prepare = () => {
        this.#newest.remove(id)
        this.#containers.remove(key)
      }
      await this.commits.commit({ prepare })
    } catch (error) {
      this.#log.info({ reason: (error as Error).message, container: id }, 'removed pages are left for the next start')
    }
  }

  // ── Pages ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  async insert(pages: NewPage[]): Promise<void> {
    for (const { head } of pages) this.#entry(head.container)
    if (pages.length === 0) return
    let seq = 0
    let bytes = 0
    let missing: number | undefined
    await this.commits.commit({
      prepare: () => {
        missing = pages.find(({ head }) => !this.#entries.has(head.container))?.head.container
        if (missing !== undefined) return
        seq = this.#next_seq++
        bytes = this.#journal.write(seq, pages)
        this.#putMeta()
      },
      apply: () => {
        if (missing !== undefined) return
        const there = pages.filter(({ head }) => this.#entries.has(head.container))
        this.#journal.add(seq, there, bytes)
        for (const { head } of there) this.#count(head, 1)
        if (there.length === 0) this.#sweep(seq)
      },
    })
    if (missing !== undefined) throw new ApiError('not_found', `there is no container ${missing}`, { id: missing })
  }

  /** Removes a segment that holds nothing. */
  #sweep(seq: number): void {
    const prepare = () => {
      this.#journal.sweep(seq)
      this.#putMeta()
    }
    this.commits.commit({ prepare }).catch(() => {})
  }

  #rows(container: number): Map<number, layout.DayRow> {
    return this.#directory.rows(container, this.#entry(container).days)
  }

  /** Heads outside of the journal. */
  #settled(container: number, day: number): PageHead[] {
    return this.#directory.heads(container, day, this.#rows(container).get(day))
  }

  async days(container: number, from_day: number, to_day: number): Promise<number[]> {
    const days = new Set(this.#journal.daysOf(container))
    for (const [day, { count }] of this.#rows(container)) if (count > 0) days.add(day)
    return [...days].filter((day) => day >= from_day && day <= to_day).sort((a, b) => a - b)
  }

  async heads(container: number, day: number): Promise<PageHead[]> {
    if (!(day >= 0 && day <= day_max)) return []
    const heads = [...this.#settled(container, day)]
    for (const { head } of this.#journal.pagesOf(container, day).values()) heads.push(head)
    return heads.sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  async load(heads: PageHead[]): Promise<(Buffer | undefined)[]> {
    const found: (Buffer | undefined)[] = []
    for (const head of heads) {
      const { container, day, id, size } = head
      const bytes = this.#journal.pagesOf(container, day).get(id)?.bytes ?? this.#pages.getBinary(layout.pageKey(head))
      found.push(bytes)
      if (bytes?.length === size || !this.#entries.has(container)) continue
      // It may have gone with the commit that is just being applied.
      if (this.#directory.isPinned(container, day)) await this.commits.settled()
      if (!this.#entries.has(container) || !this.#settled(container, day).some((known) => known.id === id)) continue
      const name = `page ${id} of ${layout.nameDay(container, day)}`
      throw new DamagedError(`${name} has ${bytes?.length ?? 'no'} bytes, not ${size}`)
    }
    return found
  }

  /** `also` writes in the same transaction. */
  async replace(
    container: number,
    day: number,
    gone: PageHead[],
    pages: NewPage[],
    newest?: Newest,
    also?: () => void,
  ): Promise<boolean> {
    let show: (() => void) | undefined
    await this.commits.commit({
      key: dayNumber(container, day),
      prepare: () => {
        const entry = this.#entries.get(container)
        show = entry && this.#exchange(entry, day, gone, pages)
        if (!show) return
        if (newest && newest.size > 0) this.#newest.fold(container, newest)
        also?.()
      },
      apply: () => show?.(),
    })
    return show !== undefined
  }

  async drop(container: number, days: number[]): Promise<void> {
    for (const day of days) {
      let show: (() => void) | undefined
      await this.commits.commit({
        key: dayNumber(container, day),
        prepare: () => {
          const entry = this.#entries.get(container)
          if (!entry) return
          const heads = [...this.#settled(container, day)]
          for (const { head } of this.#journal.pagesOf(container, day).values()) heads.push(head)
          if (heads.length > 0) show = this.#exchange(entry, day, heads, [])
        },
        apply: () => show?.(),
      })
    }
  }

  /** Writes an exchange of pages; returns what shows it, or undefined when one of `gone` is not there. */
  #exchange(entry: Entry, day: number, gone: PageHead[], pages: NewPage[]): (() => void) | undefined {
    const { id } = entry.container
    const rows = this.#rows(id)
    const settled = this.#settled(id, day)
    const fresh = this.#journal.pagesOf(id, day)
    const leaving = new Set(gone.map((head) => head.id))
    const departed = settled.filter((head) => leaving.has(head.id))
    const taken = [...fresh.values()].filter(({ head }) => leaving.has(head.id))
    if (departed.length + taken.length < leaving.size) return undefined
    this.#directory.pin(id, day, rows, settled)

    // The row tells up to where the journal is done with: what stays of that part moves into the tree.
    const seq = taken.reduce((most, page) => Math.max(most, page.seq), 0)
    const strays = [...fresh.values()].filter((page) => page.seq <= seq && !leaving.has(page.head.id))
    const arrivals = [...pages, ...strays]
    const before = rows.get(day)
    const row: layout.DayRow = { merged_seq: 0, rows: 0, ...nothing, ...before }
    row.merged_seq = Math.max(row.merged_seq, seq)
    const settle = (head: PageHead, change: 1 | -1) => {
      Object.assign(row, layout.tallyWith(row, layout.headMark(head), change))
      if (isFresh(head)) row.rows += change
      entry.settled.records += change * head.records
      entry.settled.bytes += change * head.json_bytes
    }
    for (const head of departed) {
      settle(head, -1)
      const key = layout.pageKey(head)
      this.#heads.remove(key)
      this.#pages.remove(key)
    }
    for (const { head, bytes } of arrivals) {
      settle(head, 1)
      const key = layout.pageKey(head)
      this.#heads.put(key, layout.sealHead(key, head))
      this.#pages.put(key, bytes)
    }
    // An empty row is kept while the journal may hold pages that only the row tells to be gone.
    const kept = row.count > 0 || row.merged_seq >= this.#journal.oldest
    const key = layout.dayKey(id, day)
    if (kept) this.#days.put(key, layout.sealDay(key, row))
    else if (before) this.#days.remove(key)
    if (kept !== (before !== undefined)) entry.days = layout.tallyWith(entry.days, layout.dayMark(day), kept ? 1 : -1)
    this.#putEntry(entry)
    const released = [...taken, ...strays]
    if (released.length > 0) {
      this.#journal.release(released.map((page) => page.seq))
      this.#putMeta()
    }
    return () => {
      if (!this.#entries.has(id)) return
      const heads = [...settled.filter((head) => !leaving.has(head.id)), ...arrivals.map(({ head }) => head)]
      heads.sort((a, b) => (a.id < b.id ? -1 : 1))
      this.#directory.show(id, day, kept ? row : undefined, heads)
      if (row.rows > 0) this.#strays.add(dayNumber(id, day))
      else this.#strays.delete(dayNumber(id, day))
      const ids = released.map(({ head }) => head.id)
      this.#journal.remove(id, day, ids)
      for (const head of gone) this.#count(head, -1)
      for (const { head } of pages) this.#count(head, 1)
    }
  }

  // ── Newest values ──────────────────────────────────────────────────────────────────────────────────────────────────

  async newest(container: number): Promise<Newest> {
    this.#entry(container)
    return new Map(this.#newest.read(container))
  }

  async unmerged(count: number, container?: number): Promise<{ container: number; day: number }[]> {
    if (container === undefined) {
      this.#seekStrays()
      const strays = [...this.#strays.values().take(count / 2)]
      // The next call begins with others.
      for (const number of strays) if (this.#strays.delete(number)) this.#strays.add(number)
      return [...strays.map(ofNumber), ...this.#journal.unmerged().take(count - strays.length)]
    }
    const days = new Set(this.#journal.daysOf(container))
    for (const [day, { rows }] of this.#rows(container)) if (rows > 0) days.add(day)
    return [...days].slice(0, count).map((day) => ({ container, day }))
  }

  /** Looks through some rows of days for fresh pages that a process before this one left in the tree. */
  #seekStrays(): void {
    if (this.#sought === undefined) return
    let last: Buffer | undefined
    for (const { key, value } of this.#days.getRange({ start: this.#sought, limit: sought_at_once })) {
      last = key
      const [container, day] = [key.readUInt32BE(0), key.readUInt32BE(4)]
      try {
        if (layout.openDay(key, value).rows > 0 && this.#entries.has(container))
          this.#strays.add(dayNumber(container, day))
      } catch (error) {
        // Whoever reads the day is told.
        if (!(error instanceof DamagedError)) throw error
      }
    }
    this.#sought = last && Buffer.concat([last, Buffer.alloc(1)])
  }

  /** Whether it has records of the first layout: see `migrate`. */
  get firstLayout(): boolean {
    const tables = [...this.root.getKeys()].map(String)
    return tables.includes('records') && tables.includes('meta')
  }

  /** Pages and heads belong together, one to one. Throws `DamagedError`. */
  checkTables(): void {
    const counts = [this.#heads, this.#pages].map((table) => {
      let tally = nothing
      for (const key of table.getKeys())
        if (this.#entries.has(key.readUInt32BE(0))) tally = layout.tallyWith(tally, crc32(key), 1)
      return tally
    })
    expect('pages in the tree, and their heads', counts[0]!, counts[1]!)
  }

  async diskBytes(): Promise<number> {
    return statSync(join(this.folder, 'data.mdb')).size
  }

  async close(): Promise<void> {
    await this.commits.close()
    await this.root.close()
    this.#disown()
  }
}
