/** Keys (timestamp, hash) of a container's latest records: tells at once whether a record is there. */

/** Keys of one container at most; then the older half goes. */
const keys_max = 256 * 1024
const capacity_first = 1_024

export class Window {
  /** It has all records of the container whose timestamps are above this, s. */
  after: number
  size = 0
  #capacity = capacity_first
  /** -1: free. Timestamps are not negative. */
  #timestamps = new Float64Array(capacity_first).fill(-1)
  #high = new Uint32Array(capacity_first)
  #low = new Uint32Array(capacity_first)

  constructor(after: number) {
    this.after = after
  }

  get bytes(): number {
    return this.#capacity * 16
  }

  /** Adds a key; false if it is there already. `hash`: 8 bytes. */
  add(timestamp: number, hash: Buffer): boolean {
    return this.#add(timestamp, hash.readUInt32LE(0), hash.readUInt32LE(4))
  }

  #add(timestamp: number, high: number, low: number): boolean {
    const mask = this.#capacity - 1
    let at = (high ^ Math.imul(low, 0x9e3779b1)) & mask
    for (;;) {
      const there = this.#timestamps[at]!
      if (there === -1) break
      if (there === timestamp && this.#high[at] === high && this.#low[at] === low) return false
      at = (at + 1) & mask
    }
    this.#timestamps[at] = timestamp
    this.#high[at] = high
    this.#low[at] = low
    if (++this.size * 2 > this.#capacity) this.#rebuild(this.#capacity * 2)
    return true
  }

  /** A window that has too many keys keeps the later half of them. */
  trim(): void {
    if (this.size < keys_max) return
    const sorted = this.#timestamps.filter((timestamp) => timestamp !== -1).sort()
    this.after = sorted[sorted.length >> 1]!
    this.#rebuild(this.#capacity)
  }

  #rebuild(capacity: number): void {
    const [timestamps, high, low] = [this.#timestamps, this.#high, this.#low]
    this.#capacity = capacity
    this.#timestamps = new Float64Array(this.#capacity).fill(-1)
    this.#high = new Uint32Array(this.#capacity)
    this.#low = new Uint32Array(this.#capacity)
    this.size = 0
    for (let i = 0; i < timestamps.length; i++)
      if (timestamps[i] !== -1 && timestamps[i]! > this.after) this.#add(timestamps[i]!, high[i]!, low[i]!)
  }
}
