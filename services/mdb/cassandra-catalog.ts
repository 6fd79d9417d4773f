/**
 * Containers in a shared store: one partition, changed by compare-and-set of its version alone. So what a process knows
 * at a version is all there is at it, names are unique, ids are never given twice, and a change elsewhere shows by the
 * version.
 */
import { randomUUID } from 'node:crypto'
import { ApiError } from '#services/common/errors.ts'
import type { CassandraClient, Statement } from './cassandra-client.ts'
import type { Container } from './store.ts'

/** Changes that share one compare-and-set. */
const together_max = 50
/** How long a change tries against those of other processes. */
const change_time_max_ms = 15_000
/** A change that is refused by what is older than this is looked at again. */
const fresh_ms = 200
/** A container that was removed may be written to for so long by a process that did not notice; then its pages go. */
export const notice_ms = 90_000

export type Known = Omit<Container, 'records' | 'bytes'>

interface Change {
  /** What it writes given what there is, or throws an ApiError. Applied to `next` when it is written. */
  plan(next: Map<number, Known>, nextId: number): { statements: Statement[]; nextId: number; result: Known }
  resolve(result: Known): void
  reject(error: unknown): void
}

export class Catalog {
  readonly #client: CassandraClient
  #containers = new Map<number, Known>()
  #version: number | null = null
  #nextId = 1
  /** Start of the last look at the version, ms of the process's clock. */
  #lookedAt = Number.NEGATIVE_INFINITY
  #looking: Promise<void> | undefined
  #queue: Change[] = []
  #working = false

  constructor(client: CassandraClient) {
    this.#client = client
  }

