/** Runs of whole numbers as they are read: what their bytes mean is in docs/mdb-format.md. `column-ints-write.ts` makes them. */
import { readTable } from './column-bits.ts'
import { type ByteReader, DamagedError } from './page-bytes.ts'

/** How a value follows from those before it. */
export const plain = 0
export const delta = 1
export const deltaOfDelta = 2
/** 0: the same once more; else the value + 1. */
export const repeat = 3

/** How residuals are written. */
export const zeros = 0
export const packed = 1
export const coded = 2

export const signed_flag = 32
export const factor_flag = 64
export const wide_flag = 128

/** Offsets of a narrow run stay within ±2²⁸, so that all that is made of them fits 32 bits. */
export const narrow_max = 2 ** 28

/** Residuals below it are symbols themselves; above, four symbols an octave with extra bits. */
export const direct = 32
/** Runs of 2^k … 2^(k+1) − 1 zeros are the symbol `run + k` with k extra bits. */
export const run = 228

/** A run that was read: value i is base + factor × offsets[i]. */
export interface Ints {
  base: number
  factor: number
  /** Undefined: all are `base`. */
  offsets: Int32Array | Float64Array | undefined
}

/** Residuals of packed bits into `into[at …]`. */
function readPacked(from: ByteReader, into: Int32Array, at: number, size: number): void {
  const width = from.u8()
  if (width > 32) throw new DamagedError(`a run of whole numbers has ${width} bits each`)
  const start = from.at
  from.need(Math.ceil((size * width) / 8))
  from.at += Math.ceil((size * width) / 8)
  const { view } = from
  const mask = width === 32 ? -1 : (1 << width) - 1
  // Four bytes at once hold 25 bits wherever they begin; the last ones of a page are taken one by one.
  const safe = view.byteLength - 8
  let position = start * 8
  for (let i = 0; i < size; i++, position += width) {
    const byte = position >>> 3
    const shift = position & 7
    if (width <= 25 && byte <= safe) into[at + i] = (view.getUint32(byte, true) >>> shift) & mask
    else {
      let value = 0
      for (let k = 0; k * 8 < width + shift; k++) {
        const next = byte + k < view.byteLength ? view.getUint8(byte + k) : 0
        value |= k * 8 >= shift ? next << (k * 8 - shift) : next >>> (shift - k * 8)
      }
      into[at + i] = value & mask
    }
  }
}

/** Residuals of a Huffman code into `into[at …]`. */
function readCoded(from: ByteReader, into: Int32Array, at: number, size: number): void {
  const { width, entries } = readTable(from)
  const mask = (1 << width) - 1
  const { view, bytes, end } = from
  const last = view.byteLength - 4
  let position = from.at * 8
  let held = 0
  const limit = end * 8
  for (let i = 0; i < size; ) {
    const byte = position >>> 3
    if (byte <= last) held = view.getUint32(byte, true) >>> (position & 7)
    else held = tail(bytes, byte) >>> (position & 7)
    const entry = entries[held & mask]!
    const length = entry & 15
    const symbol = entry >>> 4
    position += length
    if (symbol < direct) {
      into[at + i++] = symbol
      if (position > limit) break
      continue
    }
    const width_extra = symbol >= run ? symbol - run : ((symbol - direct) >> 2) + 3
    let extra = 0
    if (width_extra + length <= 25) extra = (held >>> length) & ((1 << width_extra) - 1)
    else {
      // Two pieces of at most 16 bits.
      const low = Math.min(16, width_extra)
      extra = peek(view, position) & ((1 << low) - 1)
      if (width_extra > 16) extra |= (peek(view, position + 16) & ((1 << (width_extra - 16)) - 1)) << 16
    }
    position += width_extra
    if (position > limit) break
    if (symbol >= run) {
      const zeros_end = i + (1 << width_extra) + extra
      if (symbol - run > 24 || zeros_end > size) throw new DamagedError('a run of zeros is too long')
      into.fill(0, at + i, at + zeros_end)
      i = zeros_end
    } else into[at + i++] = ((4 + ((symbol - direct) & 3)) << width_extra) | extra
  }
  if (position > limit) throw new DamagedError('a run of whole numbers ends early')
  from.at = (position + 7) >>> 3
}

function tail(bytes: Uint8Array, byte: number): number {
  return (
    (bytes[byte] ?? 0) | ((bytes[byte + 1] ?? 0) << 8) | ((bytes[byte + 2] ?? 0) << 16) | ((bytes[byte + 3] ?? 0) << 24)
  )
}

/** At least 25 bits from a position. */
function peek(view: DataView, position: number): number {
  const byte = position >>> 3
  if (byte + 4 <= view.byteLength) return view.getUint32(byte, true) >>> (position & 7)
  let value = 0
  for (let k = 0; k < 4 && byte + k < view.byteLength; k++) value |= view.getUint8(byte + k) << (k * 8)
  return value >>> (position & 7)
}

/** Reads `size` ≥ 1 whole numbers. */
export function readInts(from: ByteReader, size: number): Ints {
  const head = from.u8()
  const transform = head & 7
  const coder = (head >>> 3) & 3
  const base = from.signed()
  const factor = head & factor_flag ? from.varint() : 1
  if (transform > repeat || coder > coded)
    throw new DamagedError(`a run of whole numbers is of an unknown kind ${head}`)
  const bias = transform === delta || transform === deltaOfDelta ? from.signed() : 0
  if (head & wide_flag) return { base, factor, offsets: readWide(from, size, transform, bias) }
  if (coder === zeros && transform === plain) return { base, factor, offsets: undefined }
  const at = transform === delta ? 1 : transform === deltaOfDelta ? 2 : 0
  if (at > size) throw new DamagedError('a run of whole numbers is shorter than its kind')
  const values = new Int32Array(size)
  if (coder === packed) readPacked(from, values, at, size - at)
  else if (coder === coded) readCoded(from, values, at, size - at)
  if (transform === delta) {
    let value = 0
    for (let i = 1; i < size; i++) {
      const residual = values[i]!
      value = (value + bias + ((residual >>> 1) ^ -(residual & 1))) | 0
      values[i] = value
    }
  } else if (transform === deltaOfDelta) {
    let step = bias | 0
    let value = step
    values[1] = value
    for (let i = 2; i < size; i++) {
      const residual = values[i]!
      step = (step + ((residual >>> 1) ^ -(residual & 1))) | 0
      value = (value + step) | 0
      values[i] = value
    }
  } else if (transform === repeat) {
    let value = 0
    for (let i = 0; i < size; i++) {
      const residual = values[i]!
      if (residual !== 0) value = residual - 1
      values[i] = value
    }
  }
  return { base, factor, offsets: values }
}

function readWide(from: ByteReader, size: number, transform: number, bias: number): Float64Array {
  const width = from.u8()
  if (width > 55 || transform > delta) throw new DamagedError(`a run of wide numbers has ${width} bits each`)
  const values = new Float64Array(size)
  const at = transform === delta ? 1 : 0
  const start = from.at
  from.need(Math.ceil(((size - at) * width) / 8))
  from.at += Math.ceil(((size - at) * width) / 8)
  let position = start * 8
  let value = 0
  for (let i = at; i < size; i++) {
    let residual = 0
    let scale = 1
    for (let left = width; left > 0; left -= 24) {
      const bits = Math.min(24, left)
      residual += (peek(from.view, position) & ((1 << bits) - 1)) * scale
      scale *= 0x1000000
      position += bits
    }
    if (transform === plain) values[i] = residual
    else values[i] = value += bias + (residual % 2 === 0 ? residual / 2 : -(residual + 1) / 2)
  }
  return values
}
