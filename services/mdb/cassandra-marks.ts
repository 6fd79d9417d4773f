/**
 * What a shared store remembers beside the pages: which days of a container may hold pages, which may hold fresh ones,
 * and how many records there are. Marks are set before a write is acknowledged, and remembered for a while so that not
 * every write sets them again. A mark that is older than any process may remember it can be taken away safely: whoever
 * writes then sets it again.
 */
import type { Logger } from 'pino'
import type { CassandraClient } from './cassandra-client.ts'

/** How long a process relies on a mark that it set. */
const remembered_ms = 60_000
/** Clocks of servers, and a write on its way, differ by less. */
const margin_ms = 60_000
const settled_us = BigInt(remembered_ms + margin_ms) * 1000n
const remembered_max = 200_000
export const shards = 8
/** Sums of a day are made anew so long after its last change, and so many days a second at most. */
const count_after_ms = 5_000
const counts_per_second = 20
/** Sums that lag anyway are not asked for more often. */
const totals_age_ms = 1_000

export const shardOf = (container: number): number => container % shards

const nowMicroseconds = () => BigInt(Date.now()) * 1000n

export interface Sum {
  records: number
  bytes: number
}

interface Growth {
  container: number
  day: number
  /** Of pages that this process inserted since the day was last counted. */
  records: number
  bytes: number
  since: number
}

