/** Runs of whole numbers: the best of several predictions, then packed bits or a Huffman code. */
import { BitWriter, codeLengths, codesOf, symbols_max, writeLengths } from './column-bits.ts'
import {
  coded,
  delta,
  deltaOfDelta,
  direct,
  factor_flag,
  narrow_max,
  packed,
  plain,
  repeat,
  run,
  signed_flag,
  wide_flag,
  zeros,
} from './column-ints.ts'
import type { ByteWriter } from './page-bytes.ts'

// Scratch, grown as needed: nothing is allocated per column while encoding.
let offsets = new Int32Array(1024)
let candidate = new Int32Array(1024)
let best = new Int32Array(1024)
const counts = new Int32Array(symbols_max)
/** Symbols that were counted, in the order of their first use: short runs use few of them. */
const used = new Uint8Array(symbols_max)
let used_size = 0
const lengths = new Uint8Array(symbols_max)
const codes = new Uint16Array(symbols_max)
const log2 = new Float64Array(4096)
for (let i = 1; i < log2.length; i++) log2[i] = Math.log2(i)

function grow(size: number): void {
  if (offsets.length >= size) return
  offsets = new Int32Array(size * 2)
  candidate = new Int32Array(size * 2)
  best = new Int32Array(size * 2)
}

function countOne(symbol: number): void {
  const count = counts[symbol]!
  if (count === 0) used[used_size++] = symbol
  counts[symbol] = count + 1
}

/** Counts the symbols of residuals; returns the number of extra bits. */
function countSymbols(residuals: Int32Array, size: number): number {
  for (let i = 0; i < used_size; i++) counts[used[i]!] = 0
  used_size = 0
  let extra = 0
  let run_zeros = 0
  for (let i = 0; i < size; i++) {
    const value = residuals[i]!
    if (value === 0) {
      run_zeros++
      continue
    }
    if (run_zeros > 0) {
      const k = 31 - Math.clz32(run_zeros)
      countOne(run + k)
      extra += k
      run_zeros = 0
    }
    if (value < direct) countOne(value)
    else {
      const k = 31 - Math.clz32(value)
      countOne(direct + (k - 5) * 4 + ((value >>> (k - 2)) & 3))
      extra += k - 2
    }
  }
  if (run_zeros > 0) {
    const k = 31 - Math.clz32(run_zeros)
    countOne(run + k)
    extra += k
  }
  return extra
}

/** Bits that the counted symbols take about, with the table of their code. */
function codedBits(extra: number): number {
  let total = 0
  let bits = 0
  for (let i = 0; i < used_size; i++) {
    const count = counts[used[i]!]!
    total += count
    bits -= count * (count < log2.length ? log2[count]! : Math.log2(count))
  }
  if (used_size === 1) return total + extra + 24
  return bits + total * Math.log2(total) + extra + 16 + used_size * 5
}

/** A value that at least a quarter of them share, if there is one that a vote finds; else the first. */
function usual(values: Int32Array, from: number, size: number): number {
  let vote = values[from]! - values[from - 1]!
  let votes = 0
  for (let i = from; i < size; i++) {
    const value = values[i]! - values[i - 1]!
    if (votes === 0) {
      vote = value
      votes = 1
    } else votes += value === vote ? 1 : -1
  }
  let same = 0
  for (let i = from; i < size; i++) if (values[i]! - values[i - 1]! === vote) same++
  return same * 4 >= size - from ? vote : 0
}

interface Choice {
  transform: number
  bits: number
  signed: boolean
  /** Residuals. */
  size: number
  /** Bias of deltas, or the first delta. */
  bias: number
  coder: number
  width: number
}

const choice: Choice = { transform: 0, bits: 0, signed: false, size: 0, bias: 0, coder: 0, width: 0 }

/** Keeps `candidate` as the best if it takes fewer bits. */
function consider(transform: number, signed: boolean, size: number, bias: number, overhead: number): void {
  let all = 0
  for (let i = 0; i < size; i++) all |= candidate[i]!
  const width = 32 - Math.clz32(all)
  let bits = 0
  let coder = zeros
  if (width > 0) {
    const extra = countSymbols(candidate, size)
    const huffman = codedBits(extra)
    const flat = width * size + 8
    coder = flat <= huffman ? packed : coded
    bits = Math.min(flat, huffman)
  }
  bits += overhead
  if (bits >= choice.bits) return
  choice.transform = transform
  choice.bits = bits
  choice.signed = signed
  choice.size = size
  choice.bias = bias
  choice.coder = coder
  choice.width = width
  const old = best
  best = candidate
  candidate = old
}

/** `offsets` (≥ 0) in the way that takes the fewest bits, into `choice` and `best`. */
function choose(size: number): void {
  choice.bits = Infinity
  candidate.set(size === offsets.length ? offsets : offsets.subarray(0, size))
  consider(plain, false, size, 0, 0)
  if (size < 3 || choice.width === 0) return
  const bias = usual(offsets, 1, size)
  let same = 0
  for (let i = 1; i < size; i++) {
    const residual = offsets[i]! - offsets[i - 1]! - bias
    if (residual === -bias) same++
    candidate[i - 1] = (residual << 1) ^ (residual >> 31)
  }
  consider(delta, true, size - 1, bias, 16)
  if (same * 4 >= size) {
    candidate[0] = offsets[0]! + 1
    for (let i = 1; i < size; i++) candidate[i] = offsets[i] === offsets[i - 1] ? 0 : offsets[i]! + 1
    consider(repeat, false, size, 0, 8)
  } else {
    // Not worth a look where most values stay.
    let before = offsets[1]! - offsets[0]!
    for (let i = 2; i < size; i++) {
      const now = offsets[i]! - offsets[i - 1]!
      const residual = now - before
      candidate[i - 2] = (residual << 1) ^ (residual >> 31)
      before = now
    }
    consider(deltaOfDelta, true, size - 2, offsets[1]! - offsets[0]!, 16)
  }
}

