/** Values of the machine and what can be done with them; the interpreter and the generated code share it. */
import { Fault } from './errors.ts'
import { text_length_max } from './limits.ts'

/** A 64-bit number beyond 2^53 is a decimal text. */
export type Value = number | string | boolean | null

/** Whether a value counts as true. */
export const holds = (value: Value): boolean => value !== null && value !== 0 && value !== false && value !== ''

/** A big number as a number where that is exact, else as decimal text. */
export const exact = (value: bigint): number | string => {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value.toString()
}

/** A text that a description put together: bounded. */
export function bounded(text: string): string {
  if (text.length > text_length_max) throw new Fault('malformed', `a text of more than ${text_length_max} characters`)
  return text
}

/** A whole number for bit operations; null when there is none. */
function whole(value: Value): bigint | null {
  if (typeof value === 'number') return Number.isFinite(value) ? BigInt(Math.trunc(value)) : null
  if (typeof value === 'boolean') return value ? 1n : 0n
  if (typeof value === 'string' && /^-?\d{1,20}$/.test(value)) return BigInt(value)
  return null
}

const small = (value: Value): value is number =>
  typeof value === 'number' && value >= 0 && value <= 0x7fffffff && Number.isInteger(value)

const numeric = (value: Value): number => (value === null || value === '' ? Number.NaN : Number(value))

/** A number that is no number is null. */
export const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)

function arithmetic(a: Value, b: Value, operate: (x: number, y: number) => number): Value {
  return typeof a === 'number' && typeof b === 'number'
    ? finite(operate(a, b))
    : finite(operate(numeric(a), numeric(b)))
}

function bitwise(a: Value, b: Value, operate: (x: bigint, y: bigint) => bigint): Value {
  const x = whole(a)
  const y = whole(b)
  return x === null || y === null ? null : exact(BigInt.asUintN(64, operate(x, y)))
}

function compare(a: Value, b: Value, test: (x: number, y: number) => boolean): boolean {
  if (a === null || b === null) return false
  return test(numeric(a), numeric(b))
}

/** The operators; null in, null out. */
export const operators = {
  add(a: Value, b: Value): Value {
    if (typeof a === 'number' && typeof b === 'number') return finite(a + b)
    if (a === null || b === null) return null
    if (typeof a === 'string' || typeof b === 'string') return bounded(`${a}${b}`)
    return Number(a) + Number(b)
  },
  sub: (a: Value, b: Value): Value => arithmetic(a, b, (x, y) => x - y),
  mul: (a: Value, b: Value): Value => arithmetic(a, b, (x, y) => x * y),
  div: (a: Value, b: Value): Value => arithmetic(a, b, (x, y) => x / y),
  mod: (a: Value, b: Value): Value => arithmetic(a, b, (x, y) => x % y),
  and: (a: Value, b: Value): Value => (small(a) && small(b) ? a & b : bitwise(a, b, (x, y) => x & y)),
  or(a: Value, b: Value): Value {
    if (typeof a === 'boolean' && typeof b === 'boolean') return a || b
    return small(a) && small(b) ? a | b : bitwise(a, b, (x, y) => x | y)
  },
  xor: (a: Value, b: Value): Value => (small(a) && small(b) ? a ^ b : bitwise(a, b, (x, y) => x ^ y)),
  shl: (a: Value, b: Value): Value => (small(b) && b < 64 ? bitwise(a, b, (x, y) => x << y) : null),
  shr(a: Value, b: Value): Value {
    if (!small(b) || b >= 64) return null
    return small(a) ? (b > 31 ? 0 : a >>> b) : bitwise(a, b, (x, y) => BigInt.asUintN(64, x) >> y)
  },
  neg: (a: Value): Value => finite(-numeric(a)),
  not: (a: Value): Value => !holds(a),
  eq: (a: Value, b: Value): Value => a === b,
  ne: (a: Value, b: Value): Value => a !== b,
  lt: (a: Value, b: Value): Value => compare(a, b, (x, y) => x < y),
  le: (a: Value, b: Value): Value => compare(a, b, (x, y) => x <= y),
  gt: (a: Value, b: Value): Value => compare(a, b, (x, y) => x > y),
  ge: (a: Value, b: Value): Value => compare(a, b, (x, y) => x >= y),
} as const

