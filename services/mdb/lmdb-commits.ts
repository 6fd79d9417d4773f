/** Group commit on LMDB: what is asked while one commit is on its way to the disk shares the next one. */
import { statfsSync } from 'node:fs'
import type { RootDatabase } from 'lmdb'
import type { Logger } from 'pino'
import { ApiError } from '#services/common/errors.ts'

/** A piece of a commit: `prepare` writes, `apply` shows the result once it is durable. */
export interface Work {
  /** Works with the same key are in different commits: each sees what the one before it left. */
  key?: number
  /** Runs within the transaction, without waiting. */
  prepare(): void
  apply?(): void
}

/** A disk with less room than this is full. */
const free_bytes_min = 1024 * 1024
/** lmdb tells the cause of a failed commit in a promise of its own. */
const cause_time_max_ms = 1_000

async function causeOf(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<never> }
  if (!commitError) return error
  const late = new Promise((resolve) => setTimeout(resolve, cause_time_max_ms, error).unref())
  return Promise.race([commitError.catch((cause: unknown) => cause), late])
}

interface Asked extends Work {
  resolve(): void
  reject(error: unknown): void
}

export class Commits {
  readonly #root: RootDatabase<unknown, string>
  readonly #folder: string
  readonly #log: Logger
  /** Called when a commit failed: reads again what is on the disk. */
  readonly #reload: () => void
  /** Called when all works of a commit are applied. */
  readonly #onEnd: () => void
  #asked: Asked[] = []
  #writing: Promise<void> | undefined
  #current: Promise<void> | undefined
  #closed = false
  #damaged: Error | undefined
  /** Durable commits so far, and ms that they took together. */
  count = 0
  ms = 0

  constructor(root: RootDatabase<unknown, string>, folder: string, log: Logger, reload: () => void, onEnd: () => void) {
    this.#root = root
    this.#folder = folder
    this.#log = log
    this.#reload = reload
    this.#onEnd = onEnd
  }

  /** ApiError with the reason why nothing can be written now. */
  check(): void {
    if (this.#closed) throw new ApiError('unavailable', 'the store is closing')
    if (this.#damaged) throw new ApiError('unavailable', this.#damaged.message, { retryAfter: 5 })
  }

  /** Resolves when the work is durable and applied. All works of a commit are stored, or none. */
  commit(work: Work): Promise<void> {
    return new Promise((resolve, reject) => {
      this.check()
      this.#asked.push({ ...work, resolve, reject })
      // Let the works of this turn of the loop in, too.
      this.#writing ??= new Promise<void>((done) => setImmediate(done)).then(() => this.#writeAll())
    })
  }

  /** Resolves when the commit under way, if there is one, has ended. */
  async settled(): Promise<void> {
    await this.#current
  }

  async close(): Promise<void> {
    while (this.#writing) await this.#writing
    this.#closed = true
  }

  async #writeAll(): Promise<void> {
    while (this.#asked.length > 0) {
      const group = this.#take()
      this.#current = this.#write(group)
      await this.#current
    }
    this.#writing = undefined
  }

  #take(): Asked[] {
    const keys = new Set<number>()
    const group: Asked[] = []
    const later: Asked[] = []
    for (const work of this.#asked) {
      const taken = work.key !== undefined && keys.has(work.key)
      if (work.key !== undefined) keys.add(work.key)
      ;(taken ? later : group).push(work)
    }
    this.#asked = later
    return group
  }

  async #write(group: Asked[]): Promise<void> {
    const began = performance.now()
    try {
      let refused: unknown
      await this.#root.batch(() => {
        try {
          for (const work of group) work.prepare()
        } catch (error) {
          refused = error
        }
      })
      if (refused) throw refused
    } catch (error) {
      return this.#recover(group, await causeOf(error))
    }
    this.count++
    this.ms += performance.now() - began
    for (const { apply } of group) apply?.()
    this.#onEnd()
    for (const { resolve } of group) resolve()
  }

  /** LMDB calls a write that had room for a part of it an input/output error. */
  #isFull(message: string): boolean {
    if (/no space|MAP_FULL/i.test(message)) return true
    try {
      const { bavail, bsize } = statfsSync(this.#folder)
      return bavail * bsize < free_bytes_min
    } catch {
      return false
    }
  }

  /** The disk says what is so, not the memory. */
  #recover(group: Asked[], cause: unknown): void {
    this.#log.error({ err: cause }, 'a commit failed')
    this.#damaged = undefined
    try {
      this.#reload()
    } catch (error) {
      this.#damaged = error as Error
    }
    const { message } = cause as Error
    const reason = this.#isFull(message)
      ? 'the disk is full: free space, then writes go on by themselves'
      : `the store cannot write: ${message}`
    for (const { reject } of group) reject(new ApiError('unavailable', reason, { retryAfter: 5, cause }))
  }
}