function writeCoded(out: ByteWriter, residuals: Int32Array, size: number): void {
  codesOf(lengths, codes)
  writeLengths(out, lengths)
  // A symbol and its extra bits take at most 12 + 30 bits.
  out.room(size * 6 + 16)
  const bits = new BitWriter(out)
  let run_zeros = 0
  for (let i = 0; i <= size; i++) {
    const value = i < size ? residuals[i]! : -1
    if (value === 0) {
      run_zeros++
      continue
    }
    if (run_zeros > 0) {
      const k = 31 - Math.clz32(run_zeros)
      bits.put(codes[run + k]!, lengths[run + k]!)
      bits.put(run_zeros - (1 << k), k)
      run_zeros = 0
    }
    if (value < 0) break
    if (value < direct) bits.put(codes[value]!, lengths[value]!)
    else {
      const k = 31 - Math.clz32(value)
      const symbol = direct + (k - 5) * 4 + ((value >>> (k - 2)) & 3)
      bits.put(codes[symbol]!, lengths[symbol]!)
      const width = k - 2
      const rest = value & ((1 << width) - 1)
      if (width > 16) {
        bits.put(rest & 0xffff, 16)
        bits.put(rest >>> 16, width - 16)
      } else bits.put(rest, width)
    }
  }
  bits.end()
}

const gcd = (a: number, b: number): number => {
  while (b !== 0) [a, b] = [b, a % b]
  return a
}

/** Writes `size` ≥ 1 whole numbers of at most ±2⁵³ that lie at most 2⁵³ apart. */
export function writeInts(out: ByteWriter, values: Float64Array | Int32Array | Uint32Array, size: number): void {
  let min = values[0]!
  let max = min
  for (let i = 1; i < size; i++) {
    const value = values[i]!
    if (value < min) min = value
    else if (value > max) max = value
  }
  if (min === max) {
    out.u8(plain | (zeros << 3))
    out.signed(min)
    return
  }
  let factor = 0
  for (let i = 0; i < size && factor !== 1; i++) {
    const offset = values[i]! - min
    if (offset !== 0) factor = factor === 0 ? offset : gcd(factor, offset)
  }
  if ((max - min) / factor > narrow_max) return writeWide(out, values, size, min, max)
  grow(size)
  if (factor === 1) for (let i = 0; i < size; i++) offsets[i] = values[i]! - min
  else for (let i = 0; i < size; i++) offsets[i] = (values[i]! - min) / factor
  choose(size)
  let { coder } = choice
  if (coder === coded) {
    countSymbols(best, choice.size)
    if (!codeLengths(counts, lengths)) coder = packed
  }
  const { transform, signed, width } = choice
  out.u8(transform | (coder << 3) | (signed ? signed_flag : 0) | (factor > 1 ? factor_flag : 0))
  out.signed(transform === plain || transform === repeat ? min : values[0]!)
  if (factor > 1) out.varint(factor)
  if (transform === delta || transform === deltaOfDelta) out.signed(choice.bias)
  if (coder === packed) {
    out.u8(width)
    out.room(Math.ceil((choice.size * width) / 8) + 8)
    const bits = new BitWriter(out)
    if (width <= 24) for (let i = 0; i < choice.size; i++) bits.put(best[i]!, width)
    else for (let i = 0; i < choice.size; i++) bits.putWide(best[i]!, width)
    bits.end()
  } else if (coder === coded) writeCoded(out, best, choice.size)
}

/** Numbers far apart: packed, as they are or as differences, whatever takes less. */
function writeWide(
  out: ByteWriter,
  values: Float64Array | Int32Array | Uint32Array,
  size: number,
  min: number,
  max: number,
): void {
  let widest = 0
  for (let i = 1; i < size; i++) {
    const residual = values[i]! - values[i - 1]!
    widest = Math.max(widest, residual >= 0 ? residual * 2 : -residual * 2 - 1)
  }
  const bitsOf = (value: number) => (value === 0 ? 0 : Math.floor(Math.log2(value)) + 1)
  // A logarithm may round up to the next power: one bit more does no harm.
  const width_plain = bitsOf(max - min)
  const width_delta = bitsOf(widest)
  const asDelta = width_delta < width_plain
  const width = asDelta ? width_delta : width_plain
  out.u8((asDelta ? delta | signed_flag : plain) | (packed << 3) | wide_flag)
  out.signed(asDelta ? values[0]! : min)
  if (asDelta) out.signed(0)
  out.u8(width)
  out.room(Math.ceil((size * width) / 8) + 8)
  const bits = new BitWriter(out)
  for (let i = asDelta ? 1 : 0; i < size; i++) {
    if (asDelta) {
      const residual = values[i]! - values[i - 1]!
      bits.putWide(residual >= 0 ? residual * 2 : -residual * 2 - 1, width)
    } else bits.putWide(values[i]! - min, width)
  }
  bits.end()
}
