/** Types of expressions and units of parameters, checked when a description is compiled. */
import type { Expression } from './ast.ts'
import { functions, type ValueType } from './functions.ts'
import { fixedKinds } from './opcodes.ts'

const textKinds = new Set(['text', 'latin1', 'hex', 'digits'])
const comparisons = new Set(['==', '!=', '<', '<=', '>', '>='])

/** What an expression gives, as far as it can be told; null fits every type. */
export function typeOf(e: Expression): ValueType {
  switch (e.kind) {
    case 'constant':
      if (typeof e.value === 'number') return 'number'
      if (typeof e.value === 'boolean') return 'boolean'
      return typeof e.value === 'string' ? 'text' : 'any'
    case 'read':
    case 'until':
    case 'run':
      if (e.read in fixedKinds) return 'number'
      return textKinds.has(e.read) ? 'text' : 'number'
    case 'peek':
      return 'boolean'
    case 'bytes':
    case 'name':
      return 'text'
    case 'call': {
      if (e.name !== 'choose') return functions[e.name]?.gives ?? 'any'
      const [, yes, no] = e.args.map(typeOf)
      return yes === no && yes ? yes : 'any'
    }
    case 'unary':
      return e.operator === '!' ? 'boolean' : 'number'
    case 'binary': {
      if (comparisons.has(e.operator)) return 'boolean'
      const [left, right] = [typeOf(e.left), typeOf(e.right)]
      if (e.operator === '&&' || e.operator === '||') return left === right ? left : 'any'
      if (e.operator !== '+') return 'number'
      if (left === 'text' || right === 'text') return 'text'
      return left === 'number' && right === 'number' ? 'number' : 'any'
    }
    default:
      return 'any'
  }
}

interface Unit {
  /** What it measures: only units of the same can be converted. */
  of: string
  /** value × factor (or ÷ divisor, which is exact more often) + offset is in the dimension's base unit. */
  factor?: number
  divisor?: number
  offset?: number
}

/** Units by name. The first of a dimension is its base. */
export const units: Readonly<Record<string, Unit>> = {
  'km/h': { of: 'speed' },
  knots: { of: 'speed', factor: 1.852 },
  mph: { of: 'speed', factor: 1.609344 },
  'm/s': { of: 'speed', factor: 3.6 },
  'cm/s': { of: 'speed', factor: 0.036 },
  km: { of: 'length' },
  m: { of: 'length', divisor: 1000 },
  dm: { of: 'length', divisor: 10_000 },
  cm: { of: 'length', divisor: 100_000 },
  miles: { of: 'length', factor: 1.609344 },
  feet: { of: 'length', factor: 0.0003048 },
  V: { of: 'voltage' },
  mV: { of: 'voltage', divisor: 1000 },
  cV: { of: 'voltage', divisor: 100 },
  dV: { of: 'voltage', divisor: 10 },
  A: { of: 'current' },
  mA: { of: 'current', divisor: 1000 },
  s: { of: 'time' },
  ms: { of: 'time', divisor: 1000 },
  min: { of: 'time', factor: 60 },
  h: { of: 'time', factor: 3600 },
  '°C': { of: 'temperature' },
  '°F': { of: 'temperature', factor: 5 / 9, offset: -160 / 9 },
  K: { of: 'temperature', offset: -273.15 },
  '%': { of: 'share' },
  l: { of: 'volume' },
  ml: { of: 'volume', divisor: 1000 },
  dl: { of: 'volume', divisor: 10 },
  gal: { of: 'volume', factor: 3.785411784 },
  g: { of: 'acceleration' },
  mg: { of: 'acceleration', divisor: 1000 },
  degrees: { of: 'angle' },
  kPa: { of: 'pressure' },
  hPa: { of: 'pressure', divisor: 10 },
  bar: { of: 'pressure', factor: 100 },
  psi: { of: 'pressure', factor: 6.894757293168361 },
  kg: { of: 'mass' },
  'l/h': { of: 'flow' },
  dBm: { of: 'level' },
  '1/min': { of: 'rotation' },
  rpm: { of: 'rotation' },
}

/** How a value in one unit becomes one in another: × factor, ÷ divisor, + offset; a text says why it cannot. */
export function conversion(from: string, to: string): { factor: number; divisor: number; offset: number } | string {
  const source = units[from]
  const target = units[to]
  if (!source) return `there is no unit "${from}"`
  if (!target || source.of !== target.of)
    return `${from} is no unit of ${to === '' ? 'a parameter without a unit' : to}`
  const factor = source.factor ?? 1
  const divisor = source.divisor ?? 1
  return {
    factor: factor * (target.divisor ?? 1),
    divisor: divisor * (target.factor ?? 1),
    offset: (((source.offset ?? 0) - (target.offset ?? 0)) / (target.factor ?? 1)) * (target.divisor ?? 1),
  }
}
