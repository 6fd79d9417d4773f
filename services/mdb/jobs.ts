/** Long works on request: copies and replays. They live as long as the process, the last ones that ended are remembered. */
import type { Logger } from 'pino'
import { ApiError } from '#services/common/errors.ts'

/** At work at once, for all accounts and for one. */
const running_max = 32
const running_of_account_max = 8
const ended_kept = 200

export interface Job {
  id: number
  kind: 'copy' | 'replay'
  /** Container that is read. */
  container: number
  account_id: number
  state: 'running' | 'done' | 'stopped' | 'failed'
  /** s since 1970 UTC. */
  started: number
  ended?: number
  /** Timestamp reached, s. */
  at?: number
  records: number
  reason?: string
  /** What the kind says of itself. */
  details: Record<string, unknown>
}

export class Jobs {
  readonly #log: Logger
  readonly #jobs = new Map<number, { job: Job; abort: AbortController; done: Promise<void> }>()
  #next_id = 1

  constructor(log: Logger) {
    this.#log = log
  }

  list(kind: Job['kind']): Job[] {
    return [...this.#jobs.values()].map(({ job }) => job).filter((job) => job.kind === kind)
  }

  start(
    what: Pick<Job, 'kind' | 'container' | 'account_id' | 'details'>,
    work: (job: Job, signal: AbortSignal) => Promise<void>,
  ): Job {
    const running = [...this.#jobs.values()].filter(({ job }) => job.state === 'running')
    const own = running.filter(({ job }) => job.account_id === what.account_id)
    if (running.length >= running_max || own.length >= running_of_account_max)
      throw new ApiError('limit', `${own.length} copies and replays run already: wait, or DELETE one`, {
        retryAfter: 10,
      })
    const job: Job = { id: this.#next_id++, ...what, state: 'running', started: Date.now() / 1000, records: 0 }
    const abort = new AbortController()
    const done = work(job, abort.signal).then(
      () => this.#end(job, abort.signal.aborted ? 'stopped' : 'done'),
      (error: Error) => {
        if (abort.signal.aborted) return this.#end(job, 'stopped')
        this.#log.warn({ job: job.id, kind: job.kind, reason: error.message }, 'a job failed')
        job.reason = error.message
        this.#end(job, 'failed')
      },
    )
    this.#jobs.set(job.id, { job, abort, done })
    return job
  }

  #end(job: Job, state: Job['state']): void {
    job.state = state
    job.ended = Date.now() / 1000
    const ended = [...this.#jobs.values()].filter(({ job }) => job.state !== 'running')
    for (const { job } of ended.slice(0, -ended_kept)) this.#jobs.delete(job.id)
  }

  /** Stops a job, and forgets it. */
  async stop(id: number): Promise<void> {
    const found = this.#jobs.get(id)
    if (!found) return
    found.abort.abort()
    await found.done
    this.#jobs.delete(id)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#jobs.keys()].map((id) => this.stop(id)))
  }
}
