import { connect, type IClientOptions, type MqttClient } from 'mqtt'
import type { Logger } from 'pino'

/** Messages that wait while the broker is away; beyond it the newest are dropped and counted: MDB has them, the bus need not. */
const waiting_max = 10_000

export interface BusOptions {
  url: string
  token: string
  /** Who connects: shown in the broker's log. */
  name: string
  log: Logger
}

type Handler = (payload: unknown, topic: string) => void

/** Whether an MQTT topic filter (`+`, `#`) matches a topic. */
export function topicMatches(filter: string, topic: string): boolean {
  const f = filter.split('/')
  const t = topic.split('/')
  for (let i = 0; i < f.length; i++) {
    if (f[i] === '#') return true
    if (i >= t.length || (f[i] !== '+' && f[i] !== t[i])) return false
  }
  return f.length === t.length
}

/** The services' side of MBUS: best effort, bounded, reconnects for ever. What must not be lost rests on MDB alone. */
export class Bus {
  readonly #client: MqttClient
  readonly #handlers: { filter: string; handler: Handler }[] = []
  readonly #connected: (() => void)[] = []
  #waiting = 0
  /** Messages not sent because too many waited. */
  dropped = 0
  published = 0

  constructor(options: BusOptions) {
    const settings: IClientOptions = {
      username: 'service',
      password: options.token,
      clientId: `${options.name}-${process.pid}-${Math.random().toString(36).slice(2, 8)}`,
      reconnectPeriod: 500,
      connectTimeout: 5_000,
      clean: true,
      resubscribe: true,
      queueQoSZero: false,
    }
    this.#client = connect(options.url, settings)
    this.#client.on('connect', () => {
      options.log.info('connected to MBUS')
      for (const handler of this.#connected) handler()
    })
    this.#client.on('error', (error) => options.log.warn({ reason: error.message }, 'MBUS'))
    this.#client.on('message', (topic, payload) => {
      let value: unknown
      try {
        value = payload.length === 0 ? undefined : JSON.parse(payload.toString('utf8'))
      } catch {
        return options.log.warn({ topic }, 'a message on MBUS is not JSON')
      }
      for (const { filter, handler } of this.#handlers) if (topicMatches(filter, topic)) handler(value, topic)
    })
  }

  get connected(): boolean {
    return this.#client.connected
  }

  /** Called on each connect: to publish retained state anew, since a broker may have lost it. */
  onConnect(handler: () => void): void {
    this.#connected.push(handler)
    if (this.#client.connected) handler()
  }

  /** Publishes a JSON object with QoS 1; `undefined` with `retain` clears a retained topic. Never throws, never waits. */
  publish(topic: string, value: unknown, options: { retain?: boolean } = {}): void {
    this.publishText(topic, value === undefined ? '' : JSON.stringify(value), options)
  }

  /** As `publish`, for JSON already serialised. */
  publishText(topic: string, text: string, options: { retain?: boolean } = {}): void {
    if (this.#waiting >= waiting_max) {
      this.dropped++
      return
    }
    this.#waiting++
    this.#client.publish(topic, text, { qos: 1, retain: options.retain ?? false }, (error) => {
      this.#waiting--
      if (error) this.dropped++
      else this.published++
    })
  }

  /** Publishes with QoS 1 and resolves when the broker took it: for what must not outrun it. */
  async deliver(topic: string, value: unknown, retain = false): Promise<void> {
    await this.#client.publishAsync(topic, JSON.stringify(value), { qos: 1, retain })
    this.published++
  }

  subscribe(filter: string, handler: Handler): void {
    this.#handlers.push({ filter, handler })
    this.#client.subscribe(filter, { qos: 1 })
  }

  async close(): Promise<void> {
    await this.#client.endAsync(!this.#client.connected)
  }
}
