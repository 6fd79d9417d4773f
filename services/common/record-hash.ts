/** What makes a record of MDB the same record: decision 0003. Order among records of one timestamp is that of their hashes. */

/** Not part of what makes a record the same: a re-send comes later and from another port. */
const circumstances = new Set(['server.timestamp', 'peer'])

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return entries.map(([name, inner]) => [name, canonical(inner)])
}

// Two lanes of 32 bits with the multipliers and the final mix of MurmurHash3 (public domain, A. Appleby).
let high = 0
let low = 0

function mix(word: number): void {
  high = Math.imul(high ^ Math.imul(word, 0xcc9e2d51), 0x1b873593)
  high ^= high >>> 15
  low = Math.imul(low ^ Math.imul(word, 0x85ebca6b), 0xc2b2ae35)
  low ^= low >>> 13
}

function mixText(text: string): void {
  for (let i = 0; i < text.length; i++) mix(text.charCodeAt(i))
  mix(text.length)
}

function final(word: number): number {
  let h = word ^ (word >>> 16)
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return h ^ (h >>> 16)
}

const number = new Float64Array(1)
const words = new Uint32Array(number.buffer)

/** Begins of the hashes of names: a fleet's messages have the same ones over and over. */
const names = new Map<string, { high: number; low: number }>()
const names_kept = 10_000

function begin(name: string): void {
  const known = names.get(name)
  if (known) {
    high = known.high
    low = known.low
    return
  }
  high = 0x9e3779b9
  low = 0x7f4a7c15
  mixText(name)
  if (names.size === names_kept) names.clear()
  names.set(name, { high, low })
}

/**
 * 8 bytes over a record, whatever the order of its parameters, without `server.timestamp` and `peer`: the sum of a hash for each
 * parameter. Quick rather than safe against whoever looks for a second record with the same hash: he would find one of his own.
 */
export function recordHash(record: Record<string, unknown>): Buffer {
  let high_sum = 0
  let low_sum = 0
  for (const name in record) {
    const value = record[name]
    if (value === undefined || circumstances.has(name)) continue
    begin(name)
    if (typeof value === 'number') {
      // 0 and -0 are one number.
      number[0] = value + 0
      mix(words[0]!)
      mix(words[1]!)
    } else if (typeof value === 'string') {
      mix(1)
      mixText(value)
    } else if (typeof value === 'boolean') mix(value ? 2 : 3)
    else {
      mix(4)
      mixText(JSON.stringify(canonical(value)))
    }
    // Each lane is finished with the other one in it.
    high_sum = (high_sum + final(high ^ (low >>> 7))) | 0
    low_sum = (low_sum + final(low + high)) | 0
  }
  const hash = Buffer.allocUnsafe(8)
  hash.writeInt32BE(final(high_sum), 0)
  hash.writeInt32BE(final(low_sum ^ high_sum), 4)
  return hash
}
