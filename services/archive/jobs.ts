/** Works that last: one after the other, each with its progress. They are forgotten when the process ends; the files tell. */
import type { Logger } from 'pino'
import { ApiError, toApiError } from '#services/common/errors.ts'

export const kinds = ['export', 'verify', 'restore'] as const

export interface Job {
  id: number
  kind: (typeof kinds)[number]
  /** Days that it is about, both included; null: all. */
  from_day: string | null
  to_day: string | null
  container: number | null
  status: 'waiting' | 'running' | 'done' | 'failed'
  progress: string
  /** s since 1970 UTC. */
  began: number | null
  ended: number | null
  /** What it did. */
  outcome: unknown
}

export type Wanted = Pick<Job, 'kind'> & Partial<Pick<Job, 'from_day' | 'to_day' | 'container'>>

/** So many are remembered; and so many may wait. */
const jobs_max = 100
const waiting_max = 20

export class Jobs {
  readonly #run: (job: Job, tell: (text: string) => void) => Promise<unknown>
  readonly #log: Logger
  #jobs: Job[] = []
  #next = 1
  #last: Promise<void> = Promise.resolve()

  constructor(run: (job: Job, tell: (text: string) => void) => Promise<unknown>, log: Logger) {
    this.#run = run
    this.#log = log
  }

  list(): Job[] {
    return this.#jobs
  }

  add(wanted: Wanted): Job {
    if (this.#jobs.filter(({ status }) => status === 'waiting').length >= waiting_max)
      throw new ApiError('limit', `${waiting_max} jobs wait already`)
    const { kind, from_day = null, to_day = null, container = null } = wanted
    const job: Job = {
      id: this.#next++,
      ...{ kind, from_day, to_day, container },
      status: 'waiting',
      progress: '',
      began: null,
      ended: null,
      outcome: null,
    }
    this.#jobs = [...this.#jobs, job].slice(-jobs_max)
    this.#last = this.#last.then(() => this.#work(job))
    return job
  }

  /** Resolves when the job has ended. */
  async ended(job: Job): Promise<Job> {
    while (job.ended === null) await this.#last
    return job
  }

  async #work(job: Job): Promise<void> {
    job.status = 'running'
    job.began = Date.now() / 1000
    try {
      job.outcome = await this.#run(job, (text) => (job.progress = text))
      job.status = 'done'
      this.#log.info({ job }, 'a job is done')
    } catch (error) {
      job.status = 'failed'
      // What was thrown by our own code says what to do; a name of a file in it is meant for the one who asked.
      job.outcome = { reason: error instanceof Error ? error.message : toApiError(error).message }
      this.#log.error({ err: error, job }, 'a job failed')
    }
    job.ended = Date.now() / 1000
  }
}
