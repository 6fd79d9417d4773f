/**
 * Puts days into the archive. A day appears as a whole (put together aside, checked, synced, renamed); records that come later
 * are put into further files of the day, which count from the moment that the manifest names them.
 */
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { ApiError } from '#services/common/errors.ts'
import type { PostgresConfig } from '#services/common/process.ts'
import { recordHash } from '#services/common/record-hash.ts'
import type { MessageRecord } from './columns.ts'
import { beginOf, day_s, dayBefore, dayOf } from './days.ts'
import { dumpPostgres } from './dump.ts'
import { type Library, microseconds } from './library.ts'
import { type ContainerDay, format, type Manifest, type Part, syncFolder, writeManifest } from './manifest.ts'
import { PartsWriter } from './part-writer.ts'
import type { Container, Source } from './source.ts'
import { checkParts } from './verify.ts'

export interface ExportOptions {
  /** Days that are kept; 0: all. */
  keep_days: number
  /** So many days back is looked for records that came late. */
  late_days: number
  /** Database that is dumped with the newest day. */
  postgres?: PostgresConfig | undefined
}

/** Tells how far it is, now and then. */
export type Tell = (text: string) => void

export interface Exported {
  day: string
  /** Records that the run added. */
  records: number
  kind: 'day' | 'addition'
}

/** Whether two descriptions are of one container: it may have been renamed, or restored, but not given to another account. */
const isSame = (a: ContainerDay, b: ContainerDay) =>
  a.account_id === b.account_id && (a.created === b.created || a.name === b.name)

export class Exporter {
  readonly #library: Library
  readonly #source: Source
  readonly #options: ExportOptions
  readonly #log: Logger

  constructor(library: Library, source: Source, options: ExportOptions, log: Logger) {
    this.#library = library
    this.#source = source
    this.#options = options
    this.#log = log
  }

  /** Exports all that is missing up to yesterday (UTC), or days of a range; removes what is too old. */
  async run(tell: Tell, range?: { first: string; last: string }, now = Date.now() / 1000): Promise<Exported[]> {
    const left = await this.#library.sweep()
    if (left.length > 0) this.#log.info({ left }, 'what an earlier run left was removed')
    const yesterday = dayBefore(dayOf(now))
    const oldest = this.#oldest(now)
    const window = dayOf(beginOf(yesterday) - (this.#options.late_days - 1) * day_s)
    const { first, last } = range ?? {
      first: oldest !== undefined && oldest > window ? oldest : window,
      last: yesterday,
    }
    if (oldest !== undefined && first < oldest)
      throw new ApiError('conflict', `day ${first} is older than the ${this.#options.keep_days} days that are kept`)
    const held = await this.#count(first, last, tell)
    const done: Exported[] = []
    for (const day of [...held.keys()].sort()) {
      const containers = held.get(day)!
      const damaged = this.#library.damaged().get(day)
      if (damaged) {
        this.#log.error({ day, reason: damaged.message }, 'left as it is: move it away and export the day anew')
        continue
      }
      const manifest = await this.#library.find(day)
      const added = manifest
        ? await this.#add(manifest, containers, tell)
        : // Yesterday is there even when nothing came: it tells until when the archive is complete.
          containers.length > 0 || day === yesterday
          ? await this.#make(day, containers, day === yesterday, tell)
          : undefined
      if (added) {
        done.push(added)
      }
    }
    await this.#prune(oldest)
    await this.#library.tidy()
    return done
  }

  #oldest(now: number): string | undefined {
    const { keep_days } = this.#options
    return keep_days === 0 ? undefined : dayOf(now - keep_days * day_s)
  }

  /** Containers with records, and how many, for each day of a range. */
  async #count(first: string, last: string, tell: Tell): Promise<Map<string, ContainerDay[]>> {
    const days = new Map<string, ContainerDay[]>()
    for (let at = beginOf(first); at <= beginOf(last); at += day_s) days.set(dayOf(at), [])
    const containers = (await this.#source.containers()).sort((a, b) => a.id - b.id)
    for (const [index, container] of containers.entries()) {
      tell(`${index} of ${containers.length} containers compared`)
      for (const [day, seen] of await this.#countsOf(container, first, last)) {
        const { id, account_id, name, ttl, created } = container
        days.get(day)?.push({ id, account_id, name, ttl, created, records: 0, seen })
      }
    }
    return days
  }

  async #countsOf({ id, records }: Container, first: string, last: string): Promise<Map<string, number>> {
    if (records === 0) return new Map()
    try {
      return await this.#source.counts(id, first, last)
    } catch (error) {
      // It was removed since it was listed.
      if (error instanceof ApiError && error.kind === 'not_found') return new Map()
      throw error
    }
  }

