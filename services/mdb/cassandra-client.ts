/**
 * The way to a CQL server: patience, a second try on another node, and a clear `unavailable` at once while there is no
 * quorum. Everything is asked of a local quorum; compare-and-set is linearizable within the data centre.
 */
import cassandra from 'cassandra-driver'
import type { Logger } from 'pino'
import { ApiError } from '#services/common/errors.ts'
import type { CassandraConfig } from '#services/common/process.ts'

export interface Statement {
  query: string
  params: unknown[]
}

export type Row = Record<string, unknown>

/** A node that has not answered an idempotent request by then is no longer waited for alone. */
const second_try_ms = 300
const answer_time_max_ms = 3_000
/** All tries of one request together. */
const patience_ms = 4_000
const retry_pause_ms = 100
const connect_tries = 3
const quorum = 2
/** While it is away, it is asked so often whether it is back. */
const probe_every_ms = 500
/** A failure counts for the whole store when nothing went well for so long. */
const well_ms = 1_000
/** Requests on their way, and waiting to be. */
const at_once_max = 192
const waiting_max = 20_000

const { consistencies, responseErrorCodes: codes } = cassandra.types

/** The server's words that mean: not now. */
const not_now = new Set<number>([
  codes.unavailableException,
  codes.overloaded,
  codes.isBootstrapping,
  codes.writeTimeout,
  codes.readTimeout,
  codes.writeFailure,
  codes.readFailure,
])

/** Why a request failed, in words that name no secret. */
function reasonOf(error: unknown): { away: boolean; final: boolean; reason: string } {
  const { name, message, code, innerErrors } = error as Error & { code?: number; innerErrors?: Record<string, Error> }
  if (name === 'NoHostAvailableError') {
    const inner = Object.values(innerErrors ?? {})
    const refused = inner.find(
      (one) => one.name === 'AuthenticationError' || (one as { code?: number }).code === codes.badCredentials,
    )
    if (refused) return { away: true, final: true, reason: `Cassandra refuses user or password: ${refused.message}` }
    const said = inner.map((one) => one.message).find((text) => text)
    return { away: true, final: false, reason: `no node of Cassandra answers${said ? `: ${said}` : ''}` }
  }
  if (name === 'AuthenticationError')
    return { away: true, final: true, reason: `Cassandra refuses user or password: ${message}` }
  if (name === 'OperationTimedOutError' || name === 'BusyConnectionError')
    return { away: true, final: false, reason: `Cassandra does not answer in time: ${message}` }
  if (code === codes.unavailableException)
    return { away: true, final: true, reason: `too few nodes of Cassandra are there for a quorum: ${message}` }
  // A node that could not ask the others for roles says so in other codes.
  if (code !== undefined && (not_now.has(code) || /Operation timed out|Cannot achieve consistency/.test(message)))
    return { away: true, final: false, reason: `Cassandra: ${message}` }
  // A connection that broke while the request was on it.
  if (/^(ECONN|EPIPE|ETIMEDOUT|EHOST)/.test(String(code)) || /socket|connection/i.test(message))
    return { away: true, final: false, reason: `the connection to Cassandra broke: ${message}` }
  return { away: false, final: true, reason: message }
}

export class CassandraClient {
  readonly #config: CassandraConfig
  readonly #log: Logger
  #driver: cassandra.Client
  #closed = false
  #away: string | undefined
  #lastWell = 0
  #atOnce = 0
  readonly #waiting: (() => void)[] = []
  #timer: NodeJS.Timeout | undefined
  /** Requests sent, and how often a request was tried again. */
  requests = 0
  retries = 0

  constructor(config: CassandraConfig, log: Logger) {
    for (const field of ['contact_points', 'datacenter', 'keyspace', 'user', 'password'] as const)
      if (!config?.[field]?.length) throw new Error(`configuration: cassandra.${field} is missing`)
    this.#config = config
    this.#log = log
    this.#driver = this.#makeDriver()
  }

  get keyspace(): string {
    return this.#config.keyspace
  }

