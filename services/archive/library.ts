/** The archive's folder: which days it has, what is in them, and their records in MDB's order. */
import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ApiError } from '#services/common/errors.ts'
import { recordHash } from '#services/common/record-hash.ts'
import { beginOf, day_s, isDay } from './days.ts'
import {
  type ContainerDay,
  fileDigest,
  type Manifest,
  manifest_file,
  type Part,
  type Run,
  readManifest,
} from './manifest.ts'
import { PartReader, type Text } from './part-reader.ts'

/** Where a day is put together; on the same file system, and deeper than a reader of the days looks. */
const workshop = '.new'
/** Where a day lies that is being removed. */
const bin = '.gone'
/** Manifests kept in memory; one of 10,000 containers has some megabytes. */
const manifests_max = 16
/** Files kept open when nobody reads them: one container after the other is read of the same. */
const idle_max = 4

/** A container as the archive knows it. */
export interface Known {
  id: number
  account_id: number
  name: string
  ttl: number
  created: number
  /** Records in the archive. */
  records: number
  /** First and last day with records. */
  first_day: string
  last_day: string
}

interface OpenReader {
  key: string
  reader: Promise<PartReader>
  /** Who reads of it now. */
  users: number
}

/** What is known of a container, and its records on each day, ascending. */
interface KnownDays {
  about: ContainerDay
  days: string[]
  counts: number[]
}

export interface Range {
  from: number
  to: number
  reverse: boolean
}

/** MDB's resolution of time: records of the same microsecond are in the order of their hashes. */
export const microseconds = (timestamp: number): number => Math.round(timestamp * 1e6)

export class Library {
  readonly folder: string
  readonly #manifests = new Map<string, Manifest>()
  /** Days, ascending. */
  #days: string[] = []
  /** By `id account_id`: an id may have been another account's in an earlier MDB. */
  readonly #known = new Map<string, KnownDays>()
  /** Days whose manifest cannot be read, and why. */
  readonly #damaged = new Map<string, ApiError>()
  /** Files whose bytes were seen to be what the manifest says. */
  readonly #sound = new Map<string, string>()

  /** Files that are open, the one used last at the end. */
  readonly #readers = new Map<string, OpenReader>()

  constructor(folder: string) {
    this.folder = folder
  }