/** Rounded to n decimals. */
export function round(value: number, decimals: number): number {
  return Number(value.toFixed(Math.max(0, Math.min(12, Math.trunc(decimals) || 0))))
}

/** Decimal number in text; null when it is none. A whole number beyond 2^53 stays text. */
export function decimal(text: string): number | string | null {
  const trimmed = text.trim()
  if (trimmed.length > 40 || !/^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?$/.test(trimmed)) return null
  const value = Number(trimmed)
  if (Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(trimmed)) return trimmed
  return finite(value)
}

/** A decimal number in bytes from … to (excluded): the usual ones without a text in between. */
export function decimalAt(bytes: Uint8Array, from: number, to: number): number | string | null {
  if (to - from > 64) return null
  const sign = bytes[from] === 45
  let value = 0
  let digits = 0
  let scale = 0
  for (let at = sign ? from + 1 : from; at < to; at++) {
    const digit = (bytes[at] as number) - 48
    if (digit >= 0 && digit <= 9) {
      value = value * 10 + digit
      digits++
      if (scale > 0) scale *= 10
    } else if (digit === -2 && scale === 0 && digits > 0) scale = 1
    else digits = 99
  }
  // Up to 15 digits are exact, and so is their quotient by a power of ten.
  if (digits === 0 || digits > 15) return decimal(Buffer.from(bytes.subarray(from, to)).toString('latin1'))
  const amount = scale > 1 ? value / scale : value
  return sign ? -amount : amount
}

/** Hexadecimal number in text, 0x or not; null when it is none. */
export function hexadecimal(text: string): number | string | null {
  const digits = text.trim().replace(/^0x/i, '')
  if (!/^[0-9a-fA-F]{1,16}$/.test(digits)) return null
  return digits.length < 14 ? Number.parseInt(digits, 16) : exact(BigInt(`0x${digits}`))
}

/** Parts of a date as s since 1970; two-digit years are of this century. */
export function time(year: Value, month: Value, day: Value, hour: Value, minute: Value, second: Value): number | null {
  const [y, mo, d, h, mi, s] = [year, month, day, hour, minute, second].map(numeric) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  if (!(y >= 0 && mo >= 1 && mo <= 12 && d >= 1 && d <= 31 && h >= 0 && h < 24)) return null
  if (!(mi >= 0 && mi < 60 && s >= 0 && s < 61)) return null
  return finite(Date.UTC(y < 100 ? 2000 + y : y, mo - 1, d, h, mi, 0) / 1000 + s)
}

/** Reads the parts that letters of `format` stand for; undefined when the text does not fit. */
function dateParts(text: string, format: string): Map<string, number> | undefined {
  const parts = new Map<string, number>()
  let at = 0
  for (const letter of format) {
    if ('yMdHmsS'.includes(letter)) {
      const digit = text.charCodeAt(at) - 48
      if (!(digit >= 0 && digit <= 9)) return undefined
      if (letter === 'S') parts.set('scale', (parts.get('scale') ?? 1) * 10)
      parts.set(letter, (parts.get(letter) ?? 0) * 10 + digit)
    } else if (at >= text.length) return undefined
    at++
  }
  if (at === text.length) return parts
  // Seconds may go on with a fraction.
  const fraction = /^\.(\d{0,9})$/.exec(text.slice(at))
  if (!fraction || !format.endsWith('s')) return undefined
  parts.set('S', Number(fraction[1] || 0))
  parts.set('scale', 10 ** (fraction[1] ?? '').length)
  return parts
}

/** A date in text, its parts told by the letters yMdHmsS; any other letter of the format passes one character. */
export function date(text: Value, format: Value): number | null {
  if (text === null || format === null) return null
  const parts = dateParts(String(text).trim(), String(format))
  if (!parts) return null
  const seconds = (parts.get('s') ?? 0) + (parts.get('S') ?? 0) / (parts.get('scale') ?? 1)
  return time(
    parts.get('y') ?? null,
    parts.get('M') ?? 1,
    parts.get('d') ?? 1,
    parts.get('H') ?? 0,
    parts.get('m') ?? 0,
    round(seconds, 9),
  )
}

