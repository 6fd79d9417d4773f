/** The built-in functions: one table for the compiler, the machine and the language reference. */
import { checksumMeanings, checksums } from './checksums.ts'
import type { Runtime } from './runtime.ts'
import {
  bounded,
  clock,
  date,
  decimal,
  degrees,
  degreesMinutes,
  exact,
  hexadecimal,
  holds,
  jsonAt,
  jsonValue,
  round,
  stamp,
  time,
  type Value,
} from './values.ts'

export type ValueType = 'number' | 'text' | 'boolean' | 'any'

export interface BuiltIn {
  /** Fewest and most arguments. */
  args: readonly [number, number]
  gives: ValueType
  meaning: string
  /** Of its arguments alone. */
  pure?: (a: Value, b: Value, c: Value, d: Value, e: Value, f: Value) => Value
  /** Of the machine's state too. */
  run?: (machine: Runtime, a: Value, b: Value) => Value
}

const text = (value: Value): string => (value === null ? '' : String(value))
/** Hex text as bytes, up to the first that is none. */
const bytesOf = (value: Value): Buffer => Buffer.from(text(value), 'hex')

const short = new Uint8Array(16)

/** Checksum of hex text; short ones without a buffer for each. */
function sumOfHex(m: Runtime, checksum: (bytes: Uint8Array, from: number, to: number) => number, value: Value): number {
  const hex = text(value)
  const count = hex.length >> 1
  if (count > short.length) return m.sumOf(checksum, bytesOf(hex))
  for (let i = 0; i < count; i++) {
    const byte = digitOf(hex, 2 * i) * 16 + digitOf(hex, 2 * i + 1)
    if (!(byte >= 0)) return m.sumOf(checksum, bytesOf(hex))
    short[i] = byte
  }
  return checksum(short, 0, count)
}

function digitOf(hex: string, at: number): number {
  const code = hex.charCodeAt(at)
  if (code >= 48 && code <= 57) return code - 48
  return code >= 97 && code <= 102 ? code - 87 : Number.NaN
}
const width = (value: Value): number => Math.max(0, Math.min(64, Number(value) || 0))

/** The low `count` bits of a number, as a signed one. */
function signed(value: Value, count: Value): Value {
  if (typeof value !== 'number') return null
  return exact(BigInt.asIntN(Number(width(count)), BigInt(Math.trunc(value))))
}

const pure = (
  args: number | readonly [number, number],
  gives: ValueType,
  meaning: string,
  run: NonNullable<BuiltIn['pure']>,
): BuiltIn => ({ args: typeof args === 'number' ? [args, args] : args, gives, meaning, pure: run })

const machine = (
  args: number | readonly [number, number],
  gives: ValueType,
  meaning: string,
  run: NonNullable<BuiltIn['run']>,
): BuiltIn => ({ args: typeof args === 'number' ? [args, args] : args, gives, meaning, run })

