import type { Program } from './compile.ts'
import { Fault } from './errors.ts'
import {
  commands_max,
  depth_max,
  fuel_base,
  fuel_per_byte,
  ident_length_max,
  messages_max,
  packet_bytes_max,
  reply_bytes_max,
} from './limits.ts'
import { type Message, newMessage } from './message.ts'
import { type FixedKind, fixedKinds, type SizedKind, type WriteKind } from './opcodes.ts'
import { decimal, decimalAt, exact, finite, hexadecimal, type Value } from './values.ts'

export type { Message } from './message.ts'

/** A command that was sent and waits for its answer. */
export interface Waiting {
  id: number
  name: string
  /** What its answer carries too; null: the next answer is its. */
  key: Value
}

/** What lives as long as the session. */
export interface MachineState {
  ident: string | undefined
  accepted: boolean
  /** Values of the session variables. */
  kept: Value[]
  waiting: Waiting[]
}

export interface MachineContext {
  authorize: (ident: string) => boolean
  /** s since 1970 UTC. */
  now: () => number
}

/** What running one packet gave. */
export interface Outcome {
  messages: Message[]
  reply: Uint8Array | null
  login: string | undefined
  close: boolean
  /** Answers to commands, with the number that the command got. */
  answers: { id: number; name: string; text: string }[]
  error: { code: string; reason: string } | undefined
}

/** Thrown while a packet is measured: more bytes are needed to know its size. */
export const starved = { starved: true }
/** Thrown when a packet is measured: ends the run. */
const measured = { measured: true }

/** Runs a program's code from an entry. */
export type Execute = (entry: number, machine: Runtime) => void

/** Up to here bytes become hex faster one by one than through a buffer. */
const short_bytes_max = 32
const hexOfByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