/** A time as text, by the letters of `date`; every other letter of the format stands for itself. */
export function stamp(seconds: Value, format: Value): string | null {
  if (typeof seconds !== 'number' || format === null || !(Math.abs(seconds) < 1e11)) return null
  const at = new Date(seconds * 1000)
  const parts: Record<string, number> = {
    y: at.getUTCFullYear(),
    M: at.getUTCMonth() + 1,
    d: at.getUTCDate(),
    H: at.getUTCHours(),
    m: at.getUTCMinutes(),
    s: at.getUTCSeconds(),
  }
  return bounded(
    String(format)
      .slice(0, 100)
      .replace(/y+|M+|d+|H+|m+|s+|S+/g, (run) =>
        run[0] === 'S'
          ? String(at.getUTCMilliseconds()).padStart(3, '0').padEnd(run.length, '0').slice(0, run.length)
          : String(parts[run[0] as string])
              .padStart(run.length, '0')
              .slice(-run.length),
      ),
  )
}

/** A time of day in text as the moment nearest to now. */
export function clock(text: Value, format: Value, now: number): number | null {
  const seconds = date(text === null ? null : `20000101${text}`, `yyyyMMdd${format}`)
  if (seconds === null) return null
  const day = 86_400
  const ofDay = seconds - 946_684_800
  const today = Math.floor(now / day) * day + ofDay
  if (today - now > day / 2) return today - day
  return now - today > day / 2 ? today + day : today
}

/** A number in text with a hemisphere, apart, in front, behind or as a sign; undefined when it is none. */
function hemisphere(text: Value, letter: Value): { digits: string; negative: boolean } | undefined {
  const match = /^([NSEWnsew]?)\s*([-+]?)(\d[\d.]*)\s*([NSEWnsew]?)$/.exec(String(text ?? '').trim())
  if (!match) return undefined
  const side = String(letter ?? '').trim() || match[1] || match[4] || ''
  return { digits: match[3] as string, negative: (match[2] === '-') !== /^[SW]/i.test(side) }
}

/** Degrees and minutes (ddmm.mmmm or dddmm.mmmm) as degrees. */
export function degreesMinutes(text: Value, letter: Value): number | null {
  const found = hemisphere(text, letter)
  const match = found && /^(\d{1,3}?)(\d{1,2}(?:\.\d*)?)$/.exec(found.digits)
  if (!match) return null
  const degrees = Number(match[1]) + Number(match[2]) / 60
  return round(found.negative ? -degrees : degrees, 7)
}

/** Degrees in text, with a hemisphere or a sign. */
export function degrees(text: Value, letter: Value): number | null {
  const found = hemisphere(text, letter)
  if (!found || !/^\d+(\.\d*)?$/.test(found.digits)) return null
  return found.negative ? -Number(found.digits) : Number(found.digits)
}

let parsedText: string | undefined
let parsed: unknown

/** What stands at a dotted path of a JSON text; undefined when there is nothing. The last text stays parsed. */
export function jsonAt(text: Value, path: Value): unknown {
  if (typeof text !== 'string') return undefined
  if (text !== parsedText) {
    try {
      parsed = JSON.parse(text)
    } catch {
      parsed = undefined
    }
    parsedText = text
  }
  let found = parsed
  for (const key of String(path ?? '').split('.')) {
    if (key === '') continue
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, key)) return undefined
    found = (found as Record<string, unknown>)[key]
  }
  return found
}

/** A JSON value as a value of ours: objects and arrays stay JSON text. */
export function jsonValue(found: unknown): Value {
  if (found === undefined || found === null) return null
  if (typeof found === 'number') return finite(found)
  return typeof found === 'string' || typeof found === 'boolean' ? found : bounded(JSON.stringify(found))
}
