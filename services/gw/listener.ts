import { createServer, type Server, type Socket } from 'node:net'
import type { Logger } from 'pino'
import type { Protocol } from '#pvm/index.ts'
import type { ChannelEvent } from './events.ts'
import type { Channel } from './model.ts'

/** Connections the kernel holds for us while the loop is busy. */
const backlog = 1_024
/** A far end that vanished without a word is found out by the kernel. */
const keep_alive_after_ms = 60_000
const retry_every_ms = 1_000

export interface ListenerHost {
  accepted(listener: Listener, socket: Socket): void
  emit(channel: Channel, event: ChannelEvent): void
}

/** The open port of one channel in this process; several processes share the port. */
export class Listener {
  channel: Channel
  readonly protocol: Protocol
  readonly log: Logger
  /** Connections by address, and all of them. */
  readonly peers = new Map<string, number>()
  connections = 0
  /** Why the port is not open; undefined: it is. */
  failure: string | undefined = 'not open yet'
  readonly #server: Server
  readonly #host: ListenerHost
  #retry: NodeJS.Timeout | undefined
  #closed = false

  constructor(channel: Channel, protocol: Protocol, device_host: string, host: ListenerHost, log: Logger) {
    this.channel = channel
    this.protocol = protocol
    this.log = log
    this.#host = host
    const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: keep_alive_after_ms, allowHalfOpen: true }
    this.#server = createServer(options, (socket) => host.accepted(this, socket))
    const open = () => this.#server.listen({ host: device_host, port: channel.port, reusePort: true, backlog })
    this.#server.on('listening', () => {
      this.failure = undefined
      log.info({ channel: channel.id, port: channel.port, protocol: channel.protocol }, 'a channel is open')
    })
    this.#server.on('error', (error) => {
      if (this.failure !== error.message) {
        log.error({ channel: channel.id, port: channel.port, reason: error.message }, 'a channel cannot be opened')
        this.emit({ event: 'error', reason: error.message })
      }
      this.failure = error.message
      if (!this.#closed && !this.#server.listening) this.#retry = setTimeout(open, retry_every_ms)
    })
    open()
  }

  emit(event: ChannelEvent): void {
    this.#host.emit(this.channel, event)
  }

  /** No more connections; those that are there stay. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#retry)
    this.#server.close()
  }
}