export class Marks {
  readonly #client: CassandraClient
  readonly #log: Logger
  /** When a mark was set, by `container/day`; its writing, while that is under way. */
  readonly #set = new Map<string, { at: number; done: Promise<void> }>()
  readonly #growth = new Map<string, Growth>()
  /** Days that are being counted. */
  readonly #counting = new Map<string, Promise<void>>()
  #totals = new Map<number, Sum>()
  #totalsAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  constructor(client: CassandraClient, log: Logger) {
    this.#client = client
    this.#log = log
  }

  #table(name: string): string {
    return `${this.#client.keyspace}.${name}`
  }

  start(): void {
    this.#timer = setInterval(() => void this.#countSome(), 1_000)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#counting.values())
  }

  /** Says that a day holds pages, fresh ones if `rows`. Resolves when it is written. */
  async set(container: number, day: number, rows: boolean): Promise<void> {
    const marks = [this.#once(`d${container}/${day}`, () => this.#setDay(container, day))]
    if (rows) marks.push(this.#once(`f${container}/${day}`, () => this.#setFresh(container, day)))
    await Promise.all(marks)
  }

  #once(key: string, write: () => Promise<void>): Promise<void> {
    const now = performance.now()
    const known = this.#set.get(key)
    if (known && now - known.at < remembered_ms) return known.done
    if (this.#set.size >= remembered_max)
      for (const [old, { at }] of this.#set) if (now - at >= remembered_ms) this.#set.delete(old)
    if (this.#set.size >= remembered_max) this.#set.clear()
    const done = write()
    const entry = { at: now, done }
    this.#set.set(key, entry)
    done.catch(() => {
      if (this.#set.get(key) === entry) this.#set.delete(key)
    })
    return done
  }

  #setDay(container: number, day: number): Promise<void> {
    const query = `UPDATE ${this.#table('days')} SET seen = true WHERE container = ? AND day = ?`
    return this.#client.write([{ query, params: [container, day] }])
  }

  #setFresh(container: number, day: number): Promise<void> {
    const query = `UPDATE ${this.#table('fresh')} SET seen = true WHERE shard = ? AND container = ? AND day = ?`
    return this.#client.write([{ query, params: [shardOf(container), container, day] }])
  }

  /**
   * Marked days of a container. `emptied`: its pages were dropped; there may be new ones. `old`: when its marks were set,
   * if nobody relies on them any more.
   */
  async days(container: number, from: number, to: number): Promise<{ day: number; emptied: boolean; old: bigint[] }[]> {
    const rows = await this.#client.run(
      `SELECT day, writetime(seen) AS seen_at, writetime(dropped) AS dropped_at FROM ${this.#table('days')}
        WHERE container = ? AND day >= ? AND day <= ?`,
      [container, from, to],
    )
    const before = nowMicroseconds() - settled_us
    return rows
      .filter(({ seen_at }) => seen_at !== null)
      .map(({ day, seen_at, dropped_at }) => ({
        day: day as number,
        emptied: dropped_at !== null,
        old:
          dropped_at !== null && (seen_at as bigint) < before && (dropped_at as bigint) < before
            ? [seen_at as bigint, dropped_at as bigint]
            : [],
      }))
  }

  /** Says that the pages of a day were dropped. */
  async dropped(container: number, day: number): Promise<void> {
    const query = `UPDATE ${this.#table('days')} SET dropped = true, records = 0, bytes = 0 WHERE container = ? AND day = ?`
    await this.#client.write([{ query, params: [container, day] }])
    this.changed(container, day)
  }

  /** Takes the marks of an empty day away that are older than any process remembers them; one that was set since stays. */
  async forget(container: number, day: number, [seen_at, dropped_at]: bigint[]): Promise<void> {
    const away = (columns: string, time: bigint) => ({
      query: `DELETE ${columns} FROM ${this.#table('days')} USING TIMESTAMP ? WHERE container = ? AND day = ?`,
      params: [time, container, day],
    })
    await this.#client.write([away('seen', seen_at!), away('dropped, records, bytes', dropped_at!)])
  }

  /** Days that may hold fresh pages, the longest marked first, of one container or of all; `old` as `settled` of days. */
  async fresh(
    count: number,
    container?: number,
  ): Promise<{ container: number; day: number; old: bigint | undefined }[]> {
    const select = `SELECT container, day, writetime(seen) AS seen_at FROM ${this.#table('fresh')} WHERE shard = ?`
    const asked =
      container === undefined
        ? Array.from({ length: shards }, (_, shard) => this.#client.run(`${select} LIMIT ?`, [shard, count]))
        : [this.#client.run(`${select} AND container = ?`, [shardOf(container), container])]
    const rows = (await Promise.all(asked)).flat()
    const before = nowMicroseconds() - settled_us
    return rows
      .sort((a, b) => ((a.seen_at as bigint) < (b.seen_at as bigint) ? -1 : 1))
      .map((row) => ({
        container: row.container as number,
        day: row.day as number,
        old: (row.seen_at as bigint) < before ? (row.seen_at as bigint) : undefined,
      }))
  }

  async forgetFresh(container: number, day: number, seen_at: bigint): Promise<void> {
    await this.#client.write([
      {
        query: `DELETE FROM ${this.#table('fresh')} USING TIMESTAMP ? WHERE shard = ? AND container = ? AND day = ?`,
        params: [seen_at, shardOf(container), container, day],
      },
    ])
  }

  /** Records and bytes that this process added to a day. */
  grown(container: number, day: number, records: number, bytes: number): void {
    const key = `${container}/${day}`
    const known = this.#growth.get(key)
    if (known) {
      known.records += records
      known.bytes += bytes
    } else this.#growth.set(key, { container, day, records, bytes, since: performance.now() })
  }

  /** Something of a day went or was merged: its sums are made anew soon. */
  changed(container: number, day: number): void {
    this.grown(container, day, 0, 0)
  }

  /** Sums of all containers as they were counted, a moment ago or less. */
  async totals(): Promise<Map<number, Sum>> {
    if (performance.now() - this.#totalsAt < totals_age_ms) return this.#totals
    this.#totalsAt = performance.now()
    const query = `SELECT container, records, bytes FROM ${this.#table('totals')} WHERE shard = ?`
    const rows = await Promise.all(Array.from({ length: shards }, (_, shard) => this.#client.run(query, [shard])))
    this.#totals = new Map(
      rows.flat().map((row) => [row.container as number, { records: Number(row.records), bytes: Number(row.bytes) }]),
    )
    return this.#totals
  }

  /** What `totals` does not count yet of this process's own. */
  added(): Map<number, Sum> {
    const sums = new Map<number, Sum>()
    for (const { container, records, bytes } of this.#growth.values()) {
      const sum = sums.get(container) ?? { records: 0, bytes: 0 }
      sums.set(container, { records: sum.records + records, bytes: sum.bytes + bytes })
    }
    return sums
  }

  async #countSome(): Promise<void> {
    const due = performance.now() - count_after_ms
    let left = counts_per_second - this.#counting.size
    for (const [key, growth] of this.#growth) {
      if (left <= 0) return
      if (growth.since > due || this.#counting.has(key)) continue
      left--
      const counted = this.count(growth.container, growth.day)
        .catch((err) => this.#log.debug({ err, container: growth.container }, 'a day is counted later'))
        .finally(() => this.#counting.delete(key))
      this.#counting.set(key, counted)
    }
  }

  /** Counts a day by its heads and the container by its days. Done twice, or by two at once, it comes to the same. */
  async count(container: number, day: number): Promise<void> {
    const key = `${container}/${day}`
    const before = this.#growth.get(key)
    this.#growth.delete(key)
    try {
      const [day_sum] = await this.#client.run(
        `SELECT sum(cast(records AS bigint)) AS records, sum(json_bytes) AS bytes FROM ${this.#table('pages')}
          WHERE container = ? AND day = ? AND sort = 0`,
        [container, day],
      )
      await this.#client.write([
        {
          query: `UPDATE ${this.#table('days')} SET records = ?, bytes = ? WHERE container = ? AND day = ?`,
          params: [day_sum!.records ?? 0n, day_sum!.bytes ?? 0n, container, day],
        },
      ])
      const [sum] = await this.#client.run(
        `SELECT sum(records) AS records, sum(bytes) AS bytes FROM ${this.#table('days')} WHERE container = ?`,
        [container],
      )
      const [records, bytes] = [sum!.records ?? 0n, sum!.bytes ?? 0n]
      await this.#client.write([
        {
          query: `UPDATE ${this.#table('totals')} SET records = ?, bytes = ? WHERE shard = ? AND container = ?`,
          params: [records, bytes, shardOf(container), container],
        },
      ])
      this.#totals.set(container, { records: Number(records), bytes: Number(bytes) })
    } catch (error) {
      if (before) this.grown(container, day, before.records, before.bytes)
      throw error
    }
  }
}