  /** Looks at the folder anew. */
  async load(): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 })
    this.#manifests.clear()
    this.#known.clear()
    this.#damaged.clear()
    this.#days = (await readdir(this.folder)).filter(isDay).sort()
    for (const day of this.#days) {
      try {
        await this.learn(day)
      } catch (error) {
        if (!(error instanceof ApiError)) throw error
        this.#damaged.set(day, error)
      }
    }
  }

  /** Days whose manifest cannot be read, and why: to be put right by a person. */
  damaged(): ReadonlyMap<string, ApiError> {
    return this.#damaged
  }

  /** Looks at a day that was made or added to. */
  async learn(day: string): Promise<void> {
    this.#manifests.delete(day)
    const { containers } = await this.manifest(day)
    this.#damaged.delete(day)
    if (!this.#days.includes(day)) this.#days = [...this.#days, day].sort()
    for (const about of containers) {
      const key = `${about.id} ${about.account_id}`
      const known = this.#known.get(key)
      if (!known) {
        this.#known.set(key, { about, days: [day], counts: [about.records] })
        continue
      }
      const { days, counts } = known
      let at = days.length
      while (at > 0 && days[at - 1]! >= day) at--
      const there = days[at] === day ? 1 : 0
      days.splice(at, there, day)
      counts.splice(at, there, about.records)
      if (at === days.length - 1) known.about = about
    }
  }

  /** Takes a day out of sight; its files are left. */
  forget(day: string): void {
    this.#manifests.delete(day)
    this.#days = this.#days.filter((other) => other !== day)
    for (const [key, { days, counts }] of this.#known) {
      const at = days.indexOf(day)
      if (at < 0) continue
      days.splice(at, 1)
      counts.splice(at, 1)
      if (days.length === 0) this.#known.delete(key)
    }
  }

  days(): string[] {
    return this.#days
  }

  /** What is archived ends here, s since 1970; undefined: there is nothing. */
  asOf(): number | undefined {
    const last = this.#days.at(-1)
    return last === undefined ? undefined : beginOf(last) + day_s
  }

  path(day: string): string {
    return join(this.folder, day)
  }

  /** A day's manifest. A day that is not there: ApiError `not_found`; damaged: `unavailable` with the file's name. */
  async manifest(day: string): Promise<Manifest> {
    const held = this.#manifests.get(day)
    if (held) return held
    const manifest = await readManifest(this.path(day)).catch((cause) => {
      throw new ApiError('unavailable', cause.message, { cause })
    })
    if (!manifest) {
      const lost = this.#days.includes(day)
        ? new ApiError('unavailable', `${this.path(day)} has no manifest`)
        : undefined
      throw lost ?? new ApiError('not_found', `day ${day} is not in the archive`)
    }
    this.#manifests.set(day, manifest)
    for (const oldest of this.#manifests.keys()) {
      if (this.#manifests.size <= manifests_max) break
      this.#manifests.delete(oldest)
    }
    return manifest
  }

  async find(day: string): Promise<Manifest | undefined> {
    return this.#days.includes(day) ? this.manifest(day) : undefined
  }

  /** An empty folder to put a day together in; what a killed run left there is gone. */
  async makeRoom(day: string): Promise<string> {
    const room = join(this.folder, workshop, day)
    await rm(room, { recursive: true, force: true })
    await mkdir(room, { recursive: true, mode: 0o700 })
    return room
  }

  /** Removes what killed runs left: half-made days, days half removed, and files that no manifest names. */
  async sweep(): Promise<string[]> {
    const removed: string[] = []
    for (const name of [workshop, bin]) {
      if (!(await readdir(this.folder)).includes(name)) continue
      await rm(join(this.folder, name), { recursive: true, force: true })
      removed.push(name)
    }
    for (const day of this.#days.filter((other) => !this.#damaged.has(other))) {
      const named = filesOf(await this.manifest(day))
      for (const name of await readdir(this.path(day))) {
        if (named.has(name)) continue
        await rm(join(this.path(day), name), { recursive: true, force: true })
        removed.push(join(day, name))
      }
    }
    return removed
  }

  /** Removes the folders that a run works in. */
  async tidy(): Promise<void> {
    for (const name of [workshop, bin]) await rm(join(this.folder, name), { recursive: true, force: true })
  }

  get binFolder(): string {
    return join(this.folder, bin)
  }

  /** Containers that the caller may see; undefined: all. */
  containers(account: number | undefined): Known[] {
    return [...this.#known.values()]
      .filter(({ about }) => account === undefined || about.account_id === account)
      .map(({ about: { id, account_id, name, ttl, created }, days, counts }) => ({
        id,
        account_id,
        name,
        ttl,
        created,
        records: counts.reduce((sum, count) => sum + count, 0),
        first_day: days[0]!,
        last_day: days.at(-1)!,
      }))
      .sort((a, b) => a.id - b.id || a.account_id - b.account_id)
  }

  /** Opens a file after its bytes were compared with the manifest; to be given back by `release`. */
  async #open(day: string, part: Part): Promise<OpenReader> {
    const path = join(this.path(day), part.file)
    try {
      const { size, mtimeMs } = await stat(path)
      const state = `${size} ${mtimeMs} ${part.sha256}`
      if (this.#sound.get(path) !== state) {
        if ((await fileDigest(path)) !== part.sha256) throw new Error(`${path} is damaged: its SHA-256 is another one`)
        this.#sound.set(path, state)
      }
      const key = `${path} ${state}`
      let held = this.#readers.get(key)
      if (!held) {
        held = { key, reader: PartReader.open(path), users: 0 }
        held.reader.catch(() => this.#readers.delete(key))
      }
      held.users++
      // Last in the order.
      this.#readers.delete(key)
      this.#readers.set(key, held)
      await held.reader
      return held
    } catch (cause) {
      throw new ApiError('unavailable', (cause as Error).message, { cause })
    }
  }

  async #release(held: OpenReader): Promise<void> {
    held.users--
    const idle = [...this.#readers.values()].filter(({ users }) => users === 0)
    for (const { key, reader } of idle.slice(0, Math.max(0, idle.length - idle_max))) {
      this.#readers.delete(key)
      await (await reader).close()
    }
  }

  /** Closes what is kept open. */
  async close(): Promise<void> {
    const all = [...this.#readers.values()]
    this.#readers.clear()
    for (const { reader } of all) await reader.then((one) => one.close()).catch(() => {})
  }

  /** Records of one container in MDB's order: (timestamp, hash). `fields`: more of a record need not be read, and may be. */
  async *read(known: Pick<Known, 'id' | 'account_id'>, range: Range, fields?: string[]): AsyncGenerator<Text> {
    const days = this.#known.get(`${known.id} ${known.account_id}`)?.days ?? []
    const isWanted = (day: string) => beginOf(day) < range.to && beginOf(day) + day_s > range.from
    // What such a day holds is not known: a gap that nobody sees would be worse than no answer.
    for (const [day, error] of this.#damaged) if (isWanted(day)) throw error
    const wanted = days.filter(isWanted)
    for (const day of range.reverse ? wanted.toReversed() : wanted) yield* this.readDay(day, known.id, range, fields)
  }

  /** Records of one container and day in MDB's order. */
  async *readDay(day: string, container: number, range: Range, fields?: string[]): AsyncGenerator<Text> {
    const { parts } = await this.manifest(day)
    const sources = new Map<number, { part: Part; run: Run }[]>()
    for (const part of parts)
      for (const run of part.runs) {
        if (run.container !== container || run.from >= range.to || run.to < range.from) continue
        sources.set(part.addition, [...(sources.get(part.addition) ?? []), { part, run }])
      }
    // Within the day, and within an addition, one file continues the other. To compare records takes all their fields.
    const read = (runs: { part: Part; run: Run }[]) =>
      this.#readRuns(day, range.reverse ? runs.reverse() : runs, range, sources.size > 1 ? undefined : fields)
    yield* merge([...sources.values()].map(read), range.reverse)
  }

  async *#readRuns(
    day: string,
    runs: { part: Part; run: Run }[],
    range: Range,
    fields?: string[],
  ): AsyncGenerator<Text[]> {
    for (const { part, run } of runs) {
      const held = await this.#open(day, part)
      try {
        const reader = await held.reader
        let [first, end] = [run.first, run.first + run.records]
        if (run.from < range.from || run.to >= range.to) {
          const times = await reader.timestamps(first, end)
          first += lowerBound(times, range.from)
          end = run.first + lowerBound(times, range.to)
        }
        yield* reader.texts(first, end, range.reverse, fields)
      } catch (cause) {
        throw new ApiError('unavailable', (cause as Error).message, { cause })
      } finally {
        await this.#release(held)
      }
    }
  }
}

/** Names that a day's folder has. */
export function filesOf(manifest: Manifest): Set<string> {
  const names = new Set([manifest_file, ...manifest.parts.map(({ file }) => file)])
  // `milepost-archive` reads the description beside the dump.
  if ('file' in manifest.postgres) names.add(manifest.postgres.file).add(`${manifest.postgres.name}.json`)
  return names
}

/** Index of the first time that is not before `from`. */
function lowerBound(times: Float64Array, from: number): number {
  let [low, high] = [0, times.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (times[middle]! < from) low = middle + 1
    else high = middle
  }
  return low
}

const hashOf = ({ json }: Text) => recordHash(JSON.parse(json))

/** Several sorted sources as one; records of the same microsecond by their hashes, which are made for those alone. */
async function* merge(sources: AsyncGenerator<Text[]>[], reverse: boolean): AsyncGenerator<Text> {
  const [only] = sources
  if (!only) return
  if (sources.length === 1) {
    for await (const batch of only) yield* batch
    return
  }
  const heads: { next: Text; rest: AsyncGenerator<Text> }[] = []
  try {
    for (const source of sources) {
      const rest = flat(source)
      const { value, done } = await rest.next()
      if (!done) heads.push({ next: value, rest })
    }
    while (heads.length > 0) {
      let best = heads[0]!
      for (const head of heads.slice(1)) if (before(head.next, best.next) !== reverse) best = head
      yield best.next
      const { value, done } = await best.rest.next()
      if (done) heads.splice(heads.indexOf(best), 1)
      else best.next = value
    }
  } finally {
    for (const { rest } of heads) await rest.return(undefined)
  }
}

async function* flat(source: AsyncGenerator<Text[]>): AsyncGenerator<Text> {
  for await (const batch of source) yield* batch
}

function before(a: Text, b: Text): boolean {
  const [at, bt] = [microseconds(a.timestamp), microseconds(b.timestamp)]
  return at === bt ? hashOf(a).compare(hashOf(b)) < 0 : at < bt
}
