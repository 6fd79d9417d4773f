/** Bytes written and read by the page codec. Numbers are little-endian. */

/** Bytes that are no page of ours, or not whole, or changed since they were written. `message` names what is wrong. */
export class DamagedError extends Error {
  override name = 'DamagedError'
}

const encoder = new TextEncoder()
const two32 = 2 ** 32

/** Grows as it is written; used again and again, so what it holds is copied out by `take`. */
export class ByteWriter {
  bytes = new Uint8Array(4096)
  view = new DataView(this.bytes.buffer)
  at = 0

  /** Makes room for `more` bytes after `at`. */
  room(more: number): void {
    if (this.at + more <= this.bytes.length) return
    const bytes = new Uint8Array(Math.max(this.bytes.length * 2, this.at + more))
    bytes.set(this.bytes.subarray(0, this.at))
    this.bytes = bytes
    this.view = new DataView(bytes.buffer)
  }

  u8(value: number): void {
    this.room(1)
    this.bytes[this.at++] = value
  }

  u32(value: number): void {
    this.room(4)
    this.view.setUint32(this.at, value, true)
    this.at += 4
  }

  f64(value: number): void {
    this.room(8)
    this.view.setFloat64(this.at, value, true)
    this.at += 8
  }

  /** A whole number of 0 … 2⁵⁴: seven bits a byte, the lowest first, the top bit says that more follow. */
  varint(value: number): void {
    this.room(8)
    let { at } = this
    while (value >= two32) {
      this.bytes[at++] = (value % 128) | 128
      value = Math.floor(value / 128)
    }
    value >>>= 0
    while (value >= 128) {
      this.bytes[at++] = (value & 127) | 128
      value >>>= 7
    }
    this.bytes[at++] = value
    this.at = at
  }

  /** A whole number of either sign: 0, −1, 1, −2, … as 0, 1, 2, 3, … */
  signed(value: number): void {
    this.varint(value >= 0 ? value * 2 : -value * 2 - 1)
  }

  /** UTF-8 without its length; returns the bytes written. */
  utf8(text: string): number {
    this.room(text.length * 3)
    const { written } = encoder.encodeInto(text, this.bytes.subarray(this.at))
    this.at += written
    return written
  }

  /** A text with its length in bytes before it. */
  text(text: string): void {
    const { length } = text
    if (length < 128) {
      // Short and mostly ASCII: written where it belongs, one length byte guessed.
      this.room(length * 3 + 2)
      const start = this.at++
      let i = 0
      for (; i < length; i++) {
        const code = text.charCodeAt(i)
        if (code >= 128) break
        this.bytes[this.at + i] = code
      }
      if (i === length) {
        this.bytes[start] = length
        this.at += length
        return
      }
      this.at = start
    }
    const bytes = Buffer.from(text)
    this.varint(bytes.length)
    this.blob(bytes)
  }

  blob(bytes: Uint8Array): void {
    this.room(bytes.length)
    this.bytes.set(bytes, this.at)
    this.at += bytes.length
  }

  /** A copy of what was written since `start`. */
  take(start = 0): Buffer {
    return Buffer.from(this.bytes.subarray(start, this.at))
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Reads within its bytes only: beyond them it throws `DamagedError`. */
export class ByteReader {
  readonly bytes: Uint8Array
  readonly view: DataView
  at: number
  readonly end: number

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.at = at
    this.end = end
  }

  /** Throws unless `size` bytes are left. */
  need(size: number): void {
    if (this.at + size > this.end) throw new DamagedError(`it ends early: ${size} bytes more were announced`)
  }

  u8(): number {
    this.need(1)
    return this.bytes[this.at++]!
  }

  u32(): number {
    this.need(4)
    this.at += 4
    return this.view.getUint32(this.at - 4, true)
  }

  f64(): number {
    this.need(8)
    this.at += 8
    return this.view.getFloat64(this.at - 8, true)
  }

  varint(): number {
    let value = this.u8()
    if (value < 128) return value
    value &= 127
    for (let scale = 128; ; scale *= 128) {
      const byte = this.u8()
      value += (byte & 127) * scale
      if (byte < 128) {
        if (value > 2 ** 54) throw new DamagedError('a number is beyond 2^54')
        return value
      }
      if (scale > 2 ** 49) throw new DamagedError('a number has more than eight bytes')
    }
  }

  signed(): number {
    const value = this.varint()
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  /** A number of things of which each takes at least `bytes_min` bytes: refuses one that cannot be. */
  count(bytes_min: number): number {
    const count = this.varint()
    if (count * bytes_min > this.end - this.at) throw new DamagedError(`it announces ${count} items and is too short`)
    return count
  }

  utf8(size: number): string {
    this.need(size)
    const { at } = this
    this.at += size
    if (size < 32) {
      let text = ''
      let i = at
      for (; i < this.at; i++) {
        const byte = this.bytes[i]!
        if (byte >= 128) break
        text += String.fromCharCode(byte)
      }
      if (i === this.at) return text
    }
    try {
      return decoder.decode(this.bytes.subarray(at, this.at))
    } catch {
      throw new DamagedError('a text is not UTF-8')
    }
  }

  text(): string {
    return this.utf8(this.varint())
  }

  blob(size: number): Uint8Array {
    this.need(size)
    this.at += size
    return this.bytes.subarray(this.at - size, this.at)
  }
}
