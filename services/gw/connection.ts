import type { Socket } from 'node:net'
import { type Packet, Session } from '#pvm/index.ts'
import { type CloseReason, closeCodes } from './codes.ts'
import type { Listener } from './listener.ts'
import type { Device } from './model.ts'
import type { Entry, Outcome } from './writer.ts'

/** What a connection asks of the gateway around it. */
export interface ConnectionHost {
  device(account_id: number, ident: string): Device | undefined
  blocked(account_id: number): string | undefined
  /** Takes a packet's messages to the store. */
  store(entry: Entry): void
  /** The store takes no more now: do not read on. */
  readonly full: boolean
  /** The connection is bound to an ident: an older one of the same ident is to be closed. */
  loggedIn(connection: Connection): void
  closed(connection: Connection): void
  /** Messages that are stored now, in order. */
  publish(connection: Connection, texts: string[]): void
}

/** What the device gets once all before it is answered. */
interface Pending {
  reply: Uint8Array | null
  ready: boolean
  bytes: number
  /** Close after the reply. */
  close: CloseReason | undefined
}

/** Packets decoded and not answered yet: more are left in the socket, so that the device waits. */
const pending_max = 64
const pending_bytes_max = 1024 * 1024
/** A device that does not read its answers. */
const unread_bytes_max = 256 * 1024
/** Packets in a row with an error and none good between: the far end is no device of this protocol. */
const errors_in_row_max = 20
/** A begun packet must end within it: the slowest networks carry the largest packet in a minute. */
const unfinished_max_s = 120
/** Half a packet, then nothing. */
const unfinished_silence_max_s = 30
/** The time a device has to take its last answer. */
const farewell_max_ms = 2_000
/** Timestamps from here on (2200) are broken clocks; the store refuses them. */
const timestamp_max_s = 7_258_118_400

/** One device's connection: bytes → packets → store → answers, in order. */
export class Connection {
  readonly id: number
  readonly listener: Listener
  readonly socket: Socket
  readonly peer: string
  readonly address: string
  /** s since 1970 UTC. */
  readonly since = Date.now() / 1000
  ident: string | undefined = undefined
  received_bytes = 0
  sent_bytes = 0
  messages = 0
  packets = 0
  errors = 0
  closeReason: CloseReason | undefined = undefined
  /** ms, of the monotonic clock. */
  #lastData = performance.now()
  #unfinishedSince = 0
  #errorsInRow = 0
  #refused = false
  /** A packet without an error came. */
  #valid = false
  #closeAfterReplies: CloseReason | undefined = undefined
  #farewell: CloseReason | undefined = undefined
  #session: Session | undefined = undefined
  readonly #host: ConnectionHost
  readonly #pending: Pending[] = []
  #pendingBytes = 0

