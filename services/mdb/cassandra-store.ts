/**
 * MDB's pages in Apache Cassandra, or another server of CQL: three copies, two of them asked for each write and read.
 * Any number of processes may serve the same containers.
 *
 * Pages of a (container, day) are one partition. A fresh page is one immutable write. A merge writes its pages' bytes
 * first, where no reader looks, and then swaps heads by a compare-and-set on the heads that go: of two that merge the
 * same, one is told that it was too late. What a broken merge left behind is found by its note and taken away.
 */
import type { Logger } from 'pino'
import { ApiError } from '#services/common/errors.ts'
import type { CassandraConfig } from '#services/common/process.ts'
import { Catalog, notice_ms } from './cassandra-catalog.ts'
import { CassandraClient, type Row, type Statement } from './cassandra-client.ts'
import { Marks, shardOf } from './cassandra-marks.ts'
import { bySize, pageIdTime, settled, toHead, withSums } from './cassandra-rows.ts'
import { inline_bytes_max, migrate } from './cassandra-schema.ts'
import { type Container, isFresh, type Newest, type NewPage, type PageHead, type Store } from './store.ts'

/** Bytes of one write and of one answer. The server takes half a segment of its log, 16 MiB. */
const write_bytes_max = 1024 * 1024
const read_bytes_max = 2 * 1024 * 1024
const page_bytes_max = 8 * 1024 * 1024
const parameters_a_write = 200
const swap_tries = 4
const heads_a_write = 500
const drop_rounds = 3
/** A note of a merge that is older belongs to nobody. */
const note_age_max_ms = 10 * 60_000
const housekeeping_every_ms = 60_000
const all_days = [-1_000_000, 1_000_000] as const
/** Later than any timestamp of a record, µs. */
const end_of_time_us = 9_000_000_000_000_000n

type Key = Pick<PageHead, 'container' | 'day' | 'id'>

const sortOf = ({ size }: PageHead) => (size <= inline_bytes_max ? 0 : 1)
const dayKey = ({ container, day }: Pick<PageHead, 'container' | 'day'>) => `${container}/${day}`

export class CassandraStore implements Store {
  readonly shared = true
  readonly pressure = 0
  readonly #client: CassandraClient
  readonly #config: CassandraConfig
  readonly #log: Logger
  readonly #catalog: Catalog
  readonly #marks: Marks
  #timer: NodeJS.Timeout | undefined
  #keeping: Promise<void> | undefined

  constructor(config: CassandraConfig, log: Logger) {
    this.#config = config
    this.#log = log
    this.#client = new CassandraClient(config, log)
    this.#catalog = new Catalog(this.#client)
    this.#marks = new Marks(this.#client, log)
  }