const table: Record<string, BuiltIn> = {
  // Numbers
  number: pure(1, 'number', 'text as a decimal number; null for anything else', (a) =>
    typeof a === 'number' ? a : typeof a === 'string' ? decimal(a) : typeof a === 'boolean' ? Number(a) : null,
  ),
  hexnumber: pure(1, 'number', 'hexadecimal text, 0x or not, as a number', (a) => hexadecimal(text(a))),
  round: pure(2, 'number', 'rounded to n decimals', (a, b) => (typeof a === 'number' ? round(a, Number(b)) : null)),
  floor: pure(1, 'number', 'the whole number below', (a) => (typeof a === 'number' ? Math.floor(a) : null)),
  abs: pure(1, 'number', 'without its sign', (a) => (typeof a === 'number' ? Math.abs(a) : null)),
  min: pure(2, 'number', 'the smaller of two', (a, b) =>
    typeof a === 'number' && typeof b === 'number' ? Math.min(a, b) : null,
  ),
  max: pure(2, 'number', 'the larger of two', (a, b) =>
    typeof a === 'number' && typeof b === 'number' ? Math.max(a, b) : null,
  ),
  bit: pure(2, 'boolean', 'whether bit n is set; bit 0 is the lowest', (a, b) => {
    if (a === null || b === null) return null
    if (typeof a === 'string') return /^\d{1,20}$/.test(a) ? ((BigInt(a) >> BigInt(width(b))) & 1n) === 1n : null
    const number = Number(a)
    return number >= 0
      ? Math.floor(number / 2 ** Number(b)) % 2 === 1
      : ((BigInt(Math.trunc(number)) >> BigInt(width(b))) & 1n) === 1n
  }),
  bits: pure(3, 'number', 'n bits from bit m on: bits(x, m, n)', (a, b, c) =>
    typeof a === 'number' && Number.isFinite(a)
      ? exact((BigInt.asUintN(64, BigInt(Math.trunc(a))) >> BigInt(width(b))) & ((1n << BigInt(width(c))) - 1n))
      : null,
  ),
  signed: pure(2, 'number', 'the low n bits as a two’s complement number', signed),
  signmag: pure(2, 'number', 'the low n bits, of which the highest is the sign and the others the amount', (a, b) => {
    if (typeof a !== 'number') return null
    const half = 2 ** (Number(width(b)) - 1)
    const low = a % (half * 2)
    return low >= half ? half - low : low
  }),
  choose: pure(3, 'any', 'condition, then, else', (a, b, c) => (holds(a) ? b : c)),

  // Time and place
  time: pure(
    6,
    'number',
    'year, month, day, hour, minute, second as s since 1970 UTC; null when there is no such time',
    time,
  ),
  date: pure(
    2,
    'number',
    'a date in text by a format of yMdHmsS: date("181126", "ddMMyy"); null when it does not fit',
    date,
  ),
  stamp: pure(2, 'text', 'a time as text by a format of yMdHmsS: stamp(now, "yyyyMMddHHmmss")', stamp),
  dm: pure([1, 2], 'number', 'degrees and minutes (ddmm.mmmm) with N S E W apart, inside or as a sign', degreesMinutes),
  deg: pure([1, 2], 'number', 'degrees in text with N S E W apart, inside or as a sign', degrees),
  minutes: pure(1, 'number', 'a number ddmm.mmmm as degrees', (a) => {
    if (typeof a !== 'number') return null
    const whole = Math.trunc(a / 100)
    return round(whole + (a - whole * 100) / 60, 7)
  }),

  // Text
  len: pure(1, 'number', 'length of a text', (a) => text(a).length),
  slice: pure([2, 3], 'text', 'characters from … to (excluded); negative counts from the end', (a, b, c) =>
    a === null ? null : text(a).slice(Number(b), c === null || c === undefined ? undefined : Number(c)),
  ),
  part: pure(3, 'text', 'the n-th piece (from 0) of a text between separators: part("a:b", ":", 1)', (a, b, c) => {
    if (a === null || text(b) === '') return null
    return text(a).split(text(b))[Number(c)] ?? null
  }),
  index: pure(2, 'number', 'where a text contains another; -1 when it does not', (a, b) => text(a).indexOf(text(b))),
  starts: pure(2, 'boolean', 'whether a text starts with another', (a, b) => text(a).startsWith(text(b))),
  ends: pure(2, 'boolean', 'whether a text ends with another', (a, b) => text(a).endsWith(text(b))),
  trim: pure(1, 'text', 'without spaces and zero bytes around it', (a) =>
    a === null ? null : text(a).replace(/^[\s\0]+|[\s\0]+$/g, ''),
  ),
  trim0: pure(1, 'text', 'without leading zeros; one digit stays', (a) =>
    a === null ? null : text(a).replace(/^0+(?=.)/, ''),
  ),
  upper: pure(1, 'text', 'in capitals', (a) => (a === null ? null : text(a).toUpperCase())),
  lower: pure(1, 'text', 'in small letters', (a) => (a === null ? null : text(a).toLowerCase())),
  pad: pure(2, 'text', 'a number or text filled with zeros in front up to n characters', (a, b) =>
    a === null ? null : text(a).padStart(width(b), '0'),
  ),
  hexpad: pure(2, 'text', 'a number in hexadecimal capitals, n digits', (a, b) =>
    typeof a === 'number' && a >= 0 ? Math.floor(a).toString(16).toUpperCase().padStart(width(b), '0') : null,
  ),
  urldecode: pure(1, 'text', 'text of a URL with %XX and + read', (a) => {
    if (a === null) return null
    try {
      return decodeURIComponent(text(a).replaceAll('+', ' '))
    } catch {
      return text(a)
    }
  }),
  json: pure(
    2,
    'any',
    'what stands at a dotted path of a JSON text: json($body, "coords.lat"); null when nothing',
    (a, b) => jsonValue(jsonAt(a, b)),
  ),
  json_size: pure(2, 'number', 'how many elements or members stand at a path of a JSON text', (a, b) => {
    const found = jsonAt(a, b)
    return typeof found === 'object' && found !== null ? Object.keys(found).length : 0
  }),
  json_key: pure(3, 'text', 'name of the n-th member at a path of a JSON text', (a, b, c) => {
    const found = jsonAt(a, b)
    return typeof found === 'object' && found !== null ? (Object.keys(found)[Number(c)] ?? null) : null
  }),

  // Bytes, as hex text
  printable: pure(1, 'text', 'hex bytes as text where all are printable, else the hex', (a) => {
    const bytes = bytesOf(a)
    return bytes.every((byte) => (byte >= 32 && byte < 127) || byte === 13 || byte === 10)
      ? bytes.toString().trim()
      : text(a)
  }),
  chars: pure(1, 'text', 'hex bytes as UTF-8 text', (a) => (a === null ? null : bytesOf(a).toString('utf8'))),
  utf16: pure(1, 'text', 'hex bytes as UTF-16 text, high byte first', (a) => {
    if (a === null) return null
    const bytes = bytesOf(a)
    return bytes
      .subarray(0, bytes.length & ~1)
      .swap16()
      .toString('utf16le')
  }),
  hexof: pure(1, 'text', 'text as hex bytes', (a) =>
    a === null ? null : bounded(Buffer.from(text(a)).toString('hex')),
  ),
  base64: pure(1, 'text', 'base64 text as hex bytes', (a) =>
    a === null ? null : bounded(Buffer.from(text(a), 'base64').toString('hex')),
  ),
  unhex: pure(1, 'text', 'hexadecimal text in whatever case as hex bytes; null when it is none', (a) =>
    a !== null && /^([0-9a-fA-F]{2})*$/.test(text(a)) ? text(a).toLowerCase() : null,
  ),
  reversed: pure(1, 'text', 'hex bytes in reverse order', (a) =>
    a === null ? null : bytesOf(a).reverse().toString('hex'),
  ),
  swapped: pure(1, 'text', 'hex digits of each byte exchanged: 21 43 is 12 34', (a) =>
    a === null ? null : text(a).replace(/(.)(.)/g, '$2$1'),
  ),
  replaced: pure(
    3,
    'text',
    'hex bytes with one sequence put for another, as in escaping: replaced($b, "7d", "7d01")',
    (a, b, c) => {
      if (a === null || text(b) === '') return a
      const [from, to] = [text(b).toLowerCase(), text(c)]
      const source = text(a).toLowerCase()
      let out = ''
      for (let at = 0; at < source.length; ) {
        if (source.startsWith(from, at)) {
          out += to
          at += from.length
        } else {
          out += source.slice(at, at + 2)
          at += 2
        }
        if (out.length > 200_000) bounded(out)
      }
      return out
    },
  ),

  // The packet
  find: machine(1, 'number', 'how far away a text is from here in the window, or -1', (m, a) => m.distance(text(a))),
  last: machine(1, 'number', 'offset of the last such text in the packet, or -1', (m, a) => m.last(text(a))),
  byte: machine(1, 'number', 'the byte at an offset of the packet; null outside of it', (m, a) => m.byteAt(a)),
  size: machine(0, 'number', 'bytes of the packet', (m) => m.size()),
  pos: machine(0, 'number', 'offset of the next byte', (m) => m.pos),
  left: machine(0, 'number', 'bytes left in the window', (m) => m.left()),

  // The session
  now: machine(0, 'number', 's since 1970 UTC', (m) => m.now()),
  clock: machine(2, 'number', 'a time of day in text as the moment nearest to now: clock("1203", "HHmm")', (m, a, b) =>
    clock(a, b, m.now()),
  ),
  ident: machine(0, 'text', 'the ident of the session; null before the log-in', (m) => m.ident()),
  accepted: machine(0, 'boolean', 'whether the ident may come in', (m) => m.accepted()),
}

for (const [name, checksum] of Object.entries(checksums)) {
  table[name] = machine(
    [1, 2],
    'number',
    `${checksumMeanings[name]}; of the packet from … to (excluded), or of hex bytes`,
    (m, a, b) => (b === undefined ? (a === null ? null : sumOfHex(m, checksum, a)) : m.sumOver(checksum, a, b)),
  )
}

/** Name → what it is; the place in the order is the operand of `func`. */
export const functions: Readonly<Record<string, BuiltIn>> = table
export const functionNames: readonly string[] = Object.keys(table)
export const functionList: readonly BuiltIn[] = Object.values(table)
