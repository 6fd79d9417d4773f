import { createServer, type Server, type Socket } from 'node:net'
import type { Logger } from 'pino'
import { type Protocol, transportsOf } from '#pvm/index.ts'
import type { ChannelEvent } from './events.ts'
import type { Channel } from './model.ts'
import { type DatagramHost, DatagramPort } from './udp.ts'

/** Connections the kernel holds for us while the loop is busy. */
const backlog = 1_024
/** A far end that vanished without a word is found out by the kernel. */
const keep_alive_after_ms = 60_000
const retry_every_ms = 1_000

type Transport = 'tcp' | 'udp'

export interface ListenerHost {
  accepted(listener: Listener, socket: Socket): void
  emit(channel: Channel, event: ChannelEvent): void
  datagrams: DatagramHost
}

/** The open port of one channel in this process, for each transport of its protocol; several processes share the port. */
export class Listener {
  channel: Channel
  readonly protocol: Protocol
  readonly log: Logger
  /** TCP connections by address, and all of them. */
  readonly peers = new Map<string, number>()
  connections = 0
  /** Why a transport's port is not open. */
  readonly #failures = new Map<Transport, string>()
  readonly #server: Server | undefined
  readonly #datagrams: DatagramPort | undefined
  readonly #host: ListenerHost
  readonly #retries = new Set<NodeJS.Timeout>()
  #closed = false

  constructor(channel: Channel, protocol: Protocol, device_host: string, host: ListenerHost, log: Logger) {
    this.channel = channel
    this.protocol = protocol
    this.log = log
    this.#host = host
    const transports = transportsOf(protocol)
    for (const transport of transports) this.#failures.set(transport, 'not open yet')
    if (transports.includes('tcp')) this.#server = this.#serve(device_host)
    if (transports.includes('udp')) this.#datagrams = new DatagramPort(this, device_host, host.datagrams)
  }

  #serve(device_host: string): Server {
    const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: keep_alive_after_ms, allowHalfOpen: true }
    const server = createServer(options, (socket) => this.#host.accepted(this, socket))
    const open = () => server.listen({ host: device_host, port: this.channel.port, reusePort: true, backlog })
    server.on('listening', () => this.opened('tcp'))
    server.on('error', (error) => this.failed('tcp', error, server.listening ? undefined : open))
    open()
    return server
  }

  /** Why the port is not open for a transport; undefined: it is, for all. */
  get failure(): string | undefined {
    for (const [transport, reason] of this.#failures) return `${transport}: ${reason}`
    return undefined
  }

  opened(transport: Transport): void {
    this.#failures.delete(transport)
    const { id, port, protocol } = this.channel
    this.log.info({ channel: id, port, transport, protocol }, 'a channel is open')
    this.emit({ event: 'listen', transport })
  }

  /** Told once a reason; `again` is tried each second. */
  failed(transport: Transport, error: Error, again: (() => void) | undefined): void {
    const { id, port } = this.channel
    const { message } = error
    if (this.#failures.get(transport) !== message) {
      this.log.error({ channel: id, port, transport, reason: message }, 'a channel cannot be opened')
      this.emit({ event: 'error', transport, reason: message })
    }
    this.#failures.set(transport, message)
    if (this.#closed || !again) return
    const retry = setTimeout(() => {
      this.#retries.delete(retry)
      again()
    }, retry_every_ms)
    this.#retries.add(retry)
  }

  emit(event: ChannelEvent): void {
    this.#host.emit(this.channel, event)
  }

  /** No more connections and datagrams; connections stay, and answers still go out. */
  stop(): void {
    this.#closed = true
    for (const retry of this.#retries) clearTimeout(retry)
    this.#server?.close()
    this.#datagrams?.stop()
  }

  /** No more answers to datagrams either. */
  close(): void {
    this.stop()
    this.#datagrams?.close()
  }
}