  async #make(day: string, containers: ContainerDay[], newest: boolean, tell: Tell): Promise<Exported> {
    const room = await this.#library.makeRoom(day)
    const before = this.#library.days().findLast((other) => other < day)
    const writer = new PartsWriter(room, 'part', before ? (await this.#library.manifest(before)).columns : [])
    const written: ContainerDay[] = []
    try {
      for (const [index, container] of containers.entries()) {
        const start = writer.records
        for await (const batch of this.#read(container, day)) {
          for (const { record, bytes } of batch) writer.add(container.id, record, bytes)
          tell(`${day}: ${writer.records} records, container ${index + 1} of ${containers.length}`)
        }
        const records = writer.records - start
        if (records > 0) written.push({ ...container, records })
      }
    } catch (error) {
      writer.abandon()
      throw error
    }
    const parts = await writer.finish(0)
    tell(`${day}: ${writer.records} records, read again and compared`)
    await checkParts(room, parts)
    const manifest: Manifest = {
      format,
      day,
      created: Date.now() / 1000,
      records: writer.records,
      columns: [...writer.used],
      containers: written,
      parts,
      additions: [],
      postgres: newest
        ? await dumpPostgres(this.#options.postgres, room)
        : { missing: `the day was exported later, on ${dayOf(Date.now() / 1000)}; see the days after it` },
    }
    await writeManifest(room, manifest)
    await rename(room, this.#library.path(day))
    await syncFolder(this.#library.folder)
    await this.#library.learn(day)
    return { day, records: writer.records, kind: 'day' }
  }

  #read({ id }: ContainerDay, day: string) {
    return this.#source.records(id, beginOf(day), beginOf(day) + day_s)
  }

  /** Looks at the containers of which MDB holds another number than last time; what is new becomes an addition. */
  async #add(manifest: Manifest, containers: ContainerDay[], tell: Tell): Promise<Exported | undefined> {
    const { day } = manifest
    const known = new Map(manifest.containers.map((container) => [container.id, container]))
    const changed = containers.filter((container) => {
      const archived = known.get(container.id)
      if (!archived) return true
      if (isSame(archived, container)) return archived.seen !== container.seen
      const { id, name } = container
      this.#log.warn({ day, container: id, name }, 'it has the id of another one in the archive: left out')
      return false
    })
    if (changed.length === 0) return undefined
    const number = manifest.additions.length + 1
    const room = await this.#library.makeRoom(day)
    const writer = new PartsWriter(room, `late-${String(number).padStart(4, '0')}`, manifest.columns)
    const entries = new Map(known)
    let late = 0
    try {
      for (const container of changed) {
        tell(`${day}: container ${container.id} holds ${container.seen} records, compared with the archive`)
        const start = writer.records
        await this.#addContainer(container, day, writer)
        const added = writer.records - start
        if (added > 0) late++
        const records = (known.get(container.id)?.records ?? 0) + added
        if (records > 0) entries.set(container.id, { ...container, records })
      }
    } catch (error) {
      writer.abandon()
      throw error
    }
    const parts = await writer.finish(number)
    await checkParts(room, parts)
    const next: Manifest = {
      ...manifest,
      records: manifest.records + writer.records,
      columns: [...new Set([...manifest.columns, ...writer.used])],
      containers: [...entries.values()].sort((a, b) => a.id - b.id),
    }
    if (writer.records > 0) {
      next.parts = [...manifest.parts, ...parts]
      next.additions = [
        ...manifest.additions,
        { number, time: Date.now() / 1000, records: writer.records, containers: late },
      ]
      await this.#bringIn(day, room, parts)
    }
    await writeManifest(this.#library.path(day), next)
    await this.#library.learn(day)
    return writer.records > 0 ? { day, records: writer.records, kind: 'addition' } : undefined
  }

  /** Files of an addition go into the day's folder; they count once the manifest names them. */
  async #bringIn(day: string, room: string, parts: readonly Part[]): Promise<void> {
    for (const { file } of parts) await rename(join(room, file), join(this.#library.path(day), file))
    await syncFolder(this.#library.path(day))
  }

  /** Writes the records of MDB that the archive has not. */
  async #addContainer(container: ContainerDay, day: string, writer: PartsWriter): Promise<void> {
    const range = { from: beginOf(day), to: beginOf(day) + day_s, reverse: false }
    const archived = this.#library.readDay(day, container.id, range)
    let head = await archived.next()
    /** Hashes of the archived records of the microsecond at hand. */
    let at = -1
    let hashes = new Set<string>()
    const isArchived = async (record: MessageRecord) => {
      const time = microseconds(record.timestamp)
      if (time !== at) {
        at = time
        hashes = new Set()
        while (!head.done && microseconds(head.value.timestamp) <= time) {
          if (microseconds(head.value.timestamp) === time)
            hashes.add(recordHash(JSON.parse(head.value.json)).toString('hex'))
          head = await archived.next()
        }
      }
      return hashes.size > 0 && hashes.has(recordHash(record).toString('hex'))
    }
    try {
      for await (const batch of this.#read(container, day))
        for (const { record, bytes } of batch) if (!(await isArchived(record))) writer.add(container.id, record, bytes)
    } finally {
      await archived.return(undefined)
    }
  }

  /** Days before the oldest that is kept go; the newest one stays. */
  async #prune(oldest: string | undefined): Promise<void> {
    if (oldest === undefined) return
    const gone = this.#library
      .days()
      .slice(0, -1)
      .filter((day) => day < oldest)
    for (const day of gone) {
      await mkdir(this.#library.binFolder, { recursive: true, mode: 0o700 })
      // Out of sight at once, then gone in its own time.
      await rename(this.#library.path(day), join(this.#library.binFolder, day))
      await syncFolder(this.#library.folder)
      await rm(join(this.#library.binFolder, day), { recursive: true, force: true })
      this.#library.forget(day)
      this.#log.info({ day }, 'older than what is kept: removed')
    }
  }
}