  #makeDriver(): cassandra.Client {
    const { contact_points, port = 9_042, datacenter, user, password, ca } = this.#config
    const { policies } = cassandra
    const driver = new cassandra.Client({
      contactPoints: contact_points.map((address) => (address.includes(':') ? address : `${address}:${port}`)),
      protocolOptions: { port },
      localDataCenter: datacenter,
      credentials: { username: user, password },
      ...(ca === undefined ? {} : { sslOptions: { ca: [ca], rejectUnauthorized: true } }),
      queryOptions: {
        consistency: consistencies.localQuorum,
        serialConsistency: consistencies.localSerial,
        prepare: true,
        fetchSize: 5_000,
      },
      policies: {
        reconnection: new policies.reconnection.ConstantReconnectionPolicy(1_000),
        speculativeExecution: new policies.speculativeExecution.ConstantSpeculativeExecutionPolicy(second_try_ms, 2),
        // Which write is later is the servers' to say: compare-and-set uses their clocks, too.
        timestampGeneration: null as never,
      },
      pooling: { heartBeatInterval: 5_000, maxRequestsPerConnection: 2_048, warmup: true },
      socketOptions: { connectTimeout: 2_000, readTimeout: answer_time_max_ms, tcpNoDelay: true },
      encoding: { useBigIntAsLong: true },
      monitorReporting: { enabled: false },
    })
    driver.on('log', (level: string, place: string, message: string) => {
      if (level === 'error') this.#log.warn({ place }, `cassandra: ${message}`)
      else if (level === 'warning') this.#log.debug({ place }, `cassandra: ${message}`)
    })
    return driver
  }

  /** Connects; a second call after a failure tries anew. */
  async connect(): Promise<void> {
    for (let n = 1; ; n++) {
      try {
        await this.#driver.connect()
        this.#lastWell = performance.now()
        return
      } catch (error) {
        void this.#driver.shutdown().catch(() => {})
        this.#driver = this.#makeDriver()
        const { final, reason } = reasonOf(error)
        if (final || n === connect_tries || this.#closed) throw this.#unavailable(reason, error)
      }
    }
  }

  #unavailable(reason: string, cause?: unknown): ApiError {
    return new ApiError('unavailable', `the store is away: ${reason}`, { retryAfter: 1, cause })
  }

  /** Waits for its turn; too many that wait: `unavailable` at once. */
  async #turn(): Promise<void> {
    if (this.#closed) throw new ApiError('unavailable', 'the store is closing')
    if (this.#away !== undefined) throw this.#unavailable(this.#away)
    if (this.#atOnce < at_once_max) {
      this.#atOnce++
      return
    }
    if (this.#waiting.length >= waiting_max)
      throw new ApiError('unavailable', 'the store is slower than its writers: too much waits for it')
    // Whoever ends hands its turn over.
    await new Promise<void>((go) => this.#waiting.push(go))
    if (this.#away === undefined) return
    this.#over()
    throw this.#unavailable(this.#away)
  }

  #over(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#atOnce--
  }

  /** One request with its tries. What is idempotent is tried again while there is time; else the caller is told at once. */
  async #ask<T>(work: () => Promise<T>, idempotent: boolean): Promise<T> {
    await this.#turn()
    const end = performance.now() + patience_ms
    try {
      for (;;) {
        this.requests++
        try {
          const answer = await work()
          this.#lastWell = performance.now()
          return answer
        } catch (error) {
          const { away, final, reason } = reasonOf(error)
          if (!away) throw error
          if (this.#away !== undefined) throw this.#unavailable(this.#away, error)
          if (!idempotent || final || this.#alone() || performance.now() + retry_pause_ms > end) {
            // One time-out of a compare-and-set says little: the read that follows it will tell.
            if ((idempotent || final) && performance.now() - this.#lastWell > well_ms) this.#goAway(reason)
            throw this.#unavailable(reason, error)
          }
          this.retries++
          await new Promise((after) => setTimeout(after, retry_pause_ms))
        }
      }
    } finally {
      this.#over()
    }
  }

  /** Whether there are connections to fewer nodes than two of three copies need. */
  #alone(): boolean {
    return this.#driver.hosts.values().filter((host) => host.isUp()).length < quorum
  }

  /** From now on all fails at once, until a probe goes well. */
  #goAway(reason: string): void {
    if (this.#away !== undefined || this.#closed) return
    this.#away = reason
    this.#log.warn({ reason }, 'Cassandra is away: writers and readers are told so at once')
    const began = performance.now()
    const probe = async () => {
      try {
        await this.#driver.execute(`SELECT version FROM ${this.keyspace}.containers WHERE realm = 0 LIMIT 1`, [], {
          isIdempotent: true,
        })
        this.#away = undefined
        this.#lastWell = performance.now()
        this.#log.info({ away_ms: Math.round(performance.now() - began) }, 'Cassandra is back')
      } catch {
        if (!this.#closed) this.#timer = setTimeout(probe, probe_every_ms)
      }
    }
    this.#timer = setTimeout(probe, probe_every_ms)
  }

  /** Rows of an idempotent statement. `serial`: after all compare-and-sets that began before it. */
  async run(query: string, params: unknown[] = [], { serial = false } = {}): Promise<Row[]> {
    const options = {
      isIdempotent: true,
      ...(serial ? { consistency: consistencies.localSerial as number } : {}),
    }
    return this.#ask(async () => {
      const result = await this.#driver.execute(query, params, options)
      const rows = [...(result.rows ?? [])] as unknown as Row[]
      for (let state = result.pageState; state; ) {
        const more = await this.#driver.execute(query, params, { ...options, pageState: state })
        rows.push(...(more.rows as unknown as Row[]))
        state = more.pageState
      }
      return rows
    }, true)
  }

  /** Statements of one partition as one write: all of it on a node, or nothing. */
  async write(statements: Statement[]): Promise<void> {
    if (statements.length === 0) return
    await this.#ask(async () => {
      const [only] = statements
      if (statements.length === 1) await this.#driver.execute(only!.query, only!.params, { isIdempotent: true })
      else await this.#driver.batch(statements, { logged: false, isIdempotent: true })
    }, true)
  }

  /** Statements of one partition, applied if all their conditions hold. `undefined`: nobody knows whether they were. */
  async compareAndSet(statements: Statement[]): Promise<boolean | undefined> {
    try {
      return await this.#ask(async () => {
        const [only] = statements
        const result =
          statements.length === 1
            ? await this.#driver.execute(only!.query, only!.params, { isIdempotent: false })
            : await this.#driver.batch(statements, { logged: false, isIdempotent: false })
        return result.wasApplied()
      }, false)
    } catch (error) {
      const { code } = ((error as ApiError).cause ?? {}) as { code?: number }
      // Too few nodes: it was not even begun.
      if (!(error instanceof ApiError) || error.cause === undefined || code === codes.unavailableException) throw error
      return undefined
    }
  }

  /** A statement that changes the schema; done when all nodes that are there know it. */
  async define(statement: string): Promise<void> {
    await this.#ask(() => this.#driver.execute(statement, [], { prepare: false, readTimeout: 60_000 }), false)
  }

  /** Whether all nodes that are there have the same tables. */
  agrees(): Promise<boolean> {
    // Not among the driver's published types.
    return (this.#driver.metadata as unknown as { checkSchemaAgreement(): Promise<boolean> }).checkSchemaAgreement()
  }

  /** Asks each node that is there; for tables that each has of its own. */
  async each(query: string, params: unknown[]): Promise<Row[]> {
    const rows: Row[] = []
    for (const host of this.#driver.hosts.values())
      if (host.isUp()) {
        const options = { host, prepare: false, consistency: consistencies.one as number }
        rows.push(...((await this.#driver.execute(query, params, options)).rows as unknown as Row[]))
      }
    return rows
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#driver.shutdown()
  }
}
