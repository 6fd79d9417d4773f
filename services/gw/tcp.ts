import type { Socket } from 'node:net'
import type { CloseReason } from './codes.ts'
import { Connection, type ConnectionHost } from './connection.ts'
import type { Listener } from './listener.ts'

/** A device that does not read its answers. */
const unread_bytes_max = 256 * 1024
/** A begun packet must end within it: the slowest networks carry the largest packet in a minute. */
const unfinished_max_s = 120
/** Half a packet, then nothing. */
const unfinished_silence_max_s = 30
/** The time a device has to take its last answer. */
const farewell_max_ms = 2_000

/** One device's TCP connection: what cannot be taken now stays in the socket, and the device waits. */
export class TcpConnection extends Connection {
  readonly transport = 'tcp'
  readonly socket: Socket
  #unfinishedSince = 0
  #farewell: CloseReason | undefined = undefined

  constructor(id: number, listener: Listener, socket: Socket, host: ConnectionHost) {
    super(id, listener, socket.remoteAddress ?? '', socket.remotePort ?? 0, host)
    this.socket = socket
    socket.on('data', (chunk) => this.#receive(chunk as Buffer))
    // The device closed its side: what it sent is stored and answered still.
    socket.on('end', () => this.closeWhenAnswered('peer'))
    socket.on('error', () => this.close('broken'))
    socket.on('close', () => this.close('broken'))
  }

  #receive(chunk: Buffer): void {
    if (this.closeReason || this.closeAfterReplies) return
    const now = performance.now()
    this.lastData = now
    this.received_bytes += chunk.length
    const packets = this.decode((session) => session.feed(chunk))
    if (!packets) return
    if (this.session.buffered === 0) this.#unfinishedSince = 0
    else if (packets.length > 0 || this.#unfinishedSince === 0) this.#unfinishedSince = now
    this.takeAll(packets)
    if (this.crowded) this.socket.pause()
  }

  protected write(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  protected notStored(reason: CloseReason): void {
    this.close(reason)
  }

  resume(): void {
    if (this.closeReason || this.#farewell || !this.socket.isPaused() || this.crowded) return
    this.lastData = performance.now()
    this.socket.resume()
  }

  protected flush(): void {
    if (this.closeReason) return
    this.socket.cork()
    let close = this.writeReady()
    this.socket.uncork()
    if (close === undefined && this.#farewell && this.pending.length === 0) close = this.#farewell
    if (close === undefined && this.socket.writableLength > unread_bytes_max) close = 'deaf'
    if (close) this.close(close)
  }

  closeWhenAnswered(reason: CloseReason): void {
    if (this.closeReason) return
    this.#farewell ??= reason
    this.socket.pause()
    this.flush()
  }

  check(now: number): void {
    if (this.closeReason || this.socket.isPaused() || this.pending.length > 0) return
    const { channel } = this.listener
    const silent_s = (now - this.lastData) / 1000
    if (this.#unfinishedSince > 0) {
      const unfinished_s = (now - this.#unfinishedSince) / 1000
      if (unfinished_s > unfinished_max_s || silent_s > Math.min(unfinished_silence_max_s, channel.idle_timeout))
        return this.close('unfinished')
    }
    if (!this.valid && Date.now() / 1000 - this.since > channel.login_timeout) return this.close('no_login')
    if (silent_s > channel.idle_timeout) this.close('silence')
  }

  protected end(reason: CloseReason): void {
    if (this.socket.writableLength > 0 && reason !== 'deaf' && !this.socket.destroyed) {
      this.socket.pause()
      this.socket.end(() => this.socket.destroy())
      setTimeout(() => this.socket.destroy(), farewell_max_ms).unref()
    } else this.socket.destroy()
  }
}
