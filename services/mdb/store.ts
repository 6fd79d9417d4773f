/**
 * What the engine asks of a store: containers, and pages by (container, day). A page's bytes are opaque to a store.
 *
 * Pages are immutable. Appends insert small fresh pages; in the background the engine replaces them by larger ones.
 * Reads drop what appears twice, so a page that outlives its merge, or is stored twice by two processes, does no harm.
 *
 * Errors: ApiError `unavailable` while a store is away, too slow or full, with the reason in words; `DamagedError` for
 * bytes that are not what was written.
 */
import { randomBytes } from 'node:crypto'

/** A unit of records in the order of their timestamps. */
export interface Container {
  id: number
  /** Owner; 0: internal, seen by services alone. */
  account_id: number
  /** Unique within its account. */
  name: string
  /** Seconds that a record is kept after its timestamp; 0: for ever. */
  ttl: number
  /** Records and bytes of JSON in its pages; on a shared store they may lag, and count what was stored twice. */
  records: number
  bytes: number
  /** s since 1970 UTC. */
  created: number
}

/** What is known of a page without reading it. All its records are of one container and one UTC day. */
export interface PageHead {
  container: number
  /** Whole days since 1970 UTC of its records' timestamps: see `dayOf`. */
  day: number
  /** Unique within (container, day); ids made later by one process are greater: see `newPageId`. */
  id: string
  /** `rows`: as it came, fresh; `bundle`: several of those, as fresh; `page`: columnar, made by a merge. */
  kind: 'rows' | 'bundle' | 'page'
  /** Timestamps of its first and last record, s; both included. */
  from: number
  to: number
  records: number
  /** Bytes that its records have as JSON texts, without separators. */
  json_bytes: number
  /** Bytes of the page. */
  size: number
}

export interface NewPage {
  head: PageHead
  bytes: Buffer
}

/** Newest value of each parameter of a container, with the timestamp (s) of its record. */
export type Newest = Map<string, { value: unknown; timestamp: number }>

export interface Store {
  /**
   * Whether other processes may write to it at the same time. If not, what was read of it may be remembered,
   * and `records` and `bytes` of containers are exact.
   */
  readonly shared: boolean

  /**
   * How much of the room that the store has for fresh pages is taken: from 0.65 merges are urgent, from 1 the engine tells
   * writers to come back. 0: there is no such bound.
   */
  readonly pressure: number

  /** Resolves when the store serves; rejects with ApiError `unavailable` and the reason. */
  ready(): Promise<void>

  /** All containers that were not removed, in the order of their ids. */
  containers(): Promise<Container[]>
  /** Ids grow and are never given again. A name that the account has: ApiError `conflict` with the other's `id`. */
  create(wanted: Pick<Container, 'account_id' | 'name' | 'ttl'>): Promise<Container>
  /** Container as it is then. Not there: `not_found`; name taken: `conflict`. */
  edit(id: number, fields: Partial<Pick<Container, 'name' | 'ttl'>>): Promise<Container>
  /** It vanishes at once and with it its pages and newest values; their bytes are freed in the background. */
  remove(id: number): Promise<void>

  /**
   * Adds pages of any number of containers and days; resolves when they are durable.
   * lmdb: all or nothing, synced. Cassandra: each page whole, by a quorum; when it rejects, some of them may be there.
   * A container that is not there: ApiError `not_found` with its `id`.
   */
  insert(pages: NewPage[]): Promise<void>

  /** Days of a container that hold pages, ascending, `from_day` and `to_day` included. */
  days(container: number, from_day: number, to_day: number): Promise<number[]>
  /** Heads of the pages of one day in the order of their ids; what an `insert` of this process stored is among them. */
  heads(container: number, day: number): Promise<PageHead[]>
  /** Bytes of pages, in the order asked; undefined: it is not there any more (merged, dropped): ask for heads again. */
  load(heads: PageHead[]): Promise<(Buffer | undefined)[]>

  /**
   * Puts `pages` in the place of `gone`, atomically, within one (container, day). False, and nothing is changed, when one
   * of `gone` is not there any more: somebody else merged or dropped it. `pages` may be empty; so may `gone`.
   * `newest` is folded into the container's newest values: per parameter, the later timestamp wins, of equal ones any. A shared store may
   * do this before the rest: it is harmless twice, and without the rest.
   */
  replace(container: number, day: number, gone: PageHead[], pages: NewPage[], newest?: Newest): Promise<boolean>
  /** Drops whole days with all their pages. Newest values stay. */
  drop(container: number, days: number[]): Promise<void>

  /** What `replace` folded together so far. Values still in fresh pages are not among them: the engine adds those. */
  newest(container: number): Promise<Newest>

  /**
   * Days that hold fresh pages (see `isFresh`), those that have them longest first where the store can tell: the engine's
   * work after a start, and on a shared store now and then. At most `count`; of one container if it is given.
   */
  unmerged(count: number, container?: number): Promise<{ container: number; day: number }[]>

  /** Bytes on disk of the whole store, if it can tell. */
  diskBytes(): Promise<number | undefined>

  close(): Promise<void>
}

export const day_s = 86_400

/** Days that a record may be of: 1970 to 2200. */
export const all_days: [number, number] = [0, 84_100]

/** A page that no merge has read yet: its newest values are not among those that the store keeps. */
export const isFresh = ({ kind }: Pick<PageHead, 'kind'>): boolean => kind !== 'page'

/** UTC day of a timestamp in s. */
export const dayOf = (timestamp: number): number => Math.floor(timestamp / day_s)

const process_mark = BigInt(`0x${randomBytes(4).toString('hex')}`)
  .toString(36)
  .padStart(7, '0')
let last_ms = 0
let in_ms = 0
let begin_ms = 0
let begin = ''

/** 20 characters of 0-9a-z: ms since 1970, this process, a count within the millisecond. */
export function newPageId(): string {
  const now = Math.max(Date.now(), last_ms)
  in_ms = now === last_ms ? in_ms + 1 : 0
  // So many ids have room in a millisecond; the next one is borrowed from the future.
  const full = in_ms === 36 ** 4
  if (full) in_ms = 0
  last_ms = full ? now + 1 : now
  if (begin_ms !== last_ms) {
    begin_ms = last_ms
    begin = last_ms.toString(36).padStart(9, '0') + process_mark
  }
  return begin + in_ms.toString(36).padStart(4, '0')
}
