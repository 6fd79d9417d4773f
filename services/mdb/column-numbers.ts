/** Runs of numbers, bit for bit: most are decimals of a few digits, so they are whole numbers with a scale. */
import { readInts } from './column-ints.ts'
import { writeInts } from './column-ints-write.ts'
import { type ByteReader, type ByteWriter, DamagedError } from './page-bytes.ts'

/** Forms: what is done with the whole number to give the value. */
const divided = 0
const multiplied = 1
const fraction = 2
const float32 = 3
const float64 = 4
const exceptions_flag = 8

const digits_max = 9
/** Whole numbers beyond it are written as float64: differences of differences must stay exact. */
const whole_max = 2 ** 51
/** A form is taken if at most one of so many values needs to be an exception. */
const exceptions_share = 8
/** Values looked at before a form is tried on all. */
const sample = 64

const powers = Array.from({ length: digits_max + 1 }, (_, digits) => 10 ** digits)
/** 0.1, 0.01, …, as a program writes them. */
const tenths = powers.map((_, digits) => Number(`1e-${digits}`))
/** Divisors of protocols: minutes and seconds of arc with digits, binary fractions. */
const divisors = [600_000, 1_800_000, 6_000_000, 60_000_000, 30_000, 3_600_000, 36_000_000, 256, 65_536, 1_048_576]

let whole = new Float64Array(1024)
const float = new Float32Array(1)
const floatBits = new Int32Array(float.buffer)
const double = new Float64Array(1)
const doubleBits = new Int32Array(double.buffer)

/** The value that a form makes of a whole number. */
function made(form: number, scale: number, value: number): number {
  return form === multiplied ? value * scale : value / scale
}

/** The whole number from which the form makes the value exactly, or NaN. −0 has none. */
function wholeOf(form: number, scale: number, value: number): number {
  const candidate = Math.floor((form === multiplied ? value / scale : value * scale) + 0.5)
  if (made(form, scale, candidate) !== value || candidate > whole_max || candidate < -whole_max) return NaN
  return candidate === 0 && Object.is(value, -0) ? NaN : candidate
}

/** The fewest decimal digits that give all values but a few; −1: too many need more than there are. */
function digitsOf(values: Float64Array, size: number): number {
  let digits = 0
  let scale = 1
  let bad = 0
  for (let i = 0; i < size; i++) {
    const value = values[i]!
    const candidate = Math.floor(value * scale + 0.5)
    if (candidate / scale === value && candidate <= whole_max && candidate >= -whole_max) continue
    let more = digits + 1
    while (more <= digits_max && Number.isNaN(wholeOf(divided, powers[more]!, value))) more++
    if (more <= digits_max) {
      digits = more
      scale = powers[digits]!
    } else if (++bad * exceptions_share > Math.max(size, sample)) return -1
  }
  return digits
}

/** Whether at most a few of the first values have no whole number in this form. */
function suits(form: number, scale: number, values: Float64Array, size: number): boolean {
  const some = Math.min(size, sample)
  let bad = 0
  for (let i = 0; i < some; i++) if (Number.isNaN(wholeOf(form, scale, values[i]!))) bad++
  return bad * exceptions_share <= some
}

/** Fills `whole`; returns the indices that are exceptions, or undefined when they are too many. */
function convert(form: number, scale: number, values: Float64Array, size: number): number[] | undefined {
  const exceptions: number[] = []
  let before = 0
  for (let i = 0; i < size; i++) {
    const value = values[i]!
    const candidate = Math.floor((form === multiplied ? value / scale : value * scale) + 0.5)
    const fits = (form === multiplied ? candidate * scale : candidate / scale) === value
    if (fits && candidate <= whole_max && candidate >= -whole_max && !(candidate === 0 && Object.is(value, -0))) {
      // `+ 0`: a candidate of −0 is 0.
      whole[i] = before = candidate + 0
    } else {
      exceptions.push(i)
      if (exceptions.length * exceptions_share > Math.max(size, exceptions_share)) return undefined
      whole[i] = before
    }
  }
  return exceptions
}

/** Writes `size` ≥ 1 finite numbers. */
export function writeNumbers(out: ByteWriter, values: Float64Array | Int32Array, size: number): void {
  if (values instanceof Int32Array) {
    out.u8(divided)
    return writeInts(out, values, size)
  }
  if (whole.length < size) whole = new Float64Array(size * 2)
  const digits = digitsOf(values, size)
  if (digits >= 0) {
    const exceptions = convert(divided, powers[digits]!, values, size)
    if (exceptions?.length === 0) return finish(out, divided, digits, 0, exceptions, values, size)
    for (let more = 1; more <= digits_max; more++) {
      if (!suits(multiplied, tenths[more]!, values, size)) continue
      const other = convert(multiplied, tenths[more]!, values, size)
      if (other?.length === 0) return finish(out, multiplied, more, 0, other, values, size)
    }
    const again = convert(divided, powers[digits]!, values, size)
    if (again) return finish(out, divided, digits, 0, again, values, size)
  }
  for (let more = 1; more <= digits_max; more++) {
    if (!suits(multiplied, tenths[more]!, values, size)) continue
    const exceptions = convert(multiplied, tenths[more]!, values, size)
    if (exceptions) return finish(out, multiplied, more, 0, exceptions, values, size)
  }
  for (const divisor of divisors) {
    if (!suits(fraction, divisor, values, size)) continue
    const exceptions = convert(fraction, divisor, values, size)
    if (exceptions) return finish(out, fraction, 0, divisor, exceptions, values, size)
  }
  writeFloats(out, values, size)
}

