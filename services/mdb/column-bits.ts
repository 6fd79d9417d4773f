/** Bits in bytes, the lowest first, and the Huffman code that the columns use: see docs/mdb-format.md. */
import { type ByteReader, type ByteWriter, DamagedError } from './page-bytes.ts'

/** The longest code: its table of 4,096 entries stays in the nearest cache. */
export const code_bits_max = 12
/** Symbols of the alphabet of `column-ints.ts`, rounded up. */
export const symbols_max = 256

/** Writes bits; `end` fills the last byte. One at a time on a writer. */
export class BitWriter {
  readonly #out: ByteWriter
  #held = 0
  #bits = 0

  constructor(out: ByteWriter) {
    this.#out = out
  }

  /** At most 24 bits. Room for them is the caller's: `ByteWriter.room`. */
  put(value: number, width: number): void {
    let held = this.#held | (value << this.#bits)
    let bits = this.#bits + width
    const out = this.#out
    while (bits >= 8) {
      out.bytes[out.at++] = held
      held >>>= 8
      bits -= 8
    }
    this.#held = held
    this.#bits = bits
  }

  /** Any width up to 53 bits. */
  putWide(value: number, width: number): void {
    for (; width > 24; width -= 24) {
      this.put(value % 0x1000000, 24)
      value = Math.floor(value / 0x1000000)
    }
    this.put(value, width)
  }

