import { type Packet, Session } from '#pvm/index.ts'
import { ApiError } from '#services/common/errors.ts'
import { timestamp_max } from '#services/common/records.ts'
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
  /** The connection is bound to an ident, `before` to another one: an older one of the same ident is to be closed. */
  loggedIn(connection: Connection, before: string | undefined): void
  closed(connection: Connection): void
  /** Messages that are stored now, in order. */
  publish(connection: Connection, texts: string[]): void
}

/** What the device gets once all before it is answered. */
export interface Pending {
  reply: Uint8Array | null
  ready: boolean
  bytes: number
  /** Close after the reply. */
  close: CloseReason | undefined
}

/** Packets decoded and not answered yet: more are not taken, so that the device waits. */
const pending_max = 64
const pending_bytes_max = 1024 * 1024
/** Packets in a row with an error and none good between: the far end is no device of this protocol. */
const errors_in_row_max = 20
/** Timestamps from here on (2200) are broken clocks; the store refuses them. */
/** Of an answer in the channel's log. */
const logged_text_max = 1_000

/** One device that speaks to us: packets → store → answers, in order. How bytes come and go is its transport's. */
export abstract class Connection {
  abstract readonly transport: 'tcp' | 'udp'
  /** 0: not one of the connections that are kept. */
  id: number
  readonly listener: Listener
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
  protected lastData = performance.now()
  /** A packet without an error came. */
  protected valid = false
  /** The ident may not come in. */
  protected refused = false
  protected closeAfterReplies: CloseReason | undefined = undefined
  protected readonly host: ConnectionHost
  protected readonly pending: Pending[] = []
  #session: Session | undefined = undefined
  #pendingBytes = 0
  #errorsInRow = 0
  /** Who waits for a command's answer, by the command's number. */
  readonly #commands = new Map<number, (answer: string | null) => void>()

  constructor(id: number, listener: Listener, address: string, port: number, host: ConnectionHost) {
    this.id = id
    this.listener = listener
    this.host = host
    this.address = address
    this.peer = `${address}:${port}`
  }

  /** Hands an answer over to the transport. */
  protected abstract write(bytes: Uint8Array): void
  /** Sends the answers of all that is stored, up to the first that is not. */
  protected abstract flush(): void
  /** What came could not be stored and gets no answer. */
  protected abstract notStored(reason: CloseReason, pending: Pending): void
  /** Ends the transport's side; answers already written still go out. */
  protected abstract end(reason: CloseReason): void
  /** Takes on after the store was full. */
  abstract resume(): void
  /** Nothing more is taken; closes as soon as all that came is answered. */
  abstract closeWhenAnswered(reason: CloseReason): void
  /** Looks after time: `now` in ms of the monotonic clock. */
  abstract check(now: number): void

  /** Made with the first bytes: a silent connection costs no session. */
  protected get session(): Session {
    this.#session ??= new Session(this.listener.protocol, { authorize: (ident) => this.#authorize(ident) })
    return this.#session
  }

