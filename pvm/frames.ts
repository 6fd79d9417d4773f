/** Finding packets in a stream of bytes: the rules of `frame`. */
import type { Transport } from './ast.ts'
import { Fault } from './errors.ts'
import { HttpRequest, unchunked } from './http.ts'
import { packet_bytes_max } from './limits.ts'
import { type FixedKind, fixedKinds } from './opcodes.ts'
import type { Frame, Program } from './program.ts'
import type { Execute, Runtime } from './runtime.ts'

/** A packet that was found: its size, and which of its bytes the description sees. */
export interface FoundPacket {
  size: number
  /** Where the ending begins; `size` when there is none to be left out. */
  end: number
  frame: Frame
}

export type Found = FoundPacket | { more: true } | { code: string; reason: string }

/** A rule with its bytes at hand. */
interface Rule {
  frame: Frame
  prefix: Buffer
  endings: Buffer[]
  until: Buffer
}

const more = { more: true } as const
const methods = ['GET ', 'POST ', 'PUT ', 'HEAD ', 'OPTIONS ', 'PATCH ', 'DELETE ']
/** Digits of a length whose end is told by a separator. */
const length_digits_max = 8

/** The framing of one session. */
export class Framer {
  readonly #program: Program
  readonly #rules: Record<Transport, Rule[]>
  readonly #junk: Set<number>
  readonly #measure: (entry: number, bytes: Uint8Array) => number | undefined | Fault
  /** How far the bytes were looked through for an ending, so that a long line is not looked through again for every piece. */
  #searched = 0
  /** The request that is under way. */
  #request: HttpRequest | undefined = undefined

