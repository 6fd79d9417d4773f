import pg from 'pg'
import type { Logger } from 'pino'
import { ApiError } from './errors.ts'
import type { PostgresConfig } from './process.ts'

/** One step of a schema: applied once, in order, in a transaction. Ids only grow. */
export interface Migration {
  id: number
  name: string
  sql: string
}

// bigint ids and counts stay below 2^53; as numbers they serialise as the guidelines want.
pg.types.setTypeParser(20, Number)
pg.types.setTypeParser(1700, Number)

const connect_time_max_ms = 3_000
const statement_time_max_ms = 15_000

/** Errors that say "PostgreSQL is away or going", not "the statement is wrong". */
function isAway(error: unknown): boolean {
  const e = error as { code?: string; message?: string }
  if (e.code !== undefined && /^(08|57P|53|ECONN|EPIPE|ETIMEDOUT|EAI_)/.test(e.code)) return true
  return /terminated|timeout|Connection/i.test(e.message ?? '') && (e.code === undefined || e.code.length !== 5)
}

/** PostgreSQL through `pg`: errors of the connection become ApiError `unavailable`, all others stay pg's. */
export class Db {
  readonly #pool: pg.Pool

  constructor(config: PostgresConfig, log: Logger, connections_max = 4) {
    this.#pool = new pg.Pool({
      ...config,
      max: connections_max,
      connectionTimeoutMillis: connect_time_max_ms,
      statement_timeout: statement_time_max_ms,
      idleTimeoutMillis: 30_000,
      application_name: 'milepost',
    })
    this.#pool.on('error', (error) => log.warn({ reason: error.message }, 'a connection to PostgreSQL broke'))
  }

  /** Rows of one statement. */
  async query<T extends pg.QueryResultRow = Record<string, unknown>>(
    sql: string,
    values: unknown[] = [],
  ): Promise<T[]> {
    try {
      return (await this.#pool.query<T>(sql, values)).rows
    } catch (error) {
      throw isAway(error)
        ? new ApiError('unavailable', `PostgreSQL is away: ${(error as Error).message}`, { cause: error })
        : error
    }
  }

  /** Runs `work` in one transaction; rolled back when it throws. */
  async transaction<T>(work: (query: Db['query']) => Promise<T>): Promise<T> {
    let client: pg.PoolClient | undefined
    let broken: Error | undefined
    try {
      client = await this.#pool.connect()
      const connection = client
      await connection.query('begin')
      const value = await work(async (sql, values = []) => (await connection.query(sql, values)).rows as never)
      await connection.query('commit')
      return value
    } catch (error) {
      broken = isAway(error) ? (error as Error) : undefined
      if (client && !broken) await client.query('rollback').catch((e: Error) => (broken = e))
      throw isAway(error)
        ? new ApiError('unavailable', `PostgreSQL is away: ${(error as Error).message}`, { cause: error })
        : error
    } finally {
      client?.release(broken)
    }
  }

  /** Applies what is missing of a system's migrations. Safe when several processes start at once. */
  async migrate(system: string, migrations: readonly Migration[]): Promise<number> {
    return this.transaction(async (query) => {
      await query('select pg_advisory_xact_lock(hashtext($1))', ['milepost migrations'])
      await query(
        'create table if not exists migrations (system text, id int, name text not null, applied timestamptz not null default now(), primary key (system, id))',
      )
      const done = await query<{ id: number }>('select id from migrations where system = $1', [system])
      const ids = new Set(done.map((row) => row.id))
      const missing = migrations.filter((migration) => !ids.has(migration.id)).sort((a, b) => a.id - b.id)
      for (const migration of missing) {
        await query(migration.sql)
        await query('insert into migrations (system, id, name) values ($1, $2, $3)', [
          system,
          migration.id,
          migration.name,
        ])
      }
      return missing.length
    })
  }

  /** Waits until PostgreSQL answers; rejects after `time_max_ms` with the last reason. */
  async waitUntilReady(time_max_ms = 60_000): Promise<void> {
    const end = Date.now() + time_max_ms
    for (;;) {
      try {
        await this.query('select 1')
        return
      } catch (error) {
        if (Date.now() > end) throw error
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
    }
  }

  async close(): Promise<void> {
    await this.#pool.end()
  }
}

/** The pg error code of a violated unique constraint, for 409 answers. */
export function isUniqueViolation(error: unknown): boolean {
  return (error as { code?: string }).code === '23505'
}