const none: Buffer = Buffer.alloc(0)
const noView = new DataView(new ArrayBuffer(0))
const forbiddenInIdent = /[#+/\p{C}]/u

/** A number of a fixed-size kind at an offset that was checked. */
export function readNumber(view: DataView, kind: FixedKind, at: number): Value {
  switch (kind) {
    case 'u8':
      return view.getUint8(at)
    case 'u16':
      return view.getUint16(at)
    case 'u24':
      return view.getUint16(at) * 256 + view.getUint8(at + 2)
    case 'u32':
      return view.getUint32(at)
    case 'u64':
      return exact(view.getBigUint64(at))
    case 'i8':
      return view.getInt8(at)
    case 'i16':
      return view.getInt16(at)
    case 'i24':
      return view.getInt16(at) * 256 + view.getUint8(at + 2)
    case 'i32':
      return view.getInt32(at)
    case 'i64':
      return exact(view.getBigInt64(at))
    case 'f32':
      return finite(view.getFloat32(at))
    case 'f64':
      return finite(view.getFloat64(at))
    case 'u16le':
      return view.getUint16(at, true)
    case 'u24le':
      return view.getUint16(at, true) + view.getUint8(at + 2) * 65_536
    case 'u32le':
      return view.getUint32(at, true)
    case 'u64le':
      return exact(view.getBigUint64(at, true))
    case 'i16le':
      return view.getInt16(at, true)
    case 'i24le':
      return view.getUint16(at, true) + view.getInt8(at + 2) * 65_536
    case 'i32le':
      return view.getInt32(at, true)
    case 'i64le':
      return exact(view.getBigInt64(at, true))
    case 'f32le':
      return finite(view.getFloat32(at, true))
    case 'f64le':
      return finite(view.getFloat64(at, true))
  }
}

const writeSizes: Readonly<Record<WriteKind, number>> = {
  text: 0,
  hex: 0,
  u8: 1,
  u16: 2,
  u24: 3,
  u32: 4,
  u64: 8,
  u16le: 2,
  u24le: 3,
  u32le: 4,
  u64le: 8,
}

/** Where a `try` goes back to. */
export interface Mark {
  pos: number
  depth: number
  builds: number
  message: Message | undefined
}

/**
 * The state of one session's machine while it runs a packet, and every operation on it. The interpreter and the generated code
 * do nothing to a packet but through it, so that they cannot differ in what an operation does.
 */
export class Runtime {
  readonly program: Program
  readonly state: MachineState
  readonly context: MachineContext
  readonly slots: Value[]
  /** Values that a command was given, by slot. */
  given: Map<number, Value> | undefined = undefined
  bytes: Buffer = none
  view: DataView = noView
  pos = 0
  /** End of the innermost window. */
  end = 0
  fuel = 0
  message: Message | undefined = undefined
  /** The message that was begun is not to be registered. */
  discarded = false
  messages: Message[] = []
  closing = false
  login: string | undefined = undefined
  /** The size of a packet is being found out: the end of the bytes is only the end of what has come. */
  measuring = false
  /** Of each window around this one: where it leaves to, the end outside, the bytes outside (of another packet). */
  readonly #after: number[] = []
  readonly #outer: number[] = []
  readonly #bytes: (Buffer | undefined)[] = []
  /** How many windows are open. */
  depth = 0
  /** How many sub-routines are open, where the generated code cannot tell beforehand. */
  calls = 0
  /** What a measuring found. */
  #size = 0
  #reply: number[] = []
  readonly #builds: number[][] = []
  #answers: Outcome['answers'] = []

  constructor(program: Program, state: MachineState, context: MachineContext) {
    this.program = program
    this.state = state
    this.context = context
    this.slots = program.slots.map((_, index) => program.initial[index] ?? null)
  }

  #start(bytes: Uint8Array): void {
    this.bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.pos = 0
    this.end = bytes.length
    this.fuel = fuel_base + fuel_per_byte * bytes.length
    this.message = undefined
    this.#after.length = 0
    this.#outer.length = 0
    this.#bytes.length = 0
    this.depth = 0
    this.calls = 0
    this.#builds.length = 0
  }

  /** Runs `code` over a packet; whatever the bytes are, it comes back with an outcome. */
  run(bytes: Uint8Array, execute: Execute, entry: number): Outcome {
    this.#start(bytes)
    this.messages = []
    this.closing = false
    this.login = undefined
    this.#reply = []
    this.#answers = []
    let error: Outcome['error']
    try {
      execute(entry, this)
    } catch (thrown) {
      if (!(thrown instanceof Fault)) throw thrown
      error = { code: thrown.code, reason: thrown.message }
      this.messages = []
    }
    return {
      messages: this.messages,
      reply: this.#reply.length > 0 ? new Uint8Array(this.#reply) : null,
      login: this.login,
      close: this.closing,
      answers: this.#answers,
      error,
    }
  }

  /** Runs `code` over the beginning of a packet to find its size; undefined: more bytes are needed. */
  measure(bytes: Uint8Array, execute: Execute, entry: number): number | undefined | Fault {
    this.#start(bytes)
    this.measuring = true
    // Neither the fuel nor what a fault says may depend on how much has come.
    this.fuel = fuel_base + fuel_per_byte * packet_bytes_max
    try {
      execute(entry, this)
    } catch (thrown) {
      if (thrown === starved) return undefined
      if (thrown === measured) return this.#size
      if (!(thrown instanceof Fault)) throw thrown
      return thrown.code === 'malformed'
        ? new Fault('malformed', 'its bytes do not tell the size of the packet')
        : thrown
    } finally {
      this.measuring = false
    }
    return new Fault('malformed', 'the packet has no size')
  }

  /** Runs `code` to put bytes together: a command. */
  compose(execute: Execute, entry: number, values: Map<number, Value>): Uint8Array | Fault {
    this.#start(none)
    this.given = values
    this.#reply = []
    try {
      execute(entry, this)
    } catch (thrown) {
      if (thrown instanceof Fault) return thrown
      throw thrown
    } finally {
      this.given = undefined
    }
    return new Uint8Array(this.#reply)
  }

  /** Gives the slots the values that they have when a packet begins. */
  load(): void {
    const { slots, given } = this
    const { initial, sessionSlots } = this.program
    for (let i = 0; i < slots.length; i++) slots[i] = (i < sessionSlots ? this.state.kept[i] : initial[i]) as Value
    if (given) for (const [slot, value] of given) slots[slot] = value
  }

  /** Keeps the values of the session variables. */
  keep(): void {
    for (let i = 0; i < this.program.sessionSlots; i++) this.state.kept[i] = this.slots[i] as Value
  }

  // ---- fuel

  /** One turn of a loop, a call or a lookup. */
  step(): void {
    if (--this.fuel < 0) throw new Fault('fuel', 'the packet takes too many steps')
  }

  /** The fuel is used up: for generated code, which counts by itself. */
  spent(): never {
    throw new Fault('fuel', 'the packet takes too many steps')
  }

  /** Bytes looked at. */
  #spend(count: number): void {
    this.fuel -= count >>> 4
    if (this.fuel < 0) throw new Fault('fuel', 'the packet takes too many steps')
  }

  // ---- reading

  /** There must be `count` bytes left in the window. */
  need(count: number): void {
    if (count >= 0 && this.pos + count <= this.end && Number.isInteger(count)) return
    if (this.#open && count >= 0 && Number.isInteger(count)) throw starved
    throw new Fault('malformed', `${count} bytes expected at offset ${this.pos}, ${this.end - this.pos} are left`)
  }

  /** Reads of these sizes from `pos` on do not fit into the window: the first that does not is the fault. For generated code. */
  lacks(pos: number, end: number, ...sizes: number[]): never {
    this.pos = pos
    this.end = end
    for (const size of sizes) {
      this.need(size)
      this.pos += size
    }
    throw new Error('generated code found bytes lacking that are there')
  }

  /** The end of what has come is not the end of the packet. */
  get #open(): boolean {
    return this.measuring && this.depth === 0
  }

  read(kind: FixedKind): Value {
    const size = fixedKinds[kind]
    this.need(size)
    const value = readNumber(this.view, kind, this.pos)
    this.pos += size
    return value
  }

  take(kind: SizedKind, size: Value): Value {
    const count = typeof size === 'number' ? size : Number.NaN
    this.need(count)
    const from = this.pos
    this.pos += count
    return this.#as(kind, from, this.pos)
  }

  rest(kind: SizedKind): Value {
    if (this.#open) throw starved
    const from = this.pos
    this.pos = this.end
    return this.#as(kind, from, this.pos)
  }

  until(separator: string, kind: SizedKind): Value {
    const from = this.pos
    const found = this.find(separator)
    this.pos = found < 0 ? this.end : found + separator.length
    return this.#as(kind, from, found < 0 ? this.end : found)
  }

  untilAny(separators: string, kind: SizedKind): Value {
    const from = this.pos
    let at = from
    while (at < this.end && !separators.includes(String.fromCharCode(this.bytes[at] as number))) at++
    this.#spend(at - from)
    if (at >= this.end && this.#open) throw starved
    this.pos = Math.min(at + 1, this.end)
    return this.#as(kind, from, at)
  }

  /** The longest run of bytes of a class: a mask of 256 bits in hex. */
  runOf(mask: string, kind: SizedKind): Value {
    const from = this.pos
    let at = from
    while (at < this.end && inClass(mask, this.bytes[at] as number)) at++
    this.#spend(at - from)
    if (at >= this.end && this.#open) throw starved
    this.pos = at
    return this.#as(kind, from, at)
  }

  #as(kind: SizedKind, from: number, to: number): Value {
    const { bytes } = this
    this.#spend(to - from)
    switch (kind) {
      case 'text':
        return bytes.toString('utf8', from, to)
      case 'latin1':
        return bytes.toString('latin1', from, to)
      case 'hex':
        return bytes.toString('hex', from, to)
      case 'dec':
        return decimalAt(bytes, from, to)
      case 'base16':
        return to - from > 64 ? null : hexadecimal(bytes.toString('latin1', from, to))
      case 'bcd': {
        const digits = bytes.toString('hex', from, to)
        return /^\d+$/.test(digits) ? decimal(digits) : null
      }
      case 'digits': {
        const text = bytes.toString('latin1', from, to)
        if (!onlyDigits(bytes, from, to))
          throw new Fault('malformed', `digits expected at offset ${from}, found ${JSON.stringify(text)}`)
        return text
      }
      default:
        return this.#integer(kind, from, to)
    }
  }

  #integer(kind: 'uint' | 'int' | 'uintle' | 'intle', from: number, to: number): Value {
    const count = to - from
    if (count === 0) return null
    if (count > 8) throw new Fault('malformed', `a number of ${count} bytes`)
    const little = kind.endsWith('le')
    let value = 0n
    for (let i = 0; i < count; i++) value = (value << 8n) | BigInt(this.bytes[little ? to - 1 - i : from + i] as number)
    return exact(kind.startsWith('i') ? BigInt.asIntN(count * 8, value) : value)
  }

  /** Offset of a separator in the window, or -1. */
  find(separator: string): number {
    const { bytes, end } = this
    const { length } = separator
    const first = separator.charCodeAt(0)
    for (let at = this.pos; at + length <= end; at++) {
      if (bytes[at] !== first) continue
      let same = 1
      while (same < length && bytes[at + same] === separator.charCodeAt(same)) same++
      if (same < length) continue
      this.#spend(at - this.pos)
      return at
    }
    this.#spend(end - this.pos)
    if (this.#open) throw starved
    return -1
  }

  skip(size: Value): void {
    const count = typeof size === 'number' ? size : Number.NaN
    this.need(count)
    this.pos += count
  }

  seek(to: Value): void {
    const offset = typeof to === 'number' ? to : Number.NaN
    if (Number.isInteger(offset) && offset >= 0 && offset <= this.end) this.pos = offset
    else if (this.#open && offset > this.end) throw starved
    else throw new Fault('malformed', `there is no offset ${to}`)
  }

  /** Whether these bytes come next. */
  comes(hex: string): boolean {
    const count = hex.length / 2
    const have = Math.min(count, this.end - this.pos)
    const found = this.bytes.toString('hex', this.pos, this.pos + have)
    if (have < count) {
      if (this.#open && hex.startsWith(found)) throw starved
      return false
    }
    return found === hex
  }

  match(hex: string): void {
    if (!this.comes(hex)) {
      const found = this.bytes.toString('hex', this.pos, Math.min(this.end, this.pos + hex.length / 2))
      throw new Fault('malformed', `expected ${hex} at offset ${this.pos}, found ${found || 'the end'}`)
    }
    this.pos += hex.length / 2
  }

  eat(hex: string): boolean {
    const found = this.comes(hex)
    if (found) this.pos += hex.length / 2
    return found
  }

  // ---- windows

  #enter(end: number, after: number, bytes: Buffer | undefined): void {
    this.deeper()
    this.#after.push(after)
    this.#outer.push(this.end)
    this.#bytes.push(bytes)
    this.end = end
  }

  /** One more window is open. */
  deeper(): void {
    if (++this.depth > depth_max) throw new Fault('malformed', 'windows are nested too deeply')
  }

  /** A number of bytes that are there. */
  counted(size: Value): number {
    const count = typeof size === 'number' ? size : Number.NaN
    this.need(count)
    return count
  }

  /** At the end of what has come: more may follow. For generated code. */
  starving(): void {
    if (this.#open) throw starved
  }

  window(size: Value): void {
    const count = this.counted(size)
    this.#enter(this.pos + count, this.pos + count, undefined)
  }

  within(separator: string): void {
    const found = this.find(separator)
    const end = found < 0 ? this.end : found
    this.#enter(end, found < 0 ? end : found + separator.length, undefined)
  }

  /** Opens a window on the next part; false when nothing is left. */
  part(separator: string): boolean {
    if (this.pos >= this.end) {
      if (this.#open) throw starved
      return false
    }
    this.within(separator)
    return true
  }

  /** The packet is this long: nothing more is to be found out. */
  measured(size: Value): void {
    if (!this.measuring) throw new Fault('unsupported', 'packet stands in a sub-routine that measures')
    if (typeof size !== 'number' || !Number.isInteger(size) || size <= 0)
      throw new Fault('malformed', `a packet of ${size} bytes`)
    this.#size = size
    throw measured
  }

  inside(hex: Value): void {
    const bytes = this.other(hex)
    this.#enter(bytes.length, this.pos, this.bytes)
    this.use(bytes)
    this.pos = 0
  }

  /** Other bytes than the packet's. */
  other(hex: Value): Buffer {
    const text = hex === null ? '' : String(hex)
    this.#spend(text.length)
    return Buffer.from(text, 'hex')
  }

  use(bytes: Buffer): void {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  leave(): void {
    const after = this.#after.pop()
    const outer = this.#outer.pop()
    const bytes = this.#bytes.pop()
    if (after === undefined || outer === undefined) throw new Fault('malformed', 'leave without a window')
    if (bytes) this.use(bytes)
    this.depth--
    this.pos = after
    this.end = outer
  }

  // ---- try

  mark(): Mark {
    return { pos: this.pos, depth: this.depth, builds: this.#builds.length, message: this.message }
  }

  /** For generated code, which knows itself where it was: whether what was thrown is of malformed bytes; else throws it on. */
  caught(thrown: unknown, mark: Mark, calls: number, bytes: Buffer): void {
    if (!(thrown instanceof Fault) || thrown.code !== 'malformed') throw thrown
    this.depth = mark.depth
    this.calls = calls
    if (this.bytes !== bytes) this.use(bytes)
    this.#builds.length = mark.builds
    this.message = mark.message
    this.step()
  }

  /** Goes back to a mark if what was thrown is of malformed bytes; else throws it on. */
  reset(mark: Mark, thrown: unknown): void {
    if (!(thrown instanceof Fault) || thrown.code !== 'malformed' || this.#after.length < mark.depth) throw thrown
    while (this.#after.length > mark.depth) this.leave()
    this.pos = mark.pos
    this.#builds.length = mark.builds
    this.message = mark.message
    this.step()
  }

  /** Calls are nested too deeply: for generated code, which counts by itself. */
  tooDeep(): never {
    throw new Fault('malformed', 'calls are nested too deeply')
  }

  // ---- messages

  /** A parameter where there is no message: for generated code. */
  outside(name: string): never {
    throw new Fault('unsupported', `the parameter ${name} is outside of a message`)
  }

  begin(): void {
    this.discarded = false
    this.message = newMessage(undefined)
  }

  discard(): void {
    this.discarded = true
  }

  set(name: string, value: Value): void {
    if (value === null || value === '') return
    if (!this.message) throw new Fault('unsupported', `the parameter ${name} is outside of a message`)
    this.message[name] = value
  }

  named(value: Value, name: Value): void {
    this.set(String(name).slice(0, 100), value)
  }

  emit(): void {
    const { message, state } = this
    if (!message) throw new Fault('unsupported', 'a message ends that did not begin')
    this.message = undefined
    if (this.discarded) return
    if (state.ident === undefined) throw new Fault('refused', 'a message before the log-in')
    if (!state.accepted) throw new Fault('refused', `the ident ${state.ident} may not come in`)
    if (this.messages.length >= messages_max)
      throw new Fault('malformed', `more than ${messages_max} messages in a packet`)
    if (typeof message.timestamp !== 'number') message.timestamp = this.context.now()
    message.ident = state.ident
    this.messages.push(message)
  }

  // ---- the session

  bind(value: Value): void {
    const ident = String(value ?? '').trim()
    if (
      ident !== this.state.ident &&
      (ident === '' || ident.length > ident_length_max || forbiddenInIdent.test(ident))
    ) {
      this.closing = true
      throw new Fault('refused', `not an ident: ${JSON.stringify(ident.slice(0, ident_length_max))}`)
    }
    this.state.ident = ident
    this.state.accepted = this.context.authorize(ident)
    this.login = ident
  }

  answer(key: Value, text: Value): void {
    const { waiting } = this.state
    const index = key === null ? 0 : waiting.findIndex((command) => command.key === key || command.key === null)
    const [command] = index < 0 ? [] : waiting.splice(index, 1)
    if (command) this.#answers.push({ id: command.id, name: command.name, text: text === null ? '' : String(text) })
  }

  // ---- writing

  build(): void {
    if (this.#builds.length >= depth_max) throw new Fault('malformed', 'bytes are nested too deeply')
    this.#builds.push([])
  }

  built(): string {
    const bytes = this.#builds.pop() ?? []
    if (bytes.length > short_bytes_max) return Buffer.from(bytes).toString('hex')
    let text = ''
    for (const byte of bytes) text += hexOfByte[byte]
    return text
  }

  write(kind: WriteKind, value: Value): void {
    const target = this.#builds.at(-1) ?? this.#reply
    const add = (bytes: Iterable<number> & { length: number }): void => {
      if (target.length + bytes.length > reply_bytes_max) throw new Fault('malformed', 'the answer grows too long')
      this.#spend(bytes.length)
      for (const byte of bytes) target.push(byte)
    }
    if (kind === 'text') return add(Buffer.from(value === null ? '' : String(value)))
    if (kind === 'hex') return add(Buffer.from(value === null ? '' : String(value), 'hex'))
    const size = writeSizes[kind]
    if (typeof value === 'number' && size <= 4 && value >= 0 && value <= 0xffffffff) {
      const bytes: number[] = []
      for (let i = 0; i < size; i++) bytes.push((value >>> (8 * (kind.endsWith('le') ? i : size - 1 - i))) & 255)
      return add(bytes)
    }
    let rest = 0n
    if (typeof value === 'number' && Number.isFinite(value)) rest = BigInt(Math.trunc(value))
    else if (typeof value === 'string' && /^-?\d{1,20}$/.test(value)) rest = BigInt(value)
    else if (value === true) rest = 1n
    const bytes: number[] = []
    for (let i = 0; i < size; i++) {
      bytes.push(Number(BigInt.asUintN(8, rest)))
      rest >>= 8n
    }
    add(kind.endsWith('le') ? bytes : bytes.reverse())
  }

  // ---- what functions ask for

  distance(text: string): number {
    const found = this.find(text)
    return found < 0 ? -1 : found - this.pos
  }

  last(text: string): number {
    if (this.#open) throw starved
    this.#spend(this.bytes.length)
    return this.bytes.length === 0 || text === '' ? -1 : this.bytes.lastIndexOf(text, undefined, 'latin1')
  }

  byteAt(offset: Value): Value {
    if (typeof offset !== 'number') return null
    if (offset >= this.bytes.length && this.measuring) throw starved
    return this.bytes[offset] ?? null
  }

  size(): number {
    if (this.measuring) throw starved
    return this.bytes.length
  }

  left(): number {
    if (this.#open) throw starved
    return this.end - this.pos
  }

  now(): number {
    return this.context.now()
  }

  ident(): Value {
    return this.state.ident ?? null
  }

  accepted(): boolean {
    return this.state.accepted
  }

  sumOf(checksum: (bytes: Uint8Array, from: number, to: number) => number, bytes: Uint8Array): number {
    this.#spend(bytes.length)
    return checksum(bytes, 0, bytes.length)
  }

  /** Over the packet from … to (excluded). */
  sumOver(checksum: (bytes: Uint8Array, from: number, to: number) => number, from: Value, to: Value): number {
    const [a, b] = [Number(from), Number(to)]
    if (!(Number.isInteger(a) && Number.isInteger(b) && a >= 0 && b >= a && b <= this.bytes.length)) {
      if (this.measuring && b > this.bytes.length) throw starved
      throw new Fault('malformed', `no bytes ${a} to ${b} in a packet of ${this.bytes.length}`)
    }
    this.#spend(b - a)
    return checksum(this.bytes, a, b)
  }

  /** A command was sent: its answer is waited for. */
  expect(command: Waiting): void {
    const { waiting } = this.state
    if (waiting.length >= commands_max) waiting.shift()
    waiting.push(command)
  }
}

function onlyDigits(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const byte = bytes[i] as number
    if (byte < 48 || byte > 57) return false
  }
  return true
}

/** Whether a byte is of a class given as 64 hex digits, the lowest bytes first. */
export function inClass(mask: string, byte: number): boolean {
  return ((Number.parseInt(mask[byte >> 2] as string, 16) >> (byte & 3)) & 1) === 1
}