  #table(name: string): string {
    return `${this.#client.keyspace}.${name}`
  }

  /** All containers that there were when it was asked. */
  async all(): Promise<Known[]> {
    await this.#look(0)
    return [...this.#containers.values()].sort((a, b) => a.id - b.id)
  }

  /** What is there of a container; one that is not known is asked for. */
  async get(id: number): Promise<Known | undefined> {
    // A removal elsewhere is noticed well before the pages go.
    await this.#look(this.#containers.has(id) ? notice_ms / 9 : 0)
    return this.#containers.get(id)
  }

  /** As `get`, of several; gives the first that is not there. */
  async missing(ids: Iterable<number>): Promise<number | undefined> {
    const asked = [...new Set(ids)]
    await this.#look(asked.every((id) => this.#containers.has(id)) ? notice_ms / 9 : 0)
    return asked.find((id) => !this.#containers.has(id))
  }

  /** Sees to it that what is known is at most `age_ms` old. */
  async #look(age_ms: number): Promise<void> {
    const asked = performance.now()
    while (this.#lookedAt < asked - age_ms) {
      // One that is under way began before this question: it does for `age_ms` of some length only.
      await (this.#looking ??= this.#read().finally(() => (this.#looking = undefined)))
    }
  }

  async #read(serial = false): Promise<void> {
    const began = performance.now()
    const [head] = await this.#client.run(
      `SELECT version FROM ${this.#table('containers')} WHERE realm = 0 LIMIT 1`,
      [],
      { serial },
    )
    const version = head?.version == null ? null : Number(head.version)
    if (version !== this.#version) await this.#readAll(serial)
    this.#lookedAt = Math.max(this.#lookedAt, began)
  }

  async #readAll(serial: boolean): Promise<void> {
    for (;;) {
      const rows = await this.#client.run(
        `SELECT version, next_id, account_id, name, id, ttl, created FROM ${this.#table('containers')} WHERE realm = 0`,
        [],
        { serial },
      )
      const versions = new Set(rows.map((row) => Number(row.version)))
      // A long answer comes in pieces: all must be of one version.
      if (versions.size > 1) continue
      const [version = null] = versions
      // An answer that was longer under way than a change of ours is older than what we know.
      if (version !== null && this.#version !== null && version < this.#version) return
      const containers = new Map<number, Known>()
      for (const { id, account_id, name, ttl, created } of rows)
        if (id !== null)
          containers.set(id as number, {
            id: id as number,
            account_id: Number(account_id),
            name: name as string,
            ttl: Number(ttl),
            created: created as number,
          })
      this.#containers = containers
      this.#version = version
      this.#nextId = (rows[0]?.next_id as number | null | undefined) ?? 1
      return
    }
  }

  create({ account_id, name, ttl }: Pick<Container, 'account_id' | 'name' | 'ttl'>): Promise<Known> {
    return this.#change((next, nextId) => {
      this.#refuseTaken(next, account_id, name)
      const made: Known = { id: nextId, account_id, name, ttl, created: Date.now() / 1000 }
      next.set(made.id, made)
      return { statements: [this.#put(made)], nextId: nextId + 1, result: made }
    })
  }

  edit(id: number, fields: Partial<Pick<Container, 'name' | 'ttl'>>): Promise<Known> {
    return this.#change((next, nextId) => {
      const old = this.#known(next, id)
      const made = { ...old, ...fields }
      if (made.name !== old.name) this.#refuseTaken(next, made.account_id, made.name)
      next.set(id, made)
      return {
        statements: [...(made.name === old.name ? [] : [this.#delete(old)]), this.#put(made)],
        nextId,
        result: made,
      }
    })
  }

  async remove(id: number): Promise<void> {
    if (!(await this.get(id))) throw this.#notFound(id)
    // First, so that its pages are found whatever happens; who frees them looks whether the container is really gone.
    await this.#client.write([
      {
        query: `INSERT INTO ${this.#table('removed')} (realm, container, at) VALUES (0, ?, ?)`,
        params: [id, Date.now() / 1000],
      },
    ])
    await this.#change((next, nextId) => {
      const old = this.#known(next, id)
      next.delete(id)
      return { statements: [this.#delete(old)], nextId, result: old }
    })
  }

  #notFound = (id: number) => new ApiError('not_found', `there is no container ${id}`, { id })

  #known(next: Map<number, Known>, id: number): Known {
    const found = next.get(id)
    if (!found) throw this.#notFound(id)
    return found
  }

  #refuseTaken(next: Map<number, Known>, account: number, name: string): void {
    for (const other of next.values())
      if (other.name === name && other.account_id === account)
        throw new ApiError('conflict', `a container named "${name}" exists`, { id: other.id })
  }

  #put({ account_id, name, id, ttl, created }: Known): Statement {
    return {
      query: `INSERT INTO ${this.#table('containers')} (realm, account_id, name, id, ttl, created, mark) VALUES (0, ?, ?, ?, ?, ?, ?)`,
      params: [BigInt(account_id), name, id, BigInt(ttl), created, this.#mark],
    }
  }

  #delete({ account_id, name }: Known): Statement {
    return {
      query: `DELETE FROM ${this.#table('containers')} WHERE realm = 0 AND account_id = ? AND name = ?`,
      params: [BigInt(account_id), name],
    }
  }

  /** Says of the rows of one attempt that they are its own. */
  #mark = ''

  #change(plan: Change['plan']): Promise<Known> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ plan, resolve, reject })
      if (this.#working) return
      this.#working = true
      // Let the changes of this turn of the loop in, too.
      setImmediate(() => void this.#work())
    })
  }

  async #work(): Promise<void> {
    while (this.#queue.length > 0) {
      const group = this.#queue.splice(0, together_max)
      try {
        await this.#try(group)
      } catch (error) {
        for (const change of group) change.reject(error)
      }
    }
    this.#working = false
  }

  async #try(group: Change[]): Promise<void> {
    const end = performance.now() + change_time_max_ms
    // The first attempt goes from what is known: if that is old, the condition tells.
    if (this.#version === null) await this.#read(true)
    let looked = performance.now() - this.#lookedAt < fresh_ms
    for (;;) {
      const next = new Map(this.#containers)
      let nextId = this.#nextId
      this.#mark = randomUUID()
      const statements: Statement[] = []
      const fine: { change: Change; result: Known }[] = []
      const bad: { change: Change; error: unknown }[] = []
      for (const change of group)
        try {
          const planned = change.plan(next, nextId)
          nextId = planned.nextId
          statements.push(...planned.statements)
          fine.push({ change, result: planned.result })
        } catch (error) {
          bad.push({ change, error })
        }
      // What is refused may be so because of what we do not know yet.
      if (bad.length > 0 && !looked) {
        await this.#read(true)
        looked = true
        continue
      }
      const version = (this.#version ?? 0) + 1
      const done = fine.length === 0 || (await this.#swap(version, nextId, statements))
      if (done) {
        if (fine.length > 0) {
          this.#containers = next
          this.#nextId = nextId
          this.#version = version
        }
        for (const { change, result } of fine) change.resolve(result)
        for (const { change, error } of bad) change.reject(error)
        return
      }
      if (performance.now() > end)
        throw new ApiError('unavailable', 'the containers are changed by too many at once; try again')
      await new Promise((after) => setTimeout(after, Math.random() * 50))
      await this.#read(true)
      looked = true
    }
  }

  /** Whether the partition is at `version` now, by this attempt. */
  async #swap(version: number, nextId: number, statements: Statement[]): Promise<boolean> {
    const condition = {
      query: `UPDATE ${this.#table('containers')} SET version = ?, next_id = ? WHERE realm = 0 IF version = ?`,
      params: [BigInt(version), nextId, this.#version === null ? null : BigInt(this.#version)],
    }
    const applied = await this.#client.compareAndSet([condition, ...statements])
    if (applied !== undefined) return applied
    // Nobody knows: what is there tells. A serial read ends what was begun; a row that was put bears our mark, and where
    // all was to go, gone is gone.
    const last = statements.findLast(({ query }) => query.startsWith('INSERT')) ?? statements.at(-1)!
    const [account, name] = last.params as [bigint, string]
    const [row] = await this.#client.run(
      `SELECT version, mark FROM ${this.#table('containers')} WHERE realm = 0 AND account_id = ? AND name = ?`,
      [account, name],
      { serial: true },
    )
    return last.query.startsWith('DELETE') ? row === undefined : row?.mark === this.#mark
  }
}
