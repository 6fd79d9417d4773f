import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import type { Db } from '#services/common/db.ts'
import type { Authority } from './authority.ts'

const flush_every_ms = 1_000

interface Count {
  account: number
  day: string
  requests: number
  bytes_in: number
  bytes_out: number
}

/** Requests and bytes on the wire per account and UTC day, added to PostgreSQL each second. */
export class Utilisation {
  readonly #db: Db
  readonly #authority: Authority
  readonly #log: Logger
  readonly #counts = new Map<string, Count>()
  /** What a kept-alive connection had carried when its last request ended. */
  readonly #carried = new WeakMap<Socket, { read: number; written: number }>()
  #flushing: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(db: Db, authority: Authority, log: Logger) {
    this.#db = db
    this.#authority = authority
    this.#log = log
  }

  /** Counts the requests of an application from now on. */
  watch(app: FastifyInstance): void {
    app.addHook('onResponse', async (request) => {
      const { socket } = request.raw
      const before = this.#carried.get(socket) ?? { read: 0, written: 0 }
      this.#carried.set(socket, { read: socket.bytesRead, written: socket.bytesWritten })
      if (request.account === undefined) return
      this.#add({
        account: request.account,
        day: new Date().toISOString().slice(0, 10),
        requests: 1,
        bytes_in: socket.bytesRead - before.read,
        bytes_out: socket.bytesWritten - before.written,
      })
    })
    this.#timer = setInterval(() => {
      this.flush().catch((error) => this.#log.warn({ reason: error.message }, 'counters wait for PostgreSQL'))
    }, flush_every_ms)
  }

  #add(count: Count): void {
    const key = `${count.account} ${count.day}`
    const sum = this.#counts.get(key)
    if (!sum) return void this.#counts.set(key, count)
    sum.requests += count.requests
    sum.bytes_in += count.bytes_in
    sum.bytes_out += count.bytes_out
  }

  /** Writes what was counted; on failure it stays for the next time. */
  async flush(): Promise<void> {
    await this.#flushing?.catch(() => {})
    this.#flushing = this.#write()
    await this.#flushing
  }

  async #write(): Promise<void> {
    const counts = [...this.#counts.values()]
    const used = this.#authority.takeUsed()
    this.#counts.clear()
    try {
      if (counts.length > 0) {
        // An account may have been removed meanwhile: its counts go with it.
        await this.#db.query(
          `insert into counters (account_id, day, requests, bytes_in, bytes_out)
           select c.account, c.day, c.requests, c.bytes_in, c.bytes_out
           from jsonb_to_recordset($1::jsonb) as c(account bigint, day text, requests bigint, bytes_in bigint, bytes_out bigint)
           where exists (select from accounts a where a.id = c.account)
           on conflict (account_id, day) do update set requests = counters.requests + excluded.requests,
             bytes_in = counters.bytes_in + excluded.bytes_in, bytes_out = counters.bytes_out + excluded.bytes_out`,
          [JSON.stringify(counts)],
        )
      }
    } catch (error) {
      for (const count of counts) this.#add(count)
      throw error
    }
    if (used.length === 0) return
    await this.#db.query(
      `update tokens t set last_used = u.at
       from (select unnest($1::bigint[]) as id, unnest($2::float8[]) as at) u where t.id = u.id`,
      [used.map(([id]) => id), used.map(([, at]) => at)],
    )
  }

  /** Stops and writes the rest. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.flush()
  }
}