  #table(name: string): string {
    return `${this.#config.keyspace}.${name}`
  }

  async ready(): Promise<void> {
    if (!this.#timer) await this.#open()
    await this.#catalog.all()
  }

  async #open(): Promise<void> {
    await this.#client.connect()
    await migrate(this.#client, this.#config.keyspace, this.#config.datacenter)
    await this.#catalog.all()
    if (this.#timer) return
    this.#marks.start()
    this.#timer = setInterval(() => {
      this.#keeping ??= this.#keepHouse().finally(() => (this.#keeping = undefined))
    }, housekeeping_every_ms)
    this.#timer.unref()
  }

  async containers(): Promise<Container[]> {
    const [known, totals] = await Promise.all([this.#catalog.all(), this.#marks.totals()])
    const added = this.#marks.added()
    return known.map((container) => withSums(container, totals.get(container.id), added.get(container.id)))
  }

  async create(wanted: Pick<Container, 'account_id' | 'name' | 'ttl'>): Promise<Container> {
    return { ...(await this.#catalog.create(wanted)), records: 0, bytes: 0 }
  }

  async edit(id: number, fields: Partial<Pick<Container, 'name' | 'ttl'>>): Promise<Container> {
    const edited = await this.#catalog.edit(id, fields)
    const [totals, added] = [await this.#marks.totals(), this.#marks.added()]
    return withSums(edited, totals.get(id), added.get(id))
  }

  async remove(id: number): Promise<void> {
    await this.#catalog.remove(id)
  }

  async insert(pages: NewPage[]): Promise<void> {
    const missing = await this.#catalog.missing(pages.map(({ head }) => head.container))
    if (missing !== undefined) throw new ApiError('not_found', `there is no container ${missing}`, { id: missing })
    const days = Map.groupBy(pages, ({ head }) => dayKey(head))
    const works: Promise<void>[] = []
    for (const group of days.values()) {
      const { container, day } = group[0]!.head
      works.push(
        this.#marks.set(
          container,
          day,
          group.some(({ head }) => isFresh(head)),
        ),
      )
      for (const some of bySize(group, ({ head }) => head.size, write_bytes_max))
        works.push(this.#client.write(some.flatMap((page) => this.#put(page))))
    }
    await settled(works)
    for (const { head } of pages) this.#marks.grown(head.container, head.day, head.records, head.json_bytes)
  }

  /** Rows of a page: its head, and its bytes in one of their own unless they are few. */
  #put({ head, bytes }: NewPage): Statement[] {
    const own = sortOf(head) === 1
    return [...(own ? [this.#putBytes(head, bytes)] : []), this.#putHead(head, own ? null : bytes)]
  }

  #putHead(head: PageHead, bytes: Buffer | null): Statement {
    const { container, day, id, kind, from, to, records, json_bytes, size } = head
    if (size > page_bytes_max) throw new Error(`page ${id}: ${size} bytes, at most ${page_bytes_max}`)
    const columns = 'container, day, sort, id, kind, first_at, last_at, records, json_bytes, size'
    const params = [container, day, id, kind, from, to, records, BigInt(json_bytes), size]
    return bytes === null
      ? { query: `INSERT INTO ${this.#table('pages')} (${columns}) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?)`, params }
      : {
          query: `INSERT INTO ${this.#table('pages')} (${columns}, bytes) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)`,
          params: [...params, bytes],
        }
  }

  #putBytes({ container, day, id }: Key, bytes: Buffer): Statement {
    const query = `INSERT INTO ${this.#table('pages')} (container, day, sort, id, bytes) VALUES (?, ?, 1, ?, ?)`
    return { query, params: [container, day, id, bytes] }
  }

  #putNote({ container, day, id }: Key): Statement {
    const query = `INSERT INTO ${this.#table('pages')} (container, day, sort, id) VALUES (?, ?, 2, ?)`
    return { query, params: [container, day, id] }
  }

  #delete(sort: 0 | 1 | 2, { container, day, id }: Key, condition = ''): Statement {
    const query = `DELETE FROM ${this.#table('pages')} WHERE container = ? AND day = ? AND sort = ${sort} AND id = ?${condition}`
    return { query, params: [container, day, id] }
  }

  async days(container: number, from_day: number, to_day: number): Promise<number[]> {
    if (!(await this.#catalog.get(container))) return []
    const clamp = (day: number) => Math.min(all_days[1], Math.max(all_days[0], day))
    const marked = await this.#marks.days(container, clamp(from_day), clamp(to_day))
    const there = await Promise.all(marked.map(({ day, emptied }) => !emptied || this.#holds(container, day)))
    for (const [i, { day, old }] of marked.entries())
      if (!there[i] && old.length > 0)
        this.#marks.forget(container, day, old).catch((err) => this.#log.debug({ err, container, day }, 'a mark stays'))
    return marked.filter((_, i) => there[i]).map(({ day }) => day)
  }

  /** Whether a day holds a page, a fresh one if `rows`. */
  async #holds(container: number, day: number, rows = false): Promise<boolean> {
    if (rows) return (await this.heads(container, day)).some(isFresh)
    const query = `SELECT id FROM ${this.#table('pages')} WHERE container = ? AND day = ? AND sort = 0 LIMIT 1`
    return (await this.#client.run(query, [container, day])).length > 0
  }

  async heads(container: number, day: number): Promise<PageHead[]> {
    if (!(await this.#catalog.get(container))) return []
    return this.#heads(container, day)
  }

  async #heads(container: number, day: number): Promise<PageHead[]> {
    const query = `SELECT id, kind, first_at, last_at, records, json_bytes, size FROM ${this.#table('pages')}
      WHERE container = ? AND day = ? AND sort = 0`
    return (await this.#client.run(query, [container, day])).map((row) => toHead(container, day, row))
  }

  async load(heads: PageHead[]): Promise<(Buffer | undefined)[]> {
    const found = new Map<string, Buffer>()
    const works: Promise<void>[] = []
    for (const group of Map.groupBy(heads, (head) => `${dayKey(head)}/${sortOf(head)}`).values()) {
      const { container, day } = group[0]!
      const query = `SELECT id, bytes FROM ${this.#table('pages')} WHERE container = ? AND day = ? AND sort = ${sortOf(group[0]!)} AND id IN ?`
      for (const some of bySize(group, ({ size }) => size, read_bytes_max))
        works.push(
          this.#client.run(query, [container, day, some.map(({ id }) => id)]).then((rows) => {
            for (const { id, bytes } of rows)
              if (bytes !== null) found.set(`${container}/${day}/${id}`, bytes as Buffer)
          }),
        )
    }
    await settled(works)
    return heads.map((head) => found.get(`${dayKey(head)}/${head.id}`))
  }

  async replace(container: number, day: number, gone: PageHead[], pages: NewPage[], newest?: Newest): Promise<boolean> {
    if (newest) await this.#fold(container, newest)
    if (pages.length > 0) await this.#marks.set(container, day, false)
    if (gone.length === 0) {
      for (const page of pages) await this.#client.write(this.#put(page))
      this.#marks.changed(container, day)
      return true
    }
    // Bytes of what comes, where nobody looks yet, with a note; those that lie with their head are few and come with it.
    const own = pages.filter(({ head }) => sortOf(head) === 1)
    for (const some of bySize(own, ({ head }) => head.size, write_bytes_max))
      await this.#client.write(some.flatMap(({ head, bytes }) => [this.#putBytes(head, bytes), this.#putNote(head)]))
    const swap = [
      ...gone.map((head) => this.#delete(0, head, ' IF EXISTS')),
      ...gone.filter((head) => sortOf(head) === 1).map((head) => this.#delete(1, head)),
      ...pages.map(({ head, bytes }) => this.#putHead(head, sortOf(head) === 1 ? null : bytes)),
      ...own.map(({ head }) => this.#delete(2, head)),
    ]
    const applied = await this.#swap(swap, gone, pages)
    if (!applied) {
      const leftover = pages.flatMap(({ head }) => [this.#delete(1, head), this.#delete(2, head)])
      await this.#client
        .write(leftover)
        .catch((err) => this.#log.debug({ err, container, day }, 'a merge leaves bytes'))
      return false
    }
    if (pages.length === 0 && !(await this.#holds(container, day))) await this.#marks.dropped(container, day)
    this.#marks.changed(container, day)
    if (own.length > 0) await this.#clearNotes(container, day)
    return true
  }

  /** Takes away what merges wrote that did not come to their end. One that is under way is younger. */
  async #clearNotes(container: number, day: number): Promise<void> {
    try {
      const query = `SELECT id FROM ${this.#table('pages')} WHERE container = ? AND day = ? AND sort = ?`
      const notes = (await this.#client.run(query, [container, day, 2])).map(({ id }) => id as string)
      const old = notes.filter((id) => Date.now() - pageIdTime(id) > note_age_max_ms)
      if (old.length === 0) return
      const heads = new Set((await this.#client.run(query, [container, day, 0])).map(({ id }) => id))
      for (const id of old) {
        const key = { container, day, id }
        await this.#client.write([...(heads.has(id) ? [] : [this.#delete(1, key)]), this.#delete(2, key)])
      }
    } catch (err) {
      this.#log.debug({ err, container, day }, 'what a broken merge left is cleared later')
    }
  }

  async #swap(statements: Statement[], gone: PageHead[], pages: NewPage[]): Promise<boolean> {
    const { container, day } = gone[0]!
    for (let n = 1; ; n++) {
      const applied = await this.#client.compareAndSet(statements)
      if (applied !== undefined) return applied
      // Nobody knows. A serial read ends what was begun, and then shows it.
      const query = `SELECT id FROM ${this.#table('pages')} WHERE container = ? AND day = ? AND sort = 0`
      const there = new Set((await this.#client.run(query, [container, day], { serial: true })).map(({ id }) => id))
      if (pages.length > 0 ? pages.every(({ head }) => there.has(head.id)) : gone.every(({ id }) => !there.has(id)))
        return true
      if (!gone.every(({ id }) => there.has(id))) return false
      if (n === swap_tries) throw new ApiError('unavailable', 'the store does not say whether a merge was done')
    }
  }

  async drop(container: number, days: number[]): Promise<void> {
    for (const day of days) {
      // What a merge puts in the place of what goes goes, too.
      for (let n = 1; ; n++) {
        const query = `SELECT id, kind, writetime(kind) AS at FROM ${this.#table('pages')} WHERE container = ? AND day = ? AND sort = 0`
        const rows = await this.#client.run(query, [container, day])
        const going = n === 1 ? rows : rows.filter(({ kind }) => kind === 'page')
        for (const some of bySize(going, () => 1, heads_a_write))
          await this.#client.write(some.flatMap((row) => this.#drop(container, day, row)))
        if (going.length === 0 || n === drop_rounds) break
      }
      await this.#marks.dropped(container, day)
    }
  }

  /** Deletes a page whatever the clock of who wrote it said. An id is never used again, so nothing newer can be hit. */
  #drop(container: number, day: number, { id, at }: Row): Statement[] {
    const now = BigInt(Date.now()) * 1000n
    const time = (at as bigint) > now ? (at as bigint) : now
    const query = `DELETE FROM ${this.#table('pages')} USING TIMESTAMP ? WHERE container = ? AND day = ? AND sort = ? AND id = ?`
    return [0, 1].map((sort) => ({ query, params: [time, container, day, sort, id] }))
  }

  /** The later of two values of a parameter is the server's to choose: they are written with their records' time. */
  async #fold(container: number, newest: Newest): Promise<void> {
    const query = `UPDATE ${this.#table('newest')} USING TIMESTAMP ? SET value = ?, at = ? WHERE container = ? AND parameter = ?`
    const statements = [...newest].map(([parameter, { value, timestamp }]) => ({
      query,
      params: [BigInt(Math.round(timestamp * 1e6)), JSON.stringify(value), timestamp, container, parameter],
    }))
    const writes = bySize(
      statements,
      ({ params }) => (params[1] as string).length + write_bytes_max / parameters_a_write,
      write_bytes_max,
    )
    for (const some of writes) await this.#client.write(some)
  }

  async newest(container: number): Promise<Newest> {
    if (!(await this.#catalog.get(container))) return new Map()
    const query = `SELECT parameter, value, at FROM ${this.#table('newest')} WHERE container = ?`
    const rows = await this.#client.run(query, [container])
    return new Map(
      rows
        .filter(({ value }) => value !== null)
        .map(({ parameter, value, at }) => [
          parameter as string,
          { value: JSON.parse(value as string), timestamp: at as number },
        ]),
    )
  }

  async unmerged(count: number, container?: number): Promise<{ container: number; day: number }[]> {
    const known = container === undefined ? await this.#catalog.all() : [await this.#catalog.get(container)]
    const ids = new Set(known.map((one) => one?.id))
    const marked = (await this.#marks.fresh(count, container)).filter((mark) => ids.has(mark.container))
    const found: { container: number; day: number }[] = []
    for (const { container, day, old } of marked) {
      if (found.length === count) break
      // A mark that nobody relies on any more goes when there is nothing fresh.
      if (old !== undefined && !(await this.#holds(container, day, true)))
        await this.#marks.forgetFresh(container, day, old)
      else found.push({ container, day })
    }
    return found
  }

  async diskBytes(): Promise<number | undefined> {
    try {
      const query = 'SELECT mebibytes FROM system_views.disk_usage WHERE keyspace_name = ? AND table_name = ?'
      const rows = await this.#client.each(query, [this.#config.keyspace, 'pages'])
      return rows.reduce((sum, { mebibytes }) => sum + Number(mebibytes) * 1024 * 1024, 0)
    } catch {
      return undefined
    }
  }

  /** Frees what removed containers and broken merges left. Done by several processes at once, it comes to the same. */
  async #keepHouse(): Promise<void> {
    try {
      const removed = await this.#client.run(`SELECT container, at FROM ${this.#table('removed')} WHERE realm = 0`)
      for (const { container, at } of removed) {
        if (Date.now() - (at as number) * 1000 < notice_ms) continue
        if (!(await this.#catalog.get(container as number))) await this.#bury(container as number)
        await this.#client.write([
          { query: `DELETE FROM ${this.#table('removed')} WHERE realm = 0 AND container = ?`, params: [container] },
        ])
      }
    } catch (err) {
      this.#log.debug({ err }, 'what was removed is freed later')
    }
  }

  /** All that there is of a container that is gone for longer than anybody may not have noticed. */
  async #bury(container: number): Promise<void> {
    const whole = (table: string) => `DELETE FROM ${this.#table(table)} WHERE container = ?`
    for (const { day } of await this.#marks.days(container, ...all_days))
      await this.#client.write([{ query: `${whole('pages')} AND day = ?`, params: [container, day] }])
    await this.#client.write([{ query: whole('days'), params: [container] }])
    await this.#client.write([
      {
        query: `DELETE FROM ${this.#table('newest')} USING TIMESTAMP ? WHERE container = ?`,
        params: [end_of_time_us, container],
      },
    ])
    for (const table of ['totals', 'fresh'])
      await this.#client.write([
        {
          query: `DELETE FROM ${this.#table(table)} WHERE shard = ? AND container = ?`,
          params: [shardOf(container), container],
        },
      ])
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all([this.#marks.stop(), this.#keeping])
    await this.#client.close()
  }
}
