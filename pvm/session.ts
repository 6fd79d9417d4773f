import type { Transport } from './ast.ts'
import { Fault } from './errors.ts'
import { type FoundPacket, Framer, unescaped } from './frames.ts'
import { executorOf } from './jit.ts'
import type { Frame, Program } from './program.ts'
import { type Execute, type MachineState, type Message, Runtime } from './runtime.ts'
import type { Tracer } from './trace.ts'
import type { Value } from './values.ts'
import { interpret } from './vm.ts'

export interface SessionOptions {
  /** Whether an ident may come in; default: all. */
  authorize?: (ident: string) => boolean
  /** s since 1970 UTC. */
  now?: () => number
  /** The ident of a session whose log-in was before; default: none. */
  ident?: string
  /** Run by the reference interpreter instead of generated code; default: false. */
  interpret?: boolean
  /** Follows the interpreter. */
  tracer?: Tracer
}

/** One packet of a device and what is to be done about it. */
export interface Packet {
  messages: Message[]
  /** To be sent to the device once the messages are stored. */
  reply: Uint8Array | null
  /** The ident that the session was bound to by this packet. */
  login?: string
  /** Commands that this packet answers, by the number that they got when they were sent. */
  answers?: { id: number; name: string; text: string }[]
  error?: { code: string; reason: string }
  /** The connection is to be closed after the answer. */
  close?: boolean
  /** Length of the packet; 0 when nothing tells it. */
  bytes: number
}

/** What a device sends on one connection: bytes in, packets out, however the bytes are cut. */
export class Session {
  readonly #program: Program
  readonly #machine: Runtime
  readonly #execute: Execute
  readonly #framer: Framer
  readonly #state: MachineState
  #held: Uint8Array = new Uint8Array()
  #closed = false
  #commands = 0

  constructor(program: Program, options: SessionOptions = {}) {
    this.#program = program
    const { authorize = () => true, now = () => Date.now() / 1000, ident } = options
    const { tracer } = options
    this.#execute =
      options.interpret || tracer
        ? (entry, machine) => interpret(program, entry, machine, machine.measuring ? undefined : tracer)
        : executorOf(program)
    this.#state = {
      ident,
      accepted: ident !== undefined,
      kept: program.initial.slice(0, program.sessionSlots),
      waiting: [],
    }
    this.#machine = new Runtime(program, this.#state, { authorize, now })
    this.#framer = new Framer(program, this.#machine, this.#execute)
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

