/** Values in generated code: JavaScript that gives them, and what is known of them. */
import type { Constant } from './program.ts'

export const NULL = 1
export const NUMBER = 2
export const TEXT = 4
export const BOOLEAN = 8
export const ANY = 15

export interface Expr {
  /** JavaScript without side effects. */
  js: string
  /** What it may be: NULL, NUMBER, TEXT, BOOLEAN together. */
  type: number
  /** A number is below 2^bits in amount; Infinity: unknown. */
  bits: number
  /** A number is whole and not negative. */
  natural: boolean
  /** Slots that the JavaScript loads. */
  slots: readonly number[]
  /** A constant or a name: may stand several times. */
  simple: boolean
  constant?: Constant
}

/** Beyond, arithmetic may leave the finite numbers. */
const bits_safe = 1000

export const expr = (js: string, type: number, more: Partial<Expr> = {}): Expr => ({
  js,
  type,
  bits: Number.POSITIVE_INFINITY,
  natural: false,
  slots: [],
  simple: false,
  ...more,
})

export function typeOfConstant(value: Constant): number {
  if (value === null) return NULL
  if (typeof value === 'number') return NUMBER
  return typeof value === 'string' ? TEXT : BOOLEAN
}

export function constantExpr(value: Constant): Expr {
  const number = typeof value === 'number'
  return expr(number && value < 0 ? `(${value})` : JSON.stringify(value), typeOfConstant(value), {
    bits: number ? Math.ceil(Math.log2(Math.abs(value) + 1)) : Number.POSITIVE_INFINITY,
    natural: number && value >= 0 && Number.isInteger(value),
    simple: true,
    constant: value,
  })
}

/** What is known when a value comes by one of two ways. */
export const joined = (a: Expr, b: Expr): Partial<Expr> & { type: number } => ({
  type: a.type | b.type,
  bits: Math.max(a.type & NUMBER ? a.bits : 0, b.type & NUMBER ? b.bits : 0),
  natural: (a.natural || !(a.type & NUMBER)) && (b.natural || !(b.type & NUMBER)),
})

/** JavaScript that is true when the value counts as true. */
export function condition(e: Expr): string {
  if (e.type === BOOLEAN) return e.js
  if (e.type === NUMBER) return `(${e.js}) !== 0`
  if (e.simple && e.type === (BOOLEAN | NULL)) return `${e.js} === true`
  if (e.simple && e.type === (NUMBER | NULL)) return `(${e.js} !== null && ${e.js} !== 0)`
  return `holds(${e.js})`
}

const both = (a: Expr, b: Expr, js: string, type: number, more: Partial<Expr> = {}): Expr =>
  expr(js, type, { slots: [...a.slots, ...b.slots], ...more })

/** One operator of two values; both are simple where they may be null. */
export function binary(name: string, a: Expr, b: Expr): Expr {
  if (name === 'eq') return both(a, b, `(${a.js} === ${b.js})`, BOOLEAN)
  if (name === 'ne') return both(a, b, `(${a.js} !== ${b.js})`, BOOLEAN)
  const onlyNumbers = ((a.type | b.type) & ~(NUMBER | NULL)) === 0
  if (onlyNumbers && name in comparisons) return compared(comparisons[name] as string, a, b)
  if (onlyNumbers && name in arithmetic) return calculated(name, a, b)
  if (name === 'add' && ((a.type === TEXT && !(b.type & NULL)) || (b.type === TEXT && !(a.type & NULL))))
    return both(a, b, `operators.add(${a.js}, ${b.js})`, TEXT)
  const bit = bitwise(name, a, b)
  if (bit) return bit
  const likely = likelyNumber(name, a, b)
  if (likely) return likely
  return both(a, b, `operators.${name}(${a.js}, ${b.js})`, resultOf(name, a, b))
}

/** A number that may be a decimal text, where it is beyond 2^53, with a constant: nearly always it is a number. */
function likelyNumber(name: string, a: Expr, b: Expr): Expr | undefined {
  if (typeof b.constant !== 'number' || !a.simple || (a.type & NUMBER) === 0 || a.type & BOOLEAN) return undefined
  if (!(name in comparisons) && name !== 'div' && name !== 'mul' && name !== 'sub') return undefined
  if (name === 'div' && b.constant === 0) return undefined
  const quick = binary(name, { ...a, type: NUMBER, bits: Math.min(a.bits, 1024) }, b)
  return both(
    a,
    b,
    `(typeof ${a.js} === 'number' ? ${quick.js} : operators.${name}(${a.js}, ${b.js}))`,
    quick.type | (name in comparisons ? 0 : NULL),
  )
}

const comparisons: Record<string, string> = { lt: '<', le: '<=', gt: '>', ge: '>=' }
const arithmetic: Record<string, string> = { add: '+', sub: '-', mul: '*', div: '/', mod: '%' }

function resultOf(name: string, a: Expr, b: Expr): number {
  if (name in comparisons) return BOOLEAN
  if (name === 'add') return (a.type | b.type) & TEXT ? NULL | NUMBER | TEXT : NULL | NUMBER
  if (name in arithmetic) return NULL | NUMBER
  return name === 'or' ? ANY : NULL | NUMBER | TEXT
}

