import type { Logger } from 'pino'
import { call } from '#services/common/client.ts'
import { ApiError } from '#services/common/errors.ts'
import type { Message } from '#services/mdb/page.ts'
import { encodeBody, encodeRows, rows_type } from '#services/mdb/rows.ts'

/** How the store took an entry: only `stored` may be acknowledged. */
export type Outcome = 'stored' | 'refused' | 'away'

/** The messages of one packet; stored together or not at all. */
export interface Entry {
  /** Container ids that each message goes to. */
  containers: number[]
  messages: Message[]
  /** Bytes of the messages as JSON. */
  bytes: number
  settle(outcome: Outcome): void
}

interface Waiting {
  entry: Entry
  /** ms; when it came. */
  since: number
}

export interface WriterOptions {
  /** MDB's address. */
  url: string
  token: string
  log: Logger
  /** Called after each commit: messages of the batch, ms it took, new records by container. */
  onStored(messages: number, ms: number, stored: Map<number, number>): void
  /** Called when it takes entries again after it was full. */
  onDrain(): void
}

/** One request's worth: larger ones gain nothing and hold the answers up. */
const batch_bytes_max = 2 * 1024 * 1024
/** MDB takes so many containers in one request. */
const batch_entries_max = 4_000
/** While MDB syncs one batch it parses the next. */
const in_flight_max = 2
/** Beyond this devices are made to wait: their connections are not read. */
const waiting_bytes_max = 32 * 1024 * 1024
/** A device gets no answer for so long at most; then its connection is closed and it sends again. */
const store_time_max_ms = 10_000
/** Batches that waited behind a frozen MDB get one short try. */
const attempt_min_ms = 1_000
const retry_first_ms = 50
const retry_max_ms = 1_000

/** Group commit: entries gather while batches are on their way to MDB. */
export class Writer {
  readonly #options: WriterOptions
  #waiting: Waiting[] = []
  #waitingBytes = 0
  #inFlight = 0
  #scheduled = false
  #wasFull = false
  #idle: (() => void)[] = []

  constructor(options: WriterOptions) {
    this.#options = options
  }

  /** Bytes that came and are not settled. */
  get bytes(): number {
    return this.#waitingBytes
  }

  get full(): boolean {
    return this.#waitingBytes >= waiting_bytes_max
  }

  add(entry: Entry): void {
    this.#waiting.push({ entry, since: Date.now() })
    this.#waitingBytes += entry.bytes
    if (this.full) this.#wasFull = true
    if (this.#scheduled) return
    this.#scheduled = true
    // Let the other connections of this turn of the loop in, too.
    setImmediate(() => this.#pump())
  }

  /** Resolves when nothing waits. */
  async idle(): Promise<void> {
    if (this.#waiting.length === 0 && this.#inFlight === 0) return
    await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  #pump(): void {
    this.#scheduled = false
    while (this.#waiting.length > 0 && this.#inFlight < in_flight_max) {
      const batch = this.#takeBatch()
      this.#inFlight++
      void this.#write(batch).finally(() => {
        this.#inFlight--
        for (const { entry } of batch) this.#waitingBytes -= entry.bytes
        if (this.#wasFull && this.#waitingBytes < waiting_bytes_max / 2) {
          this.#wasFull = false
          this.#options.onDrain()
        }
        this.#pump()
        if (this.#inFlight === 0) for (const resolve of this.#idle.splice(0)) resolve()
      })
    }
  }

  #takeBatch(): Waiting[] {
    let bytes = 0
    let count = 0
    for (const { entry } of this.#waiting) {
      if (count > 0 && (bytes + entry.bytes > batch_bytes_max || count === batch_entries_max)) break
      bytes += entry.bytes
      count++
    }
    return this.#waiting.splice(0, count)
  }

  /** Stores a batch; tries again while MDB is away; halves it when MDB refuses it, to find the entry that is at fault. */
  async #write(batch: Waiting[]): Promise<void> {
    const end = (batch[0]?.since ?? 0) + store_time_max_ms
    let wait_ms = retry_first_ms
    for (;;) {
      const outcome = await this.#attempt(batch, Math.max(attempt_min_ms, end - Date.now()))
      if (outcome === 'refused' && batch.length > 1) {
        const half = batch.length >> 1
        await this.#write(batch.slice(0, half))
        return this.#write(batch.slice(half))
      }
      if (outcome !== 'away' || Date.now() + wait_ms > end) {
        for (const { entry } of batch) entry.settle(outcome)
        return
      }
      await new Promise((resolve) => setTimeout(resolve, wait_ms))
      wait_ms = Math.min(wait_ms * 2, retry_max_ms)
    }
  }

  async #attempt(batch: Waiting[], timeout_ms: number): Promise<Outcome> {
    const { url, token, log, onStored } = this.#options
    const began = performance.now()
    const { raw, type, messages } = serialise(batch)
    try {
      const answer = await call<{ container: number; stored: number }>('POST', `${url}/mdb/records`, {
        token,
        raw,
        type,
        timeout_ms,
      })
      if (answer.status === 200) {
        const stored = new Map(answer.result.map((item) => [item.container, item.stored]))
        onStored(messages, performance.now() - began, stored)
        return 'stored'
      }
      const reason = answer.errors[0]?.reason
      log.warn({ status: answer.status, reason, messages }, 'MDB did not store a batch')
      return [400, 404, 413].includes(answer.status) ? 'refused' : 'away'
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      log.warn({ reason: error.message, messages }, 'MDB is away')
      return 'away'
    }
  }
}

/** The body of `POST /mdb/records`: rows, a block for each container. What rows cannot hold (NaN) becomes null, as JSON has it. */
function serialise(batch: Waiting[]): { raw: string | Buffer; type: string; messages: number } {
  const groups = new Map<number, Message[]>()
  let count = 0
  for (const { entry } of batch) {
    const { messages } = entry
    count += messages.length
    for (const container of entry.containers) {
      const group = groups.get(container)
      if (group) for (const message of messages) group.push(message)
      else groups.set(container, [...messages])
    }
  }
  try {
    const blocks = [...groups].map(([container, messages]) => ({ container, bytes: encodeRows(messages) }))
    return { raw: encodeBody(blocks), type: rows_type, messages: count }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    const raw = JSON.stringify([...groups].map(([container, records]) => ({ container, records })))
    return { raw, type: 'application/json', messages: count }
  }
}