  /** Takes the next bytes of a stream; gives the packets that are whole now, in order. */
  feed(chunk: Uint8Array): Packet[] {
    if (this.#closed) return []
    let bytes = chunk
    if (this.#held.length > 0) {
      bytes = new Uint8Array(this.#held.length + chunk.length)
      bytes.set(this.#held)
      bytes.set(chunk, this.#held.length)
    }
    const packets: Packet[] = []
    const at = this.#cut(bytes, 'tcp', packets)
    // Copied, not kept as a view: a view would hold on to all of a large chunk.
    this.#held = at >= bytes.length ? new Uint8Array() : bytes.slice(at)
    return packets
  }

  /** Takes one datagram: one packet, or several one behind another. What it does not hold whole is an error. */
  datagram(bytes: Uint8Array): Packet[] {
    const packets: Packet[] = []
    if (this.#closed) return packets
    this.#framer.reset()
    const at = this.#cut(bytes, 'udp', packets)
    this.#framer.reset()
    // Another datagram has its own beginning.
    this.#closed = false
    if (at < bytes.length) packets.push(incomplete(bytes.length - at))
    return packets
  }

  /**
   * Takes one packet whose ends are known: a line of a session file, a reference vector. Its start, length or ending may have been
   * taken off. It is decoded as a stream's bytes where that comes out even, else as a datagram, else as the packet of the first rule
   * that it begins like.
   */
  packet(bytes: Uint8Array): Packet[] {
    for (const transport of ['tcp', 'udp'] as const) {
      if (!this.#even(bytes, transport)) continue
      const packets: Packet[] = []
      this.#cut(bytes, transport, packets)
      return packets
    }
    const [frame] = this.#framer.candidates(bytes)
    return frame ? [this.#decode(bytes, frame)] : []
  }

  /** Whether bytes of a stream are whole packets, nothing left over. */
  whole(bytes: Uint8Array): boolean {
    return this.#even(bytes, 'tcp')
  }

  /** Bytes of a command for the device, and the number that its answer will carry. Throws when there is no such command. */
  command(name: string, values: Record<string, Value> = {}): { id: number; bytes: Uint8Array } {
    const command = this.#program.commands.find((known) => known.name === name)
    if (!command)
      throw new Error(
        `${this.#program.name} has no command "${name}"; commands are ${this.#program.commands.map((c) => c.name).join(', ') || 'none'}`,
      )
    const slots = new Map<number, Value>()
    for (const { name: parameter, slot } of command.parameters) {
      const value = values[parameter]
      if (value === undefined) throw new Error(`the command "${name}" needs "${parameter}"`)
      slots.set(slot, value)
    }
    const bytes = this.#machine.compose(this.#execute, command.entry, slots)
    if (bytes instanceof Fault) throw new Error(`the command "${name}": ${bytes.message}`)
    const id = ++this.#commands
    const key = command.key < 0 ? null : (this.#machine.slots[command.key] as Value)
    this.#machine.expect({ id, name, key })
    return { id, bytes }
  }

  /** Forgets an unfinished packet, so that decoding can go on behind a break. The ident stays. */
  resume(): Packet | undefined {
    const { length } = this.#held
    this.#held = new Uint8Array()
    this.#framer.reset()
    this.#closed = false
    return length === 0 ? undefined : incomplete(length)
  }

  /** Decodes all whole packets; gives how far it came. */
  #cut(bytes: Uint8Array, transport: Transport, packets: Packet[]): number {
    let at = 0
    while (!this.#closed) {
      at = this.#framer.junk(bytes, at)
      if (at >= bytes.length) break
      const rest = at === 0 ? bytes : bytes.subarray(at)
      const found = this.#framer.find(rest, transport)
      if ('more' in found) break
      if ('code' in found) {
        // Nothing tells where the next packet would begin.
        packets.push({ messages: [], reply: null, error: found, close: true, bytes: 0 })
        this.#closed = true
        return bytes.length
      }
      const packet = this.#decode(found.end === rest.length ? rest : rest.subarray(0, found.end), found.frame)
      packet.bytes = found.size
      packets.push(packet)
      at += found.size
    }
    return at
  }

  /** Whether bytes come out as whole packets. */
  #even(bytes: Uint8Array, transport: Transport): boolean {
    this.#framer.reset()
    let at = 0
    let count = 0
    for (;;) {
      at = this.#framer.junk(bytes, at)
      if (at >= bytes.length) break
      const found: FoundPacket | object = this.#framer.find(bytes.subarray(at), transport)
      if (!('size' in found)) {
        this.#framer.reset()
        return false
      }
      at += found.size
      count++
    }
    return count > 0
  }

  #decode(bytes: Uint8Array, frame: Frame): Packet {
    const outcome = this.#machine.run(unescaped(bytes, frame), this.#execute, frame.entry)
    const packet: Packet = { messages: outcome.messages, reply: outcome.reply, bytes: bytes.length }
    if (outcome.login !== undefined) packet.login = outcome.login
    if (outcome.answers.length > 0) packet.answers = outcome.answers
    if (outcome.error) packet.error = outcome.error
    if (outcome.close) {
      packet.close = true
      this.#closed = true
    }
    return packet
  }
}

function incomplete(bytes: number): Packet {
  const reason = `the packet ends after ${bytes} bytes`
  return { messages: [], reply: null, error: { code: 'incomplete', reason }, bytes }
}
