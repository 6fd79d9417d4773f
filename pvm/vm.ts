import { type Program, writes } from './compile.ts'
import { Fault } from './errors.ts'
import { depth_max, fuel_base, fuel_per_byte, ident_length_max, messages_max, reply_bytes_max } from './limits.ts'
import { functions, type Kind, kinds, opcode } from './opcodes.ts'
import { isRegistered } from './registry.ts'

export type Value = number | string | boolean | null

/** A unified message: flat, `ident` and `timestamp` first. */
export type Message = { ident?: string; timestamp?: number } & Record<string, Value | undefined>

/** What the machine keeps between the packets of one session. */
export interface MachineState {
  ident: string | undefined
  accepted: boolean
  /** Values of the session variables. */
  kept: Value[]
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
  error: { code: string; reason: string } | undefined
}

const op = (name: string) => opcode(name).code
const HALT = op('halt'),
  PUSH = op('push'),
  LOAD = op('load'),
  STORE = op('store'),
  DUP = op('dup'),
  POP = op('pop')
const READ = op('read'),
  TAKE = op('take'),
  REST = op('rest'),
  UNTIL = op('until'),
  SKIP = op('skip'),
  SEEK = op('seek'),
  MATCH = op('match')
const WINDOW = op('window'),
  WITHIN = op('within'),
  NEXT = op('next'),
  LEAVE = op('leave')
const BEGIN = op('begin'),
  EMIT = op('emit'),
  PARAM = op('param'),
  NAMED = op('named')
const LOGIN = op('login'),
  WRITE = op('write'),
  FAIL = op('fail'),
  CLOSE = op('close')
const JUMP = op('jump'),
  UNLESS = op('unless'),
  CALL = op('call'),
  RETURN = op('return'),
  LOOKUP = op('lookup'),
  FUNC = op('func')
const ADD = op('add'),
  SUB = op('sub'),
  MUL = op('mul'),
  DIV = op('div'),
  MOD = op('mod'),
  AND = op('and'),
  OR = op('or'),
  SHL = op('shl'),
  SHR = op('shr')
const NEG = op('neg'),
  NOT = op('not'),
  EQ = op('eq'),
  NE = op('ne'),
  LT = op('lt'),
  LE = op('le'),
  GT = op('gt'),
  GE = op('ge')

const utf8 = new TextDecoder('utf-8')

/** Bytes of each kind of fixed size. */
const sizes = kinds.map((kind) => Number(/^[uif](\d+)/.exec(kind)?.[1] ?? 0) / 8)

/** A big number as a number where that is exact, else as decimal text. */
const exact = (value: bigint): number | string => {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value.toString()
}

/** A number of a fixed-size kind at an offset that was checked. */
export function readNumber(view: DataView, kind: Kind, at: number): number | string {
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
    case 'i32':
      return view.getInt32(at)
    case 'i64':
      return exact(view.getBigInt64(at))
    case 'f32':
      return view.getFloat32(at)
    case 'f64':
      return view.getFloat64(at)
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
    case 'i32le':
      return view.getInt32(at, true)
    case 'i64le':
      return exact(view.getBigInt64(at, true))
    case 'f32le':
      return view.getFloat32(at, true)
    case 'f64le':
      return view.getFloat64(at, true)
    default:
      throw new Error(`${kind} has no fixed size`)
  }
}

const crcTable = Uint16Array.from({ length: 256 }, (_, n) => {
  let crc = n
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xa001 : crc >>> 1
  return crc
})

/** CRC-16/ARC, which makers call CRC-16/IBM. */
export function crc16(bytes: Uint8Array, from = 0, to = bytes.length): number {
  let crc = 0
  for (let i = from; i < to; i++) crc = (crc >>> 8) ^ (crcTable[(crc ^ (bytes[i] as number)) & 255] as number)
  return crc
}

/** Whether a value counts as true. */
const holds = (value: Value) => value !== null && value !== 0 && value !== false && value !== ''