  #authorize(ident: string): boolean {
    const { channel } = this.listener
    const allowed = channel.policy === 'open' || this.host.device(channel.account_id, ident) !== undefined
    this.refused = !allowed
    if (!allowed) this.ident = ident
    return allowed
  }

  /** Packets of the bytes that came; undefined: decoding failed by a defect of ours and the connection is closed. */
  protected decode(work: (session: Session) => Packet[]): Packet[] | undefined {
    try {
      return work(this.session)
    } catch (error) {
      this.listener.log.error({ err: error, channel: this.listener.channel.id }, 'decoding failed')
      this.close('ours', (error as Error).message)
      return undefined
    }
  }

  /** Takes packets up to the one after which the connection is to be closed, and answers what can be. */
  protected takeAll(packets: Packet[]): void {
    for (const packet of packets) {
      this.#take(packet)
      if (this.closeReason || this.closeAfterReplies) break
    }
    this.flush()
  }

  #take(packet: Packet): void {
    this.packets++
    if (packet.login !== undefined && packet.login !== this.ident) {
      const before = this.ident
      this.ident = packet.login
      this.host.loggedIn(this, before)
    }
    if (packet.error) {
      this.errors++
      const { code, reason } = packet.error
      this.listener.emit({ event: 'error', ...this.who(), code, reason })
      if (++this.#errorsInRow >= errors_in_row_max) packet.close = true
    } else {
      this.#errorsInRow = 0
      this.valid = true
    }
    for (const { id, name, text } of packet.answers ?? []) {
      this.listener.emit({ event: 'answer', ...this.who(), name, text: text.slice(0, logged_text_max) })
      this.#commands.get(id)?.(text)
    }
    let close: CloseReason | undefined
    if (this.refused) close = 'refused'
    else if (packet.close) close = packet.error?.code === 'unframed' || !this.valid ? 'noise' : 'violation'
    const pending: Pending = { reply: packet.reply, ready: true, bytes: packet.bytes, close }
    this.closeAfterReplies = close
    if (packet.messages.length > 0) {
      const reason = this.host.blocked(this.listener.channel.account_id)
      if (reason !== undefined) return this.close('blocked', reason)
      pending.ready = false
      this.host.store(this.#entry(packet, pending))
    }
    this.pending.push(pending)
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
      const device = ident === undefined ? undefined : this.host.device(channel.account_id, ident)
      if (device && !containers.includes(device.container_id)) containers.push(device.container_id)
      const { timestamp } = message
      if (typeof timestamp !== 'number' || !(timestamp >= 0 && timestamp < timestamp_max)) {
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
    const messages = packet.messages as Entry['messages']
    return { containers, messages, bytes, settle: (outcome) => this.#settle(outcome, pending, texts) }
  }

  #settle(outcome: Outcome, pending: Pending, texts: string[]): void {
    if (outcome !== 'stored') return this.notStored(outcome === 'away' ? 'store_away' : 'store_refused', pending)
    this.messages += texts.length
    pending.ready = true
    this.flush()
    this.host.publish(this, texts)
    this.resume()
  }

  protected get crowded(): boolean {
    return this.pending.length > pending_max || this.#pendingBytes > pending_bytes_max || this.host.full
  }

  /** Writes the answers that may go; gives why the connection is to be closed now. */
  protected writeReady(): CloseReason | undefined {
    let close: CloseReason | undefined
    while (this.pending[0]?.ready && close === undefined) {
      const pending = this.pending.shift() as Pending
      this.#pendingBytes -= pending.bytes
      close = pending.close
      if (!pending.reply) continue
      this.sent_bytes += pending.reply.length
      this.write(pending.reply)
    }
    return close
  }

  /**
   * Sends a command of the protocol; gives the device's answer, null when none came in time. Rejects with ApiError `malformed`, about
   * `item`, when the protocol has no such command or refuses its parameters.
   */
  async command(
    name: string,
    parameters: Record<string, string | number>,
    answer_time_max_ms: number,
    item: number,
  ): Promise<string | null> {
    let command: { id: number; bytes: Uint8Array }
    try {
      command = this.session.command(name, parameters)
    } catch (error) {
      throw new ApiError('malformed', (error as Error).message, { id: item })
    }
    const { id, bytes } = command
    this.write(bytes)
    this.sent_bytes += bytes.length
    this.listener.emit({ event: 'command', ...this.who(), name })
    if (answer_time_max_ms <= 0) return null
    return new Promise((resolve) => {
      const settle = (answer: string | null) => {
        clearTimeout(timer)
        this.#commands.delete(id)
        resolve(answer)
      }
      const timer = setTimeout(() => settle(null), answer_time_max_ms)
      this.#commands.set(id, settle)
    })
  }

  /** Closes at once. Further calls do nothing. */
  close(reason: CloseReason, detail?: string): void {
    if (this.closeReason) return
    this.closeReason = reason
    this.pending.length = 0
    for (const settle of this.#commands.values()) settle(null)
    const { code, text } = closeCodes[reason]
    this.listener.emit({
      event: 'close',
      ...this.who(),
      code,
      reason: detail === undefined ? text : `${text}: ${detail}`,
      messages: this.messages,
      bytes: this.received_bytes,
    })
    this.end(reason)
    this.host.closed(this)
  }

  /** As events name it. */
  who(): { peer: string; transport: 'tcp' | 'udp'; connection?: number; ident?: string } {
    const { peer, transport, id, ident } = this
    return { peer, transport, ...(id === 0 ? {} : { connection: id }), ...(ident === undefined ? {} : { ident }) }
  }

  /** As REST shows it. */
  describe() {
    return {
      id: this.id,
      'channel.id': this.listener.channel.id,
      transport: this.transport,
      ident: this.ident ?? null,
      peer: this.peer,
      since: this.since,
      last_data: Date.now() / 1000 - (performance.now() - this.lastData) / 1000,
      packets: this.packets,
      messages: this.messages,
      errors: this.errors,
      pending: this.pending.length,
      received_bytes: this.received_bytes,
      sent_bytes: this.sent_bytes,
    }
  }
}
