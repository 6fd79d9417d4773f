/** What the jobs do: a range of a container copied into another one, or published on MQTT at a chosen speed. */
import { setTimeout as wait } from 'node:timers/promises'
import { ApiError } from '#services/common/errors.ts'
import type { Engine } from './engine.ts'
import type { Job } from './jobs.ts'
import { openPage } from './page.ts'
import type { Container } from './store.ts'

/** A copy waits so long, and so often in a row, for a store that is slow. */
const retry_ms = 500
const retries_max = 120
/** Records published at once before a replay looks at the clock again. */
const burst_max = 200
/** A replay does not look at less than this, ms. */
const tick_ms = 5
/** Longest wait in one piece: a replay that is stopped ends at once anyway, this bounds the timer. */
const wait_max_ms = 60_000

/** Publishes on MBUS; resolves when the bus took it. `retain` for what tells whose a container is. */
export type Publish = (topic: string, value: unknown, retain?: boolean) => Promise<void>

interface Span {
  from: number
  to: number
}

export async function copyRange(
  engine: Engine,
  job: Job,
  details: Span & { target: number; stored: number; duplicates: number },
  signal: AbortSignal,
): Promise<void> {
  const { target, from, to } = details
  for await (const bytes of engine.blocks(job.container, { from, to })) {
    const page = openPage(bytes)
    for (let retries = 0; ; retries++) {
      if (signal.aborted) return
      try {
        const [answer] = await engine.append([{ container: target, page, bytes, sent: page.records }])
        details.stored += answer?.stored ?? 0
        details.duplicates += answer?.duplicates ?? 0
        break
      } catch (error) {
        const slow = error instanceof ApiError && error.kind === 'unavailable' && retries < retries_max
        if (!slow) throw error
        await wait(retry_ms, undefined, { signal })
      }
    }
    job.records += page.records
    job.at = page.to
  }
}

export async function replayRange(
  engine: Engine,
  container: Container,
  job: Job,
  details: Span & { topic: string; speed: number; fields?: string[] | undefined },
  publish: Publish,
  signal: AbortSignal,
): Promise<void> {
  const { topic, speed, from, to, fields } = details
  const { id, account_id, name } = container
  // The broker hands messages on to those whose account owns what they are of.
  await publish(`milepost/state/mdb/containers/${id}/config`, { id, account_id, name }, true)
  let first: number | undefined
  const began = performance.now()
  let burst = 0
  for await (const batch of engine.read(container.id, { from, to, fields })) {
    for (const message of batch) {
      first ??= message.timestamp
      const due = began + ((message.timestamp - first) / speed) * 1000
      for (;;) {
        if (signal.aborted) return
        const ahead = due - performance.now()
        if (ahead <= tick_ms && burst < burst_max) break
        burst = 0
        await wait(Math.max(0, Math.min(ahead, wait_max_ms)), undefined, { signal })
        if (ahead <= tick_ms) break
      }
      burst++
      await publish(topic, message)
      job.records++
      job.at = message.timestamp
    }
  }
}
