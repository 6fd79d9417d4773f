import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { type CloseReason, closeCodes } from './codes.ts'
import { Connection, type ConnectionHost, type Pending } from './connection.ts'
import type { Listener } from './listener.ts'

/** What the kernel holds for us while the loop is busy; it gives less where net.core.rmem_max says so. */
const receive_buffer_bytes = 4 * 1024 * 1024
/** Answers that the kernel does not take now; beyond it they are dropped, and devices send again. */
const unsent_bytes_max = 1024 * 1024
/** Sources whose rate is kept; more in one second than one process can decode are a flood. */
const sources_max = 65_536
const rate_window_ms = 1_000

/** Why a datagram is thrown away unread. */
export type DropReason = Extract<CloseReason, 'blocked' | 'crowded' | 'rate'>

export interface DatagramHost extends ConnectionHost {
  /** Datagrams of one address in a second: a whole fleet may come through one NAT. */
  readonly datagramsPerSourceMax: number
  /** Peers that this process remembers, of all its channels. */
  readonly peersMax: number
  /** Peers that it remembers now. */
  readonly peers: number
  nextId(): number
  received(): void
  /** The peer is remembered from now on. */
  admitted(peer: UdpPeer): void
  dropped(reason: DropReason): void
}

/**
 * The far end of datagrams: what a session knows of it, such as its ident. Each datagram is decoded by itself; one that is no packet
 * costs its decoding and leaves nothing.
 */
export class UdpPeer extends Connection {
  readonly transport = 'udp'
  readonly port: number
  readonly #port: DatagramPort
  #farewell: CloseReason | undefined = undefined

  constructor(port: DatagramPort, listener: Listener, remote: RemoteInfo, host: DatagramHost) {
    super(0, listener, remote.address, remote.port, host)
    this.port = remote.port
    this.#port = port
  }