function finish(
  out: ByteWriter,
  form: number,
  digits: number,
  divisor: number,
  exceptions: number[],
  values: Float64Array,
  size: number,
): void {
  out.u8(form | (exceptions.length > 0 ? exceptions_flag : 0) | (digits << 4))
  if (form === fraction) out.varint(divisor)
  writeInts(out, whole, size)
  if (exceptions.length === 0) return
  out.varint(exceptions.length)
  let before = -1
  for (const index of exceptions) {
    out.varint(index - before - 1)
    out.f64(values[index]!)
    before = index
  }
}

/** Bits of a float as a whole number that grows with it, and back. */
const ordered = (bits: number) => bits ^ ((bits >> 31) & 0x7fffffff)

function writeFloats(out: ByteWriter, values: Float64Array, size: number): void {
  let single = true
  for (let i = 0; i < size && single; i++) single = Math.fround(values[i]!) === values[i]
  out.u8(single ? float32 : float64)
  for (let i = 0; i < size; i++) {
    float[0] = double[0] = values[i]!
    whole[i] = ordered(single ? floatBits[0]! : doubleBits[1]!)
  }
  writeInts(out, whole, size)
  if (single) return
  out.room(size * 4)
  for (let i = 0; i < size; i++, out.at += 4) {
    double[0] = values[i]!
    out.view.setInt32(out.at, doubleBits[0]!, true)
  }
}

/** Reads `size` ≥ 1 numbers; whole ones that fit come as Int32Array. */
export function readNumbers(from: ByteReader, size: number): Float64Array | Int32Array {
  const head = from.u8()
  const form = head & 7
  const digits = head >>> 4
  if (form > float64 || digits > digits_max) throw new DamagedError(`a run of numbers is of an unknown kind ${head}`)
  const divisor = form === fraction ? from.varint() : 1
  const { base, factor, offsets } = readInts(from, size)
  let values: Float64Array | Int32Array
  if (form === divided && digits === 0) values = wholes(base, factor, offsets, size)
  else {
    const scaled = new Float64Array(size)
    values = scaled
    if (form >= float32) readFloats(from, scaled, form, base, factor, offsets, size)
    else {
      const scale = form === divided ? powers[digits]! : form === multiplied ? tenths[digits]! : divisor
      if (offsets === undefined) scaled.fill(made(form, scale, base))
      else if (form === multiplied) for (let i = 0; i < size; i++) scaled[i] = (base + offsets[i]! * factor) * scale
      else if (offsets instanceof Int32Array) {
        for (let i = 0; i < size; i++) scaled[i] = (base + offsets[i]! * factor) / scale
      } else for (let i = 0; i < size; i++) scaled[i] = (base + offsets[i]! * factor) / scale
    }
  }
  if (!(head & exceptions_flag)) return values
  const changed = Float64Array.from(values)
  let index = -1
  for (let left = from.count(9); left > 0; left--) {
    index += from.varint() + 1
    if (index >= size) throw new DamagedError('an exception of a run of numbers is beyond its end')
    changed[index] = from.f64()
  }
  return changed
}

/** Whole numbers, in 32 bits where they certainly fit. */
function wholes(
  base: number,
  factor: number,
  offsets: Int32Array | Float64Array | undefined,
  size: number,
): Int32Array | Float64Array {
  const fits = Math.abs(base) < 2 ** 31 - 2 ** 28 && factor === 1
  if (offsets === undefined) return fits ? new Int32Array(size).fill(base) : new Float64Array(size).fill(base)
  if (fits && offsets instanceof Int32Array) {
    if (base !== 0) for (let i = 0; i < size; i++) offsets[i] = offsets[i]! + base
    return offsets
  }
  const values = new Float64Array(size)
  for (let i = 0; i < size; i++) values[i] = base + offsets[i]! * factor
  return values
}

function readFloats(
  from: ByteReader,
  values: Float64Array,
  form: number,
  base: number,
  factor: number,
  offsets: Int32Array | Float64Array | undefined,
  size: number,
): void {
  if (form === float64) from.need(size * 4)
  for (let i = 0; i < size; i++) {
    const bits = ordered((base + (offsets ? offsets[i]! : 0) * factor) | 0)
    if (form === float32) {
      floatBits[0] = bits
      values[i] = float[0]!
    } else {
      doubleBits[1] = bits
      doubleBits[0] = from.view.getInt32(from.at, true)
      from.at += 4
      values[i] = double[0]!
    }
  }
}
