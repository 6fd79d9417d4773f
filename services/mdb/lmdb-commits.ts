/** Group commit on LMDB: what is asked while one commit is on its way to the disk shares the next one. */
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

interface Asked extends Work {
  resolve(): void
  reject(error: unknown): void
}

export class Commits {
  readonly #root: RootDatabase<unknown, string>
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

  constructor(root: RootDatabase<unknown, string>, log: Logger, reload: () => void, onEnd: () => void) {
    this.#root = root
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
      return this.#recover(group, error)
    }
    this.count++
    this.ms += performance.now() - began
    for (const { apply } of group) apply?.()
    this.#onEnd()
    for (const { resolve } of group) resolve()
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
    const { message, code } = cause as NodeJS.ErrnoException
    const reason = /no space|ENOSPC|MAP_FULL/i.test(`${message} ${code ?? ''}`)
      ? 'the disk is full: free space, or remove containers or time ranges'
      : `the store cannot write: ${message}`
    for (const { reject } of group) reject(new ApiError('unavailable', reason, { retryAfter: 5, cause }))
  }
}