  constructor(id: number, listener: Listener, socket: Socket, host: ConnectionHost) {
    this.id = id
    this.listener = listener
    this.socket = socket
    this.#host = host
    this.address = socket.remoteAddress ?? ''
    this.peer = `${this.address}:${socket.remotePort ?? 0}`
    socket.on('data', (chunk) => this.#receive(chunk as Buffer))
    // The device closed its side: what it sent is stored and answered still.
    socket.on('end', () => this.closeWhenAnswered('peer'))
    socket.on('error', () => this.close('broken'))
    socket.on('close', () => this.close('broken'))
  }

  #receive(chunk: Buffer): void {
    if (this.closeReason || this.#closeAfterReplies) return
    const now = performance.now()
    this.#lastData = now
    this.received_bytes += chunk.length
    let packets: Packet[]
    try {
      // A silent connection costs no session.
      this.#session ??= new Session(this.listener.protocol, { authorize: (ident) => this.#authorize(ident) })
      packets = this.#session.feed(chunk)
    } catch (error) {
      this.listener.log.error({ err: error, channel: this.listener.channel.id }, 'decoding failed')
      return this.close('ours', (error as Error).message)
    }
    if (this.#session.buffered === 0) this.#unfinishedSince = 0
    else if (packets.length > 0 || this.#unfinishedSince === 0) this.#unfinishedSince = now
    for (const packet of packets) {
      this.#take(packet)
      if (this.closeReason || this.#closeAfterReplies) break
    }
    this.#flush()
    if (this.#crowded) this.socket.pause()
  }

  #authorize(ident: string): boolean {
    const { channel } = this.listener
    const allowed = channel.policy === 'open' || this.#host.device(channel.account_id, ident) !== undefined
    this.#refused = !allowed
    if (!allowed) this.ident = ident
    return allowed
  }

  #take(packet: Packet): void {
    this.packets++
    if (packet.login !== undefined && packet.login !== this.ident) {
      this.ident = packet.login
      this.#host.loggedIn(this)
    }
    if (packet.error) {
      this.errors++
      const { code, reason } = packet.error
      this.listener.emit({ event: 'error', ...this.#who(), code, reason })
      if (++this.#errorsInRow >= errors_in_row_max) packet.close = true
    } else {
      this.#errorsInRow = 0
      this.#valid = true
    }
    let close: CloseReason | undefined
    if (this.#refused) close = 'refused'
    else if (packet.close) close = packet.error?.code === 'unframed' || !this.#valid ? 'noise' : 'violation'
    const pending: Pending = { reply: packet.reply, ready: true, bytes: packet.bytes, close }
    this.#closeAfterReplies = close
    if (packet.messages.length > 0) {
      const reason = this.#host.blocked(this.listener.channel.account_id)
      if (reason !== undefined) return this.close('blocked', reason)
      pending.ready = false
      this.#host.store(this.#entry(packet, pending))
    }
    this.#pending.push(pending)
    this.#pendingBytes += pending.bytes
  }

  /** The packet's messages with what only we know added. */
  #entry(packet: Packet, pending: Pending): Entry {
    const { channel } = this.listener
    const now = Date.now() / 1000
    const texts: string[] = []
    const containers = [channel.container_id]
    let bytes = 0
    for (const message of packet.messages) {
      const ident = typeof message.ident === 'string' ? message.ident : this.ident
      const device = ident === undefined ? undefined : this.#host.device(channel.account_id, ident)
      if (device && !containers.includes(device.container_id)) containers.push(device.container_id)
      const { timestamp } = message
      if (typeof timestamp !== 'number' || !(timestamp >= 0 && timestamp < timestamp_max_s)) {
        if (timestamp !== undefined) message['timestamp.raw'] = timestamp
        message.timestamp = now
      }
      message['server.timestamp'] = now
      message['channel.id'] = channel.id
      if (device) message['device.id'] = device.id
      message['protocol.id'] = channel.protocol
      message.peer = this.peer
      const text = JSON.stringify(message)
      texts.push(text)
      bytes += text.length
    }
    return { containers, texts, bytes, settle: (outcome) => this.#settle(outcome, pending, texts) }
  }

  #settle(outcome: Outcome, pending: Pending, texts: string[]): void {
    if (outcome !== 'stored') return this.close(outcome === 'away' ? 'store_away' : 'store_refused')
    this.messages += texts.length
    pending.ready = true
    this.#flush()
    this.#host.publish(this, texts)
    this.resume()
  }

  get #crowded(): boolean {
    return this.#pending.length > pending_max || this.#pendingBytes > pending_bytes_max || this.#host.full
  }

  /** Reads on after a pause. */
  resume(): void {
    if (this.closeReason || this.#farewell || !this.socket.isPaused() || this.#crowded) return
    this.#lastData = performance.now()
    this.socket.resume()
  }

  /** Sends the answers of all that is stored, up to the first that is not. */
  #flush(): void {
    if (this.closeReason) return
    this.socket.cork()
    let close: CloseReason | undefined
    while (this.#pending[0]?.ready && close === undefined) {
      const pending = this.#pending.shift() as Pending
      this.#pendingBytes -= pending.bytes
      close = pending.close
      if (!pending.reply) continue
      this.sent_bytes += pending.reply.length
      this.socket.write(pending.reply)
    }
    this.socket.uncork()
    if (close === undefined && this.#farewell && this.#pending.length === 0) close = this.#farewell
    if (close === undefined && this.socket.writableLength > unread_bytes_max) close = 'deaf'
    if (close) this.close(close)
  }

  /** Nothing more is read; closes as soon as all that came is answered. */
  closeWhenAnswered(reason: CloseReason): void {
    if (this.closeReason) return
    this.#farewell ??= reason
    this.socket.pause()
    this.#flush()
  }

  /** Looks after time: `now` in ms of the monotonic clock. */
  check(now: number): void {
    if (this.closeReason || this.socket.isPaused() || this.#pending.length > 0) return
    const { channel } = this.listener
    const silent_s = (now - this.#lastData) / 1000
    if (this.#unfinishedSince > 0) {
      const unfinished_s = (now - this.#unfinishedSince) / 1000
      if (unfinished_s > unfinished_max_s || silent_s > Math.min(unfinished_silence_max_s, channel.idle_timeout))
        return this.close('unfinished')
    }
    if (!this.#valid && Date.now() / 1000 - this.since > channel.login_timeout) return this.close('no_login')
    if (silent_s > channel.idle_timeout) this.close('silence')
  }

  /** Closes at once; answers already written still go out. Further calls do nothing. */
  close(reason: CloseReason, detail?: string): void {
    if (this.closeReason) return
    this.closeReason = reason
    this.#pending.length = 0
    const { code, text } = closeCodes[reason]
    this.listener.emit({
      event: 'close',
      ...this.#who(),
      code,
      reason: detail === undefined ? text : `${text}: ${detail}`,
      messages: this.messages,
      bytes: this.received_bytes,
    })
    if (this.socket.writableLength > 0 && reason !== 'deaf' && !this.socket.destroyed) {
      this.socket.pause()
      this.socket.end(() => this.socket.destroy())
      setTimeout(() => this.socket.destroy(), farewell_max_ms).unref()
    } else this.socket.destroy()
    this.#host.closed(this)
  }

  #who(): { peer: string; connection: number; ident?: string } {
    return { peer: this.peer, connection: this.id, ...(this.ident === undefined ? {} : { ident: this.ident }) }
  }

  /** As REST shows it. */
  describe() {
    return {
      id: this.id,
      'channel.id': this.listener.channel.id,
      ident: this.ident ?? null,
      peer: this.peer,
      since: this.since,
      last_data: Date.now() / 1000 - (performance.now() - this.#lastData) / 1000,
      packets: this.packets,
      messages: this.messages,
      errors: this.errors,
      pending: this.#pending.length,
      received_bytes: this.received_bytes,
      sent_bytes: this.sent_bytes,
    }
  }
}