/** Which of two values must be asked whether they are null. */
const guards = (a: Expr, b: Expr): string[] =>
  [a, b].filter((e) => e.type & NULL && e.constant === undefined).map((e) => e.js)

function compared(sign: string, a: Expr, b: Expr): Expr {
  if (a.type === NULL || b.type === NULL) return both(a, b, 'false', BOOLEAN)
  const js = [...guards(a, b).map((one) => `${one} !== null`), `${a.js} ${sign} ${b.js}`].join(' && ')
  return both(a, b, `(${js})`, BOOLEAN)
}

function calculated(name: string, a: Expr, b: Expr): Expr {
  if (a.type === NULL || b.type === NULL) return both(a, b, 'null', NULL)
  let bits = Number.POSITIVE_INFINITY
  if (name === 'add' || name === 'sub') bits = Math.max(a.bits, b.bits) + 1
  if (name === 'mul') bits = a.bits + b.bits
  const divides = name === 'div' || name === 'mod'
  const divisor = divides && typeof b.constant === 'number' && b.constant !== 0
  if (divisor) bits = name === 'div' ? a.bits + 64 : Math.min(a.bits, b.bits)
  if (divisor && name === 'div' && Math.abs(b.constant as number) < 1e-15) bits = Number.POSITIVE_INFINITY
  const unchecked = bits <= bits_safe
  const plain = `${a.js} ${arithmetic[name]} ${b.js}`
  const js = unchecked ? `(${plain})` : `finite(${plain})`
  const asked = guards(a, b)
  const natural = a.natural && b.natural && (name === 'add' || name === 'mul' || (name === 'mod' && divisor))
  const nullable = asked.length > 0 || !unchecked
  return both(
    a,
    b,
    asked.length > 0 ? `(${asked.map((one) => `${one} === null`).join(' || ')} ? null : ${js})` : js,
    nullable ? NUMBER | NULL : NUMBER,
    {
      bits: unchecked ? bits : Number.POSITIVE_INFINITY,
      natural,
    },
  )
}

/** Bits of whole numbers of at most 32 bits, where JavaScript's own operators are exact. */
function bitwise(name: string, a: Expr, b: Expr): Expr | undefined {
  const nullable = a.type & NULL
  if ((a.type & ~NULL) !== NUMBER || !a.natural || a.bits > 32 || !b.natural || b.type !== NUMBER) return undefined
  const guard = (js: string) => (nullable ? `(${a.js} === null ? null : ${js})` : js)
  const type = nullable ? NUMBER | NULL : NUMBER
  if (name === 'and' && b.bits <= 32)
    return both(a, b, guard(b.bits < 32 ? `(${a.js} & ${b.js})` : `((${a.js} & ${b.js}) >>> 0)`), type, {
      bits: Math.min(a.bits, b.bits),
      natural: true,
    })
  if ((name === 'or' || name === 'xor') && b.bits <= 32)
    return both(a, b, guard(`((${a.js} ${name === 'or' ? '|' : '^'} ${b.js}) >>> 0)`), type, {
      bits: Math.max(a.bits, b.bits),
      natural: true,
    })
  const count = b.constant
  if (typeof count !== 'number' || count > 31) return undefined
  if (name === 'shr')
    return both(a, b, guard(`(${a.js} >>> ${count})`), type, { bits: Math.max(0, a.bits - count), natural: true })
  if (name === 'shl' && a.bits + count <= 53)
    return both(a, b, guard(`(${a.js} * ${2 ** count})`), type, { bits: a.bits + count, natural: true })
  return undefined
}

/** Bits from … on, where JavaScript's own operators are exact. */
export function bitsOf(a: Expr, from: Expr, count: Expr): Expr | undefined {
  if ((a.type & ~NULL) !== NUMBER || !a.natural || a.bits > 32) return undefined
  const [m, n] = [from.constant, count.constant]
  if (typeof m !== 'number' || typeof n !== 'number' || !from.natural || !count.natural || m > 31 || n > 30)
    return undefined
  const js = `((${a.js} >>> ${m}) & ${2 ** n - 1})`
  const more = { bits: Math.min(n, Math.max(0, a.bits - m)), natural: true }
  return a.type & NULL
    ? both(a, count, `(${a.js} === null ? null : ${js})`, NUMBER | NULL, more)
    : both(a, count, js, NUMBER, more)
}

/** Whether a bit is set, where JavaScript's own operators are exact. */
export function bitOf(a: Expr, n: Expr): Expr | undefined {
  if ((a.type & ~NULL) !== NUMBER || !a.natural || a.bits > 32 || typeof n.constant !== 'number') return undefined
  if (!n.natural || n.constant > 31) return undefined
  const js = `(((${a.js} >>> ${n.constant}) & 1) === 1)`
  return a.type & NULL ? both(a, n, `(${a.js} === null ? null : ${js})`, BOOLEAN | NULL) : both(a, n, js, BOOLEAN)
}
