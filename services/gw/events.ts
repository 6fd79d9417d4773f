import type { Logger } from 'pino'
import type { Bus } from '#services/common/bus.ts'
import { call } from '#services/common/client.ts'
import { ApiError } from '#services/common/errors.ts'
import type { Channel } from './model.ts'

export interface ChannelEvent {
  /** `listen`, `connect`, `login`, `command`, `answer` (to a command), `error`, `drop` (a datagram thrown away unread), `close`. */
  event: string
  transport?: 'tcp' | 'udp'
  peer?: string
  /** Id of the connection. */
  connection?: number
  ident?: string
  code?: number | string
  messages?: number
  bytes?: number
  reason?: string
  /** Of a command, and what the device said to it. */
  name?: string
  text?: string
}

/** Records of one kind in one channel's log in a second: a flood of bad connections must neither fill the store nor hide the rest. */
const events_per_second_max = 50
/** Records that wait while MDB is away; beyond it the newest are dropped and counted. */
const waiting_max = 10_000
const flush_every_ms = 500

interface Recorded {
  container: number
  record: Record<string, unknown>
}

/** What happens on channels, for users: on the bus at once, in the channel's log in batches. Best effort. */
export class Events {
  readonly #bus: Bus
  readonly #options: { mdb: string; token: string; instance: string; log: Logger }
  /** Of this second, by channel and kind of event. */
  readonly #second = new Map<string, { channel: Channel; kind: object; count: number; suppressed: number }>()
  #waiting: Recorded[] = []
  #flushing: Promise<void> | undefined
  readonly #timers: NodeJS.Timeout[]
  dropped = 0

  constructor(bus: Bus, options: { mdb: string; token: string; instance: string; log: Logger }) {
    this.#bus = bus
    this.#options = options
    this.#timers = [setInterval(() => void this.flush(), flush_every_ms), setInterval(() => this.#nextSecond(), 1_000)]
  }

  emit(channel: Channel, event: ChannelEvent): void {
    const kind = event.code === undefined ? { of: event.event } : { of: event.event, code: event.code }
    const key = `${channel.id}/${event.event}/${event.code}`
    let second = this.#second.get(key)
    if (!second) this.#second.set(key, (second = { channel, kind, count: 0, suppressed: 0 }))
    if (++second.count > events_per_second_max) second.suppressed++
    else this.#record(channel, event)
  }

  #record(channel: Channel, event: object): void {
    const { instance } = this.#options
    const record = { timestamp: Date.now() / 1000, ...event, 'channel.id': channel.id, tg: instance }
    this.#bus.publish(
      `milepost/log/gw/channels/${channel.id}/${(record as unknown as ChannelEvent).event ?? 'suppressed'}`,
      record,
    )
    if (this.#waiting.length >= waiting_max) this.dropped++
    else this.#waiting.push({ container: channel.log_container_id, record })
  }

  /** What was too much of the last second becomes one record a kind. */
  #nextSecond(): void {
    for (const { channel, kind, suppressed } of this.#second.values()) {
      if (suppressed > 0) this.#record(channel, { event: 'suppressed', ...kind, count: suppressed })
    }
    this.#second.clear()
  }

  /** Appends what waits to the channels' logs. What MDB cannot take now waits on. */
  flush(): Promise<void> {
    this.#flushing ??= this.#flush().finally(() => (this.#flushing = undefined))
    return this.#flushing
  }

  async #flush(): Promise<void> {
    if (this.#waiting.length === 0) return
    const batch = this.#waiting
    this.#waiting = []
    const body = [...Map.groupBy(batch, (item) => item.container)].map(([container, items]) => ({
      container,
      records: items.map((item) => item.record),
    }))
    const { mdb, token, log } = this.#options
    try {
      const answer = await call('POST', `${mdb}/mdb/records`, { token, body, timeout_ms: 2_000 })
      if (answer.status === 200) return
      const [error] = answer.errors
      // The log of a channel that went away goes with it; the others' wait for the next time.
      if (answer.status === 404) this.#keep(batch.filter((item) => item.container !== error?.id))
      else if (answer.status === 503) this.#keep(batch)
      else log.warn({ status: answer.status, reason: error?.reason }, 'events were not logged')
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      this.#keep(batch)
    }
  }

  #keep(batch: Recorded[]): void {
    const room = Math.max(0, waiting_max - this.#waiting.length)
    this.dropped += Math.max(0, batch.length - room)
    this.#waiting = [...batch.slice(0, room), ...this.#waiting]
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    this.#nextSecond()
    await this.flush()
    await this.flush()
  }
}