  constructor(program: Program, machine: Runtime, execute: Execute) {
    this.#program = program
    const rules = program.frames.map((frame) => ({
      frame,
      prefix: Buffer.from(frame.prefix, 'hex'),
      endings: frame.size.kind === 'line' ? frame.size.endings.map((hex) => Buffer.from(hex, 'hex')) : [],
      until: Buffer.from(frame.size.kind === 'digits' ? frame.size.until : '', 'hex'),
    }))
    this.#rules = {
      tcp: rules.filter(({ frame }) => frame.transports.includes('tcp')),
      udp: rules.filter(({ frame }) => frame.transports.includes('udp')),
    }
    this.#junk = new Set(Buffer.from(program.junk, 'hex'))
    this.#measure = (entry, bytes) => machine.measure(bytes, execute, entry)
  }

  /** Where the next packet may begin: behind bytes that stand between packets. */
  junk(bytes: Uint8Array, from: number): number {
    let at = from
    if (this.#junk.size > 0) while (at < bytes.length && this.#junk.has(bytes[at] as number)) at++
    return at
  }

  /** The packet at the start of `bytes`: the first rule that fits decides; a beginning that is not whole yet waits. */
  find(bytes: Uint8Array, transport: Transport = 'tcp'): Found {
    let wrong: { code: string; reason: string } | undefined
    for (const rule of this.#rules[transport]) {
      const fits = this.#begins(bytes, rule)
      if (fits === 'no') continue
      if (fits === 'perhaps') return more
      const found = this.#size(bytes, rule)
      if (!('code' in found)) {
        if ('size' in found) this.reset()
        return found
      }
      // The next rule may fit where this one's limits do not.
      this.reset()
      wrong ??= found
    }
    if (wrong) return wrong
    return {
      code: 'unframed',
      reason: `no packet of ${this.#program.name} begins with ${this.#stranger(bytes, transport)}`,
    }
  }

  /** The shortest start of the bytes that no rule begins with, however many have come. */
  #stranger(bytes: Uint8Array, transport: Transport): string {
    let count = 1
    while (
      count < bytes.length &&
      this.#rules[transport].some((rule) => this.#begins(bytes.subarray(0, count), rule) !== 'no')
    )
      count++
    return Buffer.from(bytes.subarray(0, count)).toString('hex')
  }

  /** The rules that a packet framed elsewhere may be of, the likeliest first: those that it begins like, then any. */
  candidates(bytes: Uint8Array): Frame[] {
    const all = [...new Set([...this.#rules.udp, ...this.#rules.tcp])]
    const fitting = all.filter((rule) => this.#begins(bytes, rule) === 'yes')
    const specific = fitting.filter(({ prefix }) => prefix.length > 0)
    const whole = fitting.filter(({ frame }) => frame.size.kind === 'whole' && frame.prefix === '')
    return [...new Set([...specific, ...whole, ...fitting, ...all])].map(({ frame }) => frame)
  }

  /** A new stream of bytes begins. */
  reset(): void {
    this.#searched = 0
    this.#request = undefined
  }

  #begins(bytes: Uint8Array, { prefix, frame }: Rule): 'yes' | 'no' | 'perhaps' {
    if (frame.size.kind === 'http') {
      const start = Buffer.from(bytes.subarray(0, 8)).toString('latin1')
      if (methods.some((method) => start.startsWith(method))) return 'yes'
      return methods.some((method) => method.startsWith(start)) ? 'perhaps' : 'no'
    }
    const common = Math.min(prefix.length, bytes.length)
    for (let i = 0; i < common; i++) if (bytes[i] !== prefix[i]) return 'no'
    return bytes.length < prefix.length ? 'perhaps' : 'yes'
  }

  #size(bytes: Uint8Array, rule: Rule): Found {
    const { frame } = rule
    const { size } = frame
    switch (size.kind) {
      case 'fixed':
        return this.#checked(bytes, size.bytes, size.bytes, frame)
      case 'whole':
        return this.#checked(bytes, bytes.length, bytes.length, frame)
      case 'field': {
        if (bytes.length < size.at + fixedKinds[size.read]) return more
        const length = ((unsignedAt(bytes, size.read, size.at) & size.mask) >>> 0) + size.plus
        return this.#checked(bytes, length, length, frame)
      }
      case 'digits':
        return this.#digits(bytes, rule, size)
      case 'line':
        return this.#line(bytes, rule, size.extra)
      case 'measure': {
        // No more than may be needed, so that it does not matter how much has come.
        const found = this.#measure(size.entry, bytes.subarray(0, frame.max))
        if (found === undefined) return bytes.length >= frame.max ? tooLong(frame) : more
        if (found instanceof Fault) return { code: found.code, reason: found.message }
        return this.#checked(bytes, found, found, frame)
      }
      case 'http':
        return this.#http(bytes, frame)
    }
  }

  #checked(bytes: Uint8Array, size: number, end: number, frame: Frame): Found {
    if (size > frame.max) return { code: 'too_long', reason: `a packet of ${size} bytes, at most ${frame.max}` }
    if (size < frame.min || size <= 0)
      return { code: 'malformed', reason: `a packet of ${size} bytes, at least ${Math.max(1, frame.min)}` }
    return bytes.length < size ? more : { size, end, frame }
  }

  #digits(bytes: Uint8Array, rule: Rule, size: Frame['size'] & { kind: 'digits' }): Found {
    const { frame, until } = rule
    const longest = size.digits || length_digits_max
    let length = 0
    let end = size.at
    for (; end < size.at + longest || size.digits === 0; end++) {
      if (end >= bytes.length) return more
      const byte = bytes[end] as number
      if (size.digits === 0 && end > size.at && byte === until[0]) break
      const digit = Number.parseInt(String.fromCharCode(byte), size.base)
      if (Number.isNaN(digit) || end >= size.at + longest)
        return { code: 'malformed', reason: 'its length is no number' }
      length = length * size.base + digit
    }
    const total = length + size.plus + (size.digits > 0 ? 0 : end)
    return this.#checked(bytes, total, total, frame)
  }

  #line(bytes: Uint8Array, { frame, prefix, endings }: Rule, extra: number): Found {
    const longest = Math.max(...endings.map((ending) => ending.length))
    const from = Math.max(prefix.length, this.#searched - longest)
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    let end = -1
    let length = 0
    for (const ending of endings) {
      const found = buffer.indexOf(ending, from)
      if (found < 0 || (end >= 0 && found + ending.length > end + length)) continue
      // The ending that is complete first, as it would be found byte by byte; of two such the longer one.
      if (end >= 0 && found + ending.length === end + length && ending.length < length) continue
      end = found
      length = ending.length
    }
    this.#searched = bytes.length
    const size = end + length + extra
    if (end < 0 ? bytes.length > frame.max : size > frame.max) return tooLong(frame)
    if (end < 0) return more
    return this.#checked(bytes, size, extra > 0 ? size : end, frame)
  }

  #http(bytes: Uint8Array, frame: Frame): Found {
    this.#request ??= new HttpRequest()
    const size = this.#request.size(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), frame.max)
    if (size === undefined) return more
    return typeof size === 'number' ? this.#checked(bytes, size, size, frame) : size
  }
}

/** A length field of at most 32 bits. */
function unsignedAt(bytes: Uint8Array, kind: FixedKind, at: number): number {
  const size = fixedKinds[kind]
  const little = kind.endsWith('le')
  let value = 0
  for (let i = 0; i < size; i++) value = value * 256 + (bytes[little ? at + size - 1 - i : at + i] as number)
  return value
}

const tooLong = (frame: Frame) => ({ code: 'too_long', reason: `a packet of more than ${frame.max} bytes` })

/** The bytes of a packet as the description sees them: without its ending, with what escapes stand for, a request's body without chunks. */
export function unescaped(bytes: Uint8Array, frame: Frame): Uint8Array {
  if (frame.size.kind === 'http') return unchunked(bytes)
  if (frame.escapes.length === 0) return bytes
  const pairs = frame.escapes.map(([from, to]) => [Buffer.from(from, 'hex'), Buffer.from(to, 'hex')] as const)
  const firsts = new Set(pairs.map(([from]) => from[0]))
  const out = Buffer.allocUnsafe(
    Math.min(bytes.length * Math.max(1, ...pairs.map(([, to]) => to.length)), packet_bytes_max * 4),
  )
  let length = 0
  for (let at = 0; at < bytes.length; ) {
    const pair = firsts.has(bytes[at] as number)
      ? pairs.find(([from]) => from.every((byte, i) => bytes[at + i] === byte))
      : undefined
    if (pair) {
      length += pair[1].copy(out, length)
      at += pair[0].length
    } else out[length++] = bytes[at++] as number
  }
  return out.subarray(0, length)
}
