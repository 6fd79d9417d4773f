/** Writers and readers of MDB's store with a ledger: what was acknowledged must be there afterwards, once. */
import { createHash } from 'node:crypto'
import { ApiError } from '#services/common/errors.ts'
import type { CassandraStore } from '#services/mdb/cassandra-store.ts'
import { patiently } from '#services/mdb/patiently.ts'
import { type NewPage, newPageId, type PageHead } from '#services/mdb/store.ts'

/** A refused writer comes back after so long. */
const refused_pause_ms = 20
/** Bytes of a page: below and above what lies with its head. */
const small_bytes = 600
const large_bytes = 20_000
const large_every = 10

/** Bytes that follow from the id, so that a reader can tell whether they are the ones. */
export function contentOf(id: string, size: number): Buffer {
  const seed = createHash('sha256').update(id).digest()
  return Buffer.alloc(size, seed)
}

export function testPage(container: number, day: number, size: number, kind: PageHead['kind'] = 'rows'): NewPage {
  const id = newPageId()
  const from = day * 86_400
  const head = { container, day, id, kind, from, to: from + 1, records: 1, json_bytes: size, size }
  return { head, bytes: contentOf(id, size) }
}

export interface Answer {
  /** ms of the process's clock at the answer, and how long it took. */
  at: number
  took: number
  fine: boolean
}

export interface Figures {
  written: number
  refused: number
  reads: number
  /** Longest time without an acknowledged write, longest time to an answer of any kind; ms. */
  gap_ms: number
  slowest_ms: number
  median_ms: number
}

export class Workload {
  readonly #stores: readonly CassandraStore[]
  readonly #containers: readonly number[]
  readonly #days: readonly number[]
  readonly #acknowledged: PageHead[] = []
  readonly #answers: Answer[] = []
  #reads = 0
  #running = false
  #loops: Promise<void>[] = []

  constructor(stores: readonly CassandraStore[], containers: readonly number[], days: readonly number[]) {
    this.#stores = stores
    this.#containers = containers
    this.#days = days
  }

  get acknowledged(): number {
    return this.#acknowledged.length
  }

  start(writers: number, readers: number): void {
    this.#running = true
    const loop = async (n: number, work: (n: number, turn: number) => Promise<void>) => {
      for (let turn = 0; this.#running; turn++) await work(n, turn)
    }
    this.#loops = [
      ...Array.from({ length: writers }, (_, n) => loop(n, (...args) => this.#write(...args))),
      ...Array.from({ length: readers }, (_, n) => loop(n, (...args) => this.#read(...args))),
    ]
    for (const one of this.#loops) one.catch(() => (this.#running = false))
  }

  async stop(): Promise<void> {
    this.#running = false
    await Promise.all(this.#loops)
  }

  #pick<T>(items: readonly T[], n: number): T {
    return items[n % items.length]!
  }

  /** One request, timed; `unavailable` is an answer, anything else a failure of the test. */
  async #timed(work: () => Promise<void>): Promise<boolean> {
    const began = performance.now()
    const answer = (fine: boolean) => {
      const at = performance.now()
      this.#answers.push({ at, took: at - began, fine })
      return fine
    }
    try {
      await work()
      return answer(true)
    } catch (error) {
      if (!(error instanceof ApiError) || error.kind !== 'unavailable') throw error
      answer(false)
      await new Promise((after) => setTimeout(after, refused_pause_ms))
      return false
    }
  }

  async #write(n: number, turn: number): Promise<void> {
    const store = this.#pick(this.#stores, n)
    const pages = [0, 1].map((i) =>
      testPage(
        this.#pick(this.#containers, turn + i * 3),
        this.#pick(this.#days, turn + n),
        turn % large_every === 0 ? large_bytes : small_bytes,
      ),
    )
    if (await this.#timed(() => store.insert(pages))) this.#acknowledged.push(...pages.map(({ head }) => head))
  }

  /** What was acknowledged before a read began is in its answer: some of the last ones are looked for by another process. */
  async #read(n: number, turn: number): Promise<void> {
    const last = this.#acknowledged.at(-1 - (turn % 7))
    if (!last) return void (await new Promise((after) => setTimeout(after, 10)))
    const store = this.#pick(this.#stores, n + 1)
    try {
      const [bytes] = await store.load([last])
      if (!bytes?.equals(contentOf(last.id, last.size)))
        throw new Error(`page ${last.id} was acknowledged and a read does not find it`)
      this.#reads++
    } catch (error) {
      if (!(error instanceof ApiError) || error.kind !== 'unavailable') throw error
      await new Promise((after) => setTimeout(after, refused_pause_ms))
    }
    await new Promise((after) => setTimeout(after, 5))
  }

  /** Figures since the last call. */
  figures(began: number): Figures {
    const answers = this.#answers.splice(0)
    const took = answers.map((one) => one.took).sort((a, b) => a - b)
    let [gap, last] = [0, began]
    for (const { at } of answers.filter(({ fine }) => fine)) {
      gap = Math.max(gap, at - last)
      last = at
    }
    gap = Math.max(gap, performance.now() - last)
    const reads = this.#reads
    this.#reads = 0
    return {
      written: answers.filter(({ fine }) => fine).length,
      refused: answers.filter(({ fine }) => !fine).length,
      reads,
      gap_ms: gap,
      slowest_ms: took.at(-1) ?? 0,
      median_ms: took[took.length >> 1] ?? 0,
    }
  }

  /** Compares ledger and store; gives what is missing or other than it was written. */
  async missing(): Promise<string[]> {
    const missing: string[] = []
    const [store] = this.#stores
    for (const container of this.#containers)
      for (const day of this.#days) {
        const mine = this.#acknowledged.filter((head) => head.container === container && head.day === day)
        const heads = new Set((await patiently(() => store!.heads(container, day))).map(({ id }) => id))
        const bytes = await patiently(() => store!.load(mine))
        for (const [i, { id, size }] of mine.entries())
          if (!heads.has(id) || !bytes[i]?.equals(contentOf(id, size))) missing.push(id)
      }
    return missing
  }
}