  end(): void {
    if (this.#bits > 0) this.#out.bytes[this.#out.at++] = this.#held
    this.#held = 0
    this.#bits = 0
  }
}

// Scratch of `codeLengths`.
const weights = new Float64Array(symbols_max * 2)
const parents = new Int32Array(symbols_max * 2)
const depth = new Int32Array(symbols_max * 2)

/**
 * Code lengths of a code of at most `code_bits_max` bits for symbols that occur so often; 0: does not occur. False: none was
 * found that leaves no code unused.
 */
export function codeLengths(counts: Int32Array, lengths: Uint8Array): boolean {
  lengths.fill(0)
  const used: number[] = []
  for (let symbol = 0; symbol < symbols_max; symbol++) if (counts[symbol]! > 0) used.push(symbol)
  if (used.length === 1) {
    lengths[used[0]!] = 1
    return true
  }
  used.sort((a, b) => counts[a]! - counts[b]! || a - b)
  // Two queues: leaves by weight, inner nodes as they come.
  const size = used.length
  weights.fill(0, 0, size * 2)
  for (let i = 0; i < size; i++) weights[i] = counts[used[i]!]!
  let leaf = 0
  let inner = size
  for (let node = size; node < size * 2 - 1; node++) {
    for (let pick = 0; pick < 2; pick++) {
      const takeLeaf = leaf < size && (inner >= node || weights[leaf]! <= weights[inner]!)
      const child = takeLeaf ? leaf++ : inner++
      weights[node] = weights[node]! + weights[child]!
      parents[child] = node
    }
  }
  depth[size * 2 - 2] = 0
  let kraft = 0
  for (let node = size * 2 - 3; node >= 0; node--) {
    depth[node] = depth[parents[node]!]! + 1
    if (node >= size) continue
    const length = Math.min(depth[node]!, code_bits_max)
    lengths[used[node]!] = length
    kraft += 1 << (code_bits_max - length)
  }
  // Cut codes take more than there is: lengthen the rarest that can be, then use up what is left over.
  const whole = 1 << code_bits_max
  for (let i = 0; kraft > whole; i = (i + 1) % size) {
    const symbol = used[i]!
    const length = lengths[symbol]!
    if (length >= code_bits_max) continue
    lengths[symbol] = length + 1
    kraft -= 1 << (code_bits_max - length - 1)
  }
  for (let i = size - 1; i >= 0 && kraft < whole; i--) {
    const symbol = used[i]!
    while (lengths[symbol]! > 1 && kraft + (1 << (code_bits_max - lengths[symbol]!)) <= whole) {
      kraft += 1 << (code_bits_max - lengths[symbol]!)
      lengths[symbol] = lengths[symbol]! - 1
    }
  }
  return kraft === whole
}

const first = new Int32Array(code_bits_max + 2)

/** Canonical codes, their bits reversed so that they can be written the lowest first. */
export function codesOf(lengths: Uint8Array, codes: Uint16Array): void {
  first.fill(0)
  for (let symbol = 0; symbol < symbols_max; symbol++) {
    const length = lengths[symbol]!
    if (length > 0) first[length + 1] = first[length + 1]! + 1
  }
  for (let length = 2; length <= code_bits_max + 1; length++) first[length] = (first[length]! + first[length - 1]!) << 1
  for (let symbol = 0; symbol < symbols_max; symbol++) {
    const length = lengths[symbol]!
    if (length === 0) continue
    const code = first[length]!
    first[length] = code + 1
    let reversed = 0
    for (let bit = 0; bit < length; bit++) reversed |= ((code >> bit) & 1) << (length - 1 - bit)
    codes[symbol] = reversed
  }
}

/**
 * Lengths as nibbles, the lower first: 0 … 12 a length; 13 and x: x + 2 absent symbols; 14 and two nibbles: 18 + their value
 * absent symbols; 15: no more symbols.
 */
export function writeLengths(out: ByteWriter, lengths: Uint8Array): void {
  out.room(symbols_max * 2)
  const bits = new BitWriter(out)
  let last = symbols_max - 1
  while (lengths[last] === 0) last--
  for (let symbol = 0; symbol <= last; ) {
    let absent = 0
    while (lengths[symbol + absent] === 0) absent++
    if (absent >= 18) {
      bits.put(14, 4)
      bits.put(absent - 18, 8)
      symbol += absent
    } else if (absent >= 2) {
      bits.put(13, 4)
      bits.put(absent - 2, 4)
      symbol += absent
    } else bits.put(lengths[symbol++]!, 4)
  }
  bits.put(15, 4)
  bits.end()
}

/** The code of lengths that `writeLengths` wrote, as a table of 2^width entries: symbol × 16 + length. */
export interface CodeTable {
  width: number
  entries: Uint16Array
}

const tableLengths = new Uint8Array(symbols_max)
const tableCodes = new Uint16Array(symbols_max)
const tableEntries = new Uint16Array(1 << code_bits_max)

/** The table is the module's: it holds until the next call. */
export function readTable(from: ByteReader): CodeTable {
  tableLengths.fill(0)
  let nibbles = 0
  let byte = 0
  const nibble = () => {
    if (nibbles++ % 2 === 0) return (byte = from.u8()) & 15
    return byte >>> 4
  }
  let longest = 0
  let kraft = 0
  for (let symbol = 0; ; ) {
    const what = nibble()
    if (what === 15) break
    if (what === 13) symbol += nibble() + 2
    else if (what === 14) symbol += 18 + nibble() + nibble() * 16
    else {
      if (symbol >= symbols_max) throw new DamagedError('a code has too many symbols')
      tableLengths[symbol++] = what
      if (what === 0) continue
      longest = Math.max(longest, what)
      kraft += 1 << (code_bits_max - what)
    }
  }
  const whole = 1 << code_bits_max
  // One symbol alone has a code of one bit, of which the other half means nothing.
  if (kraft !== whole && kraft !== whole / 2) throw new DamagedError('the lengths of a code do not fit together')
  codesOf(tableLengths, tableCodes)
  const size = 1 << longest
  if (kraft !== whole) tableEntries.fill(0, 0, size)
  for (let symbol = 0; symbol < symbols_max; symbol++) {
    const length = tableLengths[symbol]!
    if (length === 0) continue
    const entry = (symbol << 4) | length
    const step = 1 << length
    for (let at = tableCodes[symbol]!; at < size; at += step) tableEntries[at] = entry
  }
  return { width: longest, entries: tableEntries }
}
