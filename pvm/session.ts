import type { Frame, Program } from './compile.ts'
import { type Kind, kinds } from './opcodes.ts'
import { Machine, type MachineState, type Message, readNumber } from './vm.ts'

export interface SessionOptions {
  /** Whether an ident may come in; default: all. */
  authorize?: (ident: string) => boolean
  /** s since 1970 UTC. */
  now?: () => number
}

/** One packet of a device and what is to be done about it. */
export interface Packet {
  messages: Message[]
  /** To be sent to the device once the messages are stored. */
  reply: Uint8Array | null
  /** The ident that the session was bound to by this packet. */
  login?: string
  error?: { code: string; reason: string }
  /** The connection is to be closed after the answer. */
  close?: boolean
  /** Length of the packet. */
  bytes: number
}

type Found = { size: number; frame: Frame } | { more: true } | { wrong: string; code: string }

/** What a device sends on one connection: bytes in, packets out, however the bytes are cut. */
export class Session {
  readonly #program: Program
  readonly #machine: Machine
  readonly #state: MachineState
  #held: Uint8Array = new Uint8Array()
  /** How far the held bytes were looked through for a line's ending. */
  #searched = 0
  #closed = false

  constructor(program: Program, options: SessionOptions = {}) {
    this.#program = program
    this.#state = { ident: undefined, accepted: false, kept: [] }
    const { authorize = () => true, now = () => Date.now() / 1000 } = options
    this.#machine = new Machine(program, this.#state, { authorize, now })
  }

  get ident(): string | undefined {
    return this.#state.ident
  }

  /** Bytes of an unfinished packet. */
  get buffered(): number {
    return this.#held.length
  }

  /** The protocol wants the connection closed; nothing more is decoded. */
  get closed(): boolean {
    return this.#closed
  }

  /** Takes the next bytes; gives the packets that are whole now, in order. */
  feed(chunk: Uint8Array): Packet[] {
    const packets: Packet[] = []
    if (this.#closed) return packets
    let bytes = chunk
    if (this.#held.length > 0) {
      bytes = new Uint8Array(this.#held.length + chunk.length)
      bytes.set(this.#held)
      bytes.set(chunk, this.#held.length)
    }
    let at = 0
    while (at < bytes.length && !this.#closed) {
      const rest = bytes.subarray(at)
      const found = this.#find(rest)
      if ('more' in found) break
      this.#searched = 0
      if ('wrong' in found) {
        // Nothing tells where the next packet would begin.
        packets.push({
          messages: [],
          reply: null,
          error: { code: found.code, reason: found.wrong },
          close: true,
          bytes: rest.length,
        })
        this.#closed = true
        at = bytes.length
        break
      }
      packets.push(this.#decode(rest.subarray(0, found.size), found.frame))
      at += found.size
    }
    // Copied, not kept as a view: a view would hold on to all of a large chunk.
    this.#held = at >= bytes.length ? new Uint8Array() : bytes.slice(at)
    return packets
  }

  /** Forgets an unfinished packet, so that decoding can go on behind a break. The ident stays. */
  resume(): Packet | undefined {
    const { length } = this.#held
    this.#held = new Uint8Array()
    this.#searched = 0
    this.#closed = false
    if (length === 0) return undefined
    return {
      messages: [],
      reply: null,
      error: { code: 'incomplete', reason: `the packet ends after ${length} bytes` },
      bytes: length,
    }
  }

  #decode(bytes: Uint8Array, frame: Frame): Packet {
    const outcome = this.#machine.run(frame.entry, bytes)
    const packet: Packet = { messages: outcome.messages, reply: outcome.reply, bytes: bytes.length }
    if (outcome.login !== undefined) packet.login = outcome.login
    if (outcome.error) packet.error = outcome.error
    if (outcome.close) {
      packet.close = true
      this.#closed = true
    }
    return packet
  }

  /** The first rule that fits decides; a prefix that is not whole yet waits. */
  #find(bytes: Uint8Array): Found {
    let maybe = false
    for (const frame of this.#program.frames) {
      const common = Math.min(frame.prefix.length, bytes.length)
      let fits = true
      for (let i = 0; i < common; i++) if (bytes[i] !== frame.prefix[i]) fits = false
      if (!fits) continue
      if (bytes.length < frame.prefix.length) {
        maybe = true
        break
      }
      return this.#measure(bytes, frame)
    }
    if (maybe) return { more: true }
    const start = Buffer.from(bytes.subarray(0, 8)).toString('hex')
    return { wrong: `no packet of ${this.#program.name} begins with ${start}`, code: 'unframed' }
  }

  #measure(bytes: Uint8Array, frame: Frame): Found {
    let size = frame.fixed
    if (frame.field !== undefined) {
      const length = sizeOf(frame.field)
      if (bytes.length < frame.at + length) return { more: true }
      size =
        Number(readNumber(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), frame.field, frame.at)) +
        frame.plus
    } else if (frame.ending) {
      const from = Math.max(0, this.#searched - frame.ending.length)
      const end = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(frame.ending, from)
      this.#searched = bytes.length
      if (end < 0 && bytes.length <= frame.max) return { more: true }
      size = end < 0 ? bytes.length : end + frame.ending.length
    }
    if (size > frame.max) return { wrong: `a packet of ${size} bytes, at most ${frame.max}`, code: 'too_long' }
    if (size < frame.min || size === 0)
      return { wrong: `a packet of ${size} bytes, at least ${Math.max(1, frame.min)}`, code: 'malformed' }
    return bytes.length < size ? { more: true } : { size, frame }
  }
}

const sizeOf = (kind: Kind): number => {
  if (!kinds.includes(kind)) throw new Error(`no kind ${kind}`)
  return Number(/\d+/.exec(kind)?.[0]) / 8
}