/** The reference interpreter: one packet at a time, bounded in steps, depth, messages and answer. */
export class Machine {
  readonly #program: Program
  readonly #state: MachineState
  readonly #context: MachineContext
  readonly #slots: Value[]
  #bytes: Uint8Array = new Uint8Array()
  #view: DataView = new DataView(new ArrayBuffer(0))
  #pos = 0
  #end = 0
  #fuel = 0
  /** End and what follows it, of each window around this one. */
  #windows: { end: number; outer: number }[] = []
  #message: Message | undefined
  #messages: Message[] = []
  #reply: number[] = []
  #login: string | undefined
  #close = false

  constructor(program: Program, state: MachineState, context: MachineContext) {
    this.#program = program
    this.#state = state
    this.#context = context
    this.#slots = new Array<Value>(program.slots.length).fill(null)
  }

  /** Runs one packet from an entry. Never throws on bad bytes: they are in `error`. */
  run(entry: number, bytes: Uint8Array): Outcome {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#pos = 0
    this.#end = bytes.length
    this.#fuel = fuel_base + fuel_per_byte * bytes.length
    this.#windows = []
    this.#message = undefined
    this.#messages = []
    this.#reply = []
    this.#login = undefined
    this.#close = false
    const slots = this.#slots
    const { sessionSlots } = this.#program
    for (let i = 0; i < slots.length; i++) slots[i] = i < sessionSlots ? (this.#state.kept[i] ?? null) : null
    let error: Outcome['error']
    try {
      this.#execute(entry)
    } catch (fault) {
      if (!(fault instanceof Fault)) throw fault
      error = { code: fault.code, reason: fault.message }
      this.#messages = []
    }
    for (let i = 0; i < sessionSlots; i++) this.#state.kept[i] = slots[i] as Value
    const reply = this.#reply.length > 0 ? Uint8Array.from(this.#reply) : null
    return { messages: this.#messages, reply, login: this.#login, close: this.#close, error }
  }

  #need(count: number): void {
    if (count < 0 || this.#pos + count > this.#end) {
      throw new Fault('malformed', `${count} bytes expected at offset ${this.#pos}, ${this.#end - this.#pos} are left`)
    }
  }

  #text(from: number, to: number): string {
    return utf8.decode(this.#bytes.subarray(from, to))
  }

  #hex(from: number, to: number): string {
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + from, to - from).toString('hex')
  }

  /** `count` bytes as text, hex or number. */
  #take(kind: Kind, count: number): Value {
    this.#need(count)
    const from = this.#pos
    this.#pos += count
    this.#fuel -= count
    if (kind === 'text') return this.#text(from, this.#pos)
    if (kind === 'hex') return this.#hex(from, this.#pos)
    if (count === 0) return null
    if (count > 8) throw new Fault('malformed', `a number of ${count} bytes`)
    let value = 0n
    for (let i = 0; i < count; i++) {
      const byte = this.#bytes[kind.endsWith('le') ? this.#pos - 1 - i : from + i] as number
      value = (value << 8n) | BigInt(byte)
    }
    return exact(kind.startsWith('i') ? BigInt.asIntN(count * 8, value) : value)
  }

  /** Offset of a separator at or after the current byte, or the end of the window. */
  #find(separator: string): number {
    const wanted = separator.charCodeAt(0)
    for (let i = this.#pos; i + separator.length <= this.#end; i++) {
      if (this.#bytes[i] !== wanted) continue
      let j = 1
      while (j < separator.length && this.#bytes[i + j] === separator.charCodeAt(j)) j++
      if (j === separator.length) return i
    }
    return this.#end
  }

  #open(end: number, after: number): void {
    if (this.#windows.length >= depth_max) throw new Fault('malformed', 'windows are nested too deeply')
    this.#windows.push({ end: after, outer: this.#end })
    this.#end = end
  }

  /** Opens a window up to a separator; what follows it is where the window leaves to. */
  #within(separator: string): void {
    const end = this.#find(separator)
    this.#fuel -= end - this.#pos
    this.#open(end, Math.min(end + separator.length, this.#end))
  }

  #leave(): void {
    const window = this.#windows.pop()
    if (!window) throw new Error('leave without a window')
    this.#pos = window.end
    this.#end = window.outer
  }

  #set(name: string, value: Value): void {
    if (value === null || value === '') return
    if (!this.#message) throw new Fault('unsupported', `the parameter ${name} is outside of a message`)
    if (typeof value === 'number' && !Number.isFinite(value)) return
    this.#message[name] = value
  }

  #emit(): void {
    const message = this.#message
    if (!message) throw new Error('emit without a message')
    this.#message = undefined
    if (this.#state.ident === undefined) throw new Fault('refused', 'a message before the log-in')
    if (!this.#state.accepted) throw new Fault('refused', `the ident ${this.#state.ident} may not come in`)
    if (this.#messages.length >= messages_max)
      throw new Fault('malformed', `more than ${messages_max} messages in a packet`)
    if (message.timestamp === undefined) message.timestamp = this.#context.now()
    message.ident = this.#state.ident
    this.#messages.push(message)
  }

  #bind(value: Value): void {
    const ident = String(value ?? '').trim()
    if (ident === '' || ident.length > ident_length_max || /[#+/\p{C}]/u.test(ident)) {
      this.#close = true
      throw new Fault('refused', `not an ident: ${JSON.stringify(ident.slice(0, ident_length_max))}`)
    }
    this.#state.ident = ident
    this.#state.accepted = this.#context.authorize(ident)
    this.#login = ident
  }

  #write(kind: (typeof writes)[number], value: Value): void {
    const add = (...bytes: number[]): void => {
      if (this.#reply.length + bytes.length > reply_bytes_max) throw new Fault('malformed', 'the answer grows too long')
      this.#reply.push(...bytes)
    }
    if (kind === 'text') return add(...Buffer.from(String(value ?? '')))
    if (kind === 'hex') return add(...Buffer.from(String(value ?? ''), 'hex'))
    const size = Number(/\d+/.exec(kind)?.[0]) / 8
    const bytes: number[] = []
    let rest = Number(value)
    for (let i = 0; i < size; i++) {
      bytes.push(rest % 256)
      rest = Math.floor(rest / 256)
    }
    add(...(kind.endsWith('le') ? bytes : bytes.reverse()))
  }

  #span(from: Value, to: Value): [number, number] {
    const [a, b] = [Number(from), Number(to)]
    if (!(a >= 0 && b >= a && b <= this.#bytes.length))
      throw new Fault('malformed', `no bytes ${a} to ${b} in a packet of ${this.#bytes.length}`)
    this.#fuel -= b - a
    return [a, b]
  }

  #function(name: string, a: Value[]): Value {
    const [x = null, y = null, z = null] = a
    switch (name) {
      case 'number': {
        if (typeof x === 'number') return x
        if (x === null || typeof x === 'boolean') return null
        const text = x.trim()
        return /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(text) ? Number(text) : null
      }
      case 'hexnumber': {
        const text = String(x ?? '')
          .trim()
          .replace(/^0x/i, '')
        return /^[0-9a-fA-F]{1,13}$/.test(text) ? Number.parseInt(text, 16) : null
      }
      case 'time':
        return time(a)
      case 'dm': {
        const match = /^(\d{1,3}?)(\d{1,2}(?:\.\d+)?)$/.exec(String(x ?? '').trim())
        if (!match || typeof y !== 'string') return null
        const degrees = Number(match[1]) + Number(match[2]) / 60
        return round(/[SW]/i.test(y) ? -degrees : degrees, 7)
      }
      case 'slice':
        return x === null ? null : String(x).slice(Number(y), Number(z))
      case 'len':
        return String(x ?? '').length
      case 'bit':
        return x === null ? null : Math.floor(Number(x) / 2 ** Number(y)) % 2 === 1
      case 'crc16_ibm':
        return crc16(this.#bytes, ...this.#span(x, y))
      case 'xor8': {
        const [from, to] = this.#span(x, y)
        let sum = 0
        for (let i = from; i < to; i++) sum ^= this.#bytes[i] as number
        return sum
      }
      case 'sum8': {
        const [from, to] = this.#span(x, y)
        let sum = 0
        for (let i = from; i < to; i++) sum = (sum + (this.#bytes[i] as number)) & 255
        return sum
      }
      case 'round':
        return x === null ? null : round(Number(x), Number(y))
      case 'printable': {
        const bytes = Buffer.from(String(x ?? ''), 'hex')
        return bytes.every((byte) => (byte >= 32 && byte < 127) || byte === 13 || byte === 10)
          ? bytes.toString().trim()
          : String(x ?? '')
      }
      case 'reversed':
        return Buffer.from(String(x ?? ''), 'hex')
          .reverse()
          .toString('hex')
      case 'find': {
        const found = this.#find(String(x))
        return found === this.#end ? -1 : found
      }
      case 'last':
        return this.#bytes.length === 0
          ? -1
          : Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length).lastIndexOf(String(x))
      case 'now':
        return this.#context.now()
      case 'size':
        return this.#bytes.length
      case 'pos':
        return this.#pos
      case 'left':
        return this.#end - this.#pos
      case 'accepted':
        return this.#state.accepted
      case 'choose':
        return holds(x) ? y : z
      default:
        throw new Error(`no function ${name}`)
    }
  }

  #execute(entry: number): void {
    const { code, constants, tables } = this.#program
    const slots = this.#slots
    const stack: Value[] = []
    const returns: number[] = []
    let at = entry
    const pop = (): Value => stack.pop() as Value
    const operand = (): number => code[at++] as number
    const goto = (address: number, back: number) => {
      if (returns.length >= depth_max) throw new Fault('malformed', 'calls are nested too deeply')
      returns.push(back)
      at = address
    }
    for (;;) {
      if (--this.#fuel < 0) throw new Fault('fuel', 'the packet takes too many steps')
      const instruction = operand()
      switch (instruction) {
        case HALT:
          return
        case PUSH:
          stack.push(constants[operand()] as Value)
          break
        case LOAD:
          stack.push(slots[operand()] as Value)
          break
        case STORE:
          slots[operand()] = pop()
          break
        case DUP:
          stack.push(stack[stack.length - 1] as Value)
          break
        case POP:
          pop()
          break
        case READ: {
          const kind = operand()
          const size = sizes[kind] as number
          this.#need(size)
          stack.push(readNumber(this.#view, kinds[kind] as Kind, this.#pos))
          this.#pos += size
          break
        }
        case TAKE: {
          const kind = kinds[operand()] as Kind
          stack.push(this.#take(kind, Number(pop())))
          break
        }
        case REST:
          stack.push(this.#take(kinds[operand()] as Kind, this.#end - this.#pos))
          break
        case UNTIL: {
          const separator = constants[operand()] as string
          const end = this.#find(separator)
          this.#fuel -= end - this.#pos
          stack.push(this.#text(this.#pos, end))
          this.#pos = Math.min(end + separator.length, this.#end)
          break
        }
        case SKIP: {
          const count = Number(pop())
          this.#need(count)
          this.#pos += count
          break
        }
        case SEEK: {
          const offset = Number(pop())
          if (!(offset >= 0 && offset <= this.#end)) throw new Fault('malformed', `there is no offset ${offset}`)
          this.#pos = offset
          break
        }
        case MATCH: {
          const wanted = constants[operand()] as string
          this.#need(wanted.length / 2)
          const found = this.#hex(this.#pos, this.#pos + wanted.length / 2)
          if (found !== wanted)
            throw new Fault('malformed', `expected ${wanted} at offset ${this.#pos}, found ${found}`)
          this.#pos += wanted.length / 2
          break
        }
        case WINDOW: {
          const count = Number(pop())
          this.#need(count)
          this.#open(this.#pos + count, this.#pos + count)
          break
        }
        case WITHIN:
          this.#within(constants[operand()] as string)
          break
        case NEXT: {
          const separator = constants[operand()] as string
          const out = operand()
          if (this.#pos >= this.#end) at = out
          else this.#within(separator)
          break
        }
        case LEAVE:
          this.#leave()
          break
        case BEGIN:
          this.#message = { ident: '', timestamp: undefined } as unknown as Message
          break
        case EMIT:
          this.#emit()
          break
        case PARAM:
          this.#set(constants[operand()] as string, pop())
          break
        case NAMED: {
          const name = String(pop())
          const value = pop()
          // What a device names itself must not pass for one of our parameters.
          this.#set(isRegistered(name) && !name.includes('.') ? `raw.${name}` : name, value)
          break
        }
        case LOGIN:
          this.#bind(pop())
          break
        case WRITE:
          this.#write(writes[operand()] as (typeof writes)[number], pop())
          break
        case FAIL:
          throw new Fault(constants[operand()] as string, String(pop()))
        case CLOSE:
          this.#close = true
          break
        case JUMP:
          at = operand()
          break
        case UNLESS: {
          const address = operand()
          if (!holds(pop())) at = address
          break
        }
        case CALL: {
          const address = operand()
          goto(address, at)
          break
        }
        case RETURN: {
          const back = returns.pop()
          if (back === undefined) return
          at = back
          break
        }
        case LOOKUP: {
          const table = tables[operand()]
          const otherwise = operand()
          const address = table?.entries.get(pop() as number | string)
          // An entry comes back behind the lookup; without one its `else` follows.
          if (address === undefined) at = otherwise
          else goto(address, at)
          break
        }
        case FUNC: {
          const name = functions[operand()]?.[0] as string
          const count = operand()
          stack.push(this.#function(name, stack.splice(stack.length - count, count)))
          break
        }
        case NEG: {
          const a = pop()
          stack.push(a === null ? null : -Number(a))
          break
        }
        case NOT:
          stack.push(!holds(pop()))
          break
        default: {
          const b = pop()
          stack.push(binary(instruction, pop(), b))
        }
      }
    }
  }
}

function round(value: number, decimals: number): number {
  return Number(value.toFixed(Math.max(0, Math.min(12, decimals))))
}

/** Parts of a date as s since 1970; two-digit years are of this century. */
function time(parts: Value[]): number | null {
  if (parts.some((part) => part === null || part === '')) return null
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.map(Number)
  if (!(month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour < 24 && minute < 60 && second < 61)) return null
  const seconds = Date.UTC(year < 100 ? 2000 + year : year, month - 1, day, hour, minute, 0) / 1000 + second
  return Number.isFinite(seconds) ? seconds : null
}

/** Arithmetic with null is null; comparisons with null are false, but for equality. */
function binary(instruction: number, a: Value, b: Value): Value {
  if (instruction === EQ) return a === b
  if (instruction === NE) return a !== b
  if (a === null || b === null) return instruction >= LT ? false : null
  if (instruction === ADD) return typeof a === 'string' || typeof b === 'string' ? `${a}${b}` : Number(a) + Number(b)
  if (instruction === OR && typeof a === 'boolean') return a || holds(b)
  const [x, y] = [Number(a), Number(b)]
  if (Number.isNaN(x) || Number.isNaN(y)) return instruction >= LT ? false : null
  switch (instruction) {
    case SUB:
      return x - y
    case MUL:
      return x * y
    case DIV:
      return y === 0 ? null : x / y
    case MOD:
      return y === 0 ? null : x % y
    case AND:
      if (x >= 0 && y >= 0 && x <= 0x7fffffff && y <= 0x7fffffff) return x & y
      return Number(BigInt.asUintN(53, BigInt(Math.trunc(x)) & BigInt(Math.trunc(y))))
    case OR:
      return Number(BigInt.asUintN(53, BigInt(Math.trunc(x)) | BigInt(Math.trunc(y))))
    case SHL:
      return x * 2 ** y
    case SHR:
      return Math.floor(x / 2 ** y)
    case LT:
      return x < y
    case LE:
      return x <= y
    case GT:
      return x > y
    case GE:
      return x >= y
    default:
      throw new Error(`no instruction ${instruction}`)
  }
}