  receive(bytes: Buffer): void {
    if (this.closeReason || this.closeAfterReplies || this.#farewell) return
    if (this.crowded) return this.#port.drop('crowded', this.peer)
    this.lastData = performance.now()
    this.received_bytes += bytes.length
    const packets = this.decode((session) => session.datagram(bytes))
    if (!packets) return
    // The next datagram begins anew, whatever this one was.
    for (const packet of packets) if (packet.error) delete packet.close
    if (this.id === 0 && !this.refused && packets.some((packet) => !packet.error)) this.#port.admit(this)
    this.takeAll(packets)
  }

  protected write(bytes: Uint8Array): void {
    this.#port.send(bytes, this.address, this.port)
  }

  /** The device gets no answer and sends again; what the session knows of it stays. */
  protected notStored(reason: CloseReason, pending: Pending): void {
    if (this.closeReason) return
    const { code, text } = closeCodes[reason]
    this.listener.emit({ event: 'error', ...this.who(), code, reason: text })
    pending.reply = null
    pending.ready = true
    this.flush()
  }

  protected flush(): void {
    if (this.closeReason) return
    let close = this.writeReady()
    if (close === undefined && this.#farewell && this.pending.length === 0) close = this.#farewell
    if (close) this.close(close)
  }

  resume(): void {}

  closeWhenAnswered(reason: CloseReason): void {
    if (this.closeReason) return
    this.#farewell ??= reason
    this.flush()
  }

  check(now: number): void {
    if (this.closeReason || this.pending.length > 0) return
    if ((now - this.lastData) / 1000 > this.listener.channel.idle_timeout) this.close('silence')
  }

  protected end(): void {
    this.#port.forget(this)
  }
}

/** The UDP port of a channel; several processes share it, the kernel gives each a share of the peers. */
export class DatagramPort {
  readonly #listener: Listener
  readonly #host: DatagramHost
  readonly #device_host: string
  #socket: Socket
  #open = false
  #taking = true
  #closed = false
  /** Peers by address and port, the one that was silent longest first. */
  readonly #peers = new Map<string, UdpPeer>()
  readonly #peersOfAddress = new Map<string, number>()
  /** Datagrams of each address in this second. */
  readonly #rates = new Map<string, number>()
  #window = 0

  constructor(listener: Listener, device_host: string, host: DatagramHost) {
    this.#listener = listener
    this.#host = host
    this.#device_host = device_host
    this.#socket = this.#bind()
  }

  #bind(): Socket {
    const { port } = this.#listener.channel
    const socket = createSocket({ type: isIPv6(this.#device_host) ? 'udp6' : 'udp4', reusePort: true })
    socket.on('listening', () => {
      if (this.#closed) return socket.close()
      try {
        socket.setRecvBufferSize(receive_buffer_bytes)
      } catch {
        // The kernel's own size does, too.
      }
      this.#open = true
      this.#listener.opened('udp')
    })
    socket.on('message', (bytes, remote) => this.#receive(bytes, remote))
    socket.on('error', (error) => {
      this.#open = false
      socket.close()
      this.#listener.failed('udp', error, () => (this.#socket = this.#bind()))
    })
    socket.bind({ port, address: this.#device_host })
    return socket
  }

  #receive(bytes: Buffer, remote: RemoteInfo): void {
    if (!this.#taking) return
    const host = this.#host
    host.received()
    if (host.full) return this.drop('crowded')
    if (!this.#withinRate(remote.address)) return this.drop('rate', `${remote.address}:${remote.port}`)
    if (host.blocked(this.#listener.channel.account_id) !== undefined) return this.drop('blocked')
    const key = `${remote.address}:${remote.port}`
    const known = this.#peers.get(key)
    if (!known) return new UdpPeer(this, this.#listener, remote, host).receive(bytes)
    this.#peers.delete(key)
    this.#peers.set(key, known)
    known.receive(bytes)
  }

  #withinRate(address: string): boolean {
    const now = performance.now()
    if (now - this.#window >= rate_window_ms) {
      this.#window = now
      this.#rates.clear()
    }
    const count = (this.#rates.get(address) ?? 0) + 1
    if (count > this.#host.datagramsPerSourceMax) return false
    if (count === 1 && this.#rates.size >= sources_max) return false
    this.#rates.set(address, count)
    return true
  }

  drop(reason: DropReason, peer?: string): void {
    this.#host.dropped(reason)
    const { code, text } = closeCodes[reason]
    this.#listener.emit({
      event: 'drop',
      transport: 'udp',
      ...(peer === undefined ? {} : { peer }),
      code,
      reason: text,
    })
  }

  /** Remembers a peer whose datagram was a packet. Where there is no room, the peer that was silent longest goes. */
  admit(peer: UdpPeer): void {
    const { connections_max, connections_per_peer_max } = this.#listener.channel
    const ofAddress = this.#peersOfAddress.get(peer.address) ?? 0
    // Served all the same; only what it says of itself is not kept.
    if (ofAddress >= connections_per_peer_max) return
    if (this.#peers.size >= connections_max || this.#host.peers >= this.#host.peersMax) {
      const [oldest] = this.#peers.values()
      if (!oldest) return
      oldest.close('limit')
    }
    peer.id = this.#host.nextId()
    this.#peersOfAddress.set(peer.address, (this.#peersOfAddress.get(peer.address) ?? 0) + 1)
    this.#peers.set(peer.peer, peer)
    this.#host.admitted(peer)
  }

  forget(peer: UdpPeer): void {
    if (peer.id === 0) return
    this.#peers.delete(peer.peer)
    const left = (this.#peersOfAddress.get(peer.address) ?? 1) - 1
    if (left > 0) this.#peersOfAddress.set(peer.address, left)
    else this.#peersOfAddress.delete(peer.address)
  }

  send(bytes: Uint8Array, address: string, port: number): void {
    if (!this.#open || this.#socket.getSendQueueSize() > unsent_bytes_max) return
    // A network that takes no datagram now is nobody's error: the device sends again.
    this.#socket.send(bytes, port, address, () => {})
  }

  /** Takes no more; answers still go out. */
  stop(): void {
    this.#taking = false
  }

  close(): void {
    this.stop()
    this.#closed = true
    if (this.#open) this.#socket.close()
    this.#open = false
  }
}
