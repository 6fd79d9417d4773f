/** Checksums that trackers use, by name. */

interface Crc {
  width: 8 | 16 | 32
  polynomial: number
  initial: number
  reflected: boolean
  final: number
  /** Of the text "123456789". */
  check: number
}

const crc = (
  width: Crc['width'],
  polynomial: number,
  initial: number,
  reflected: boolean,
  final: number,
  check: number,
): Crc => ({ width, polynomial, initial, reflected, final, check })

/** Names as in the catalogue of parametrised CRC algorithms by G. Cook; `crc16_ibm` is ARC. */
export const crcs: Readonly<Record<string, Crc>> = {
  crc8: crc(8, 0x07, 0, false, 0, 0xf4),
  crc8_maxim: crc(8, 0x31, 0, true, 0, 0xa1),
  crc8_nrsc5: crc(8, 0x31, 0xff, false, 0, 0xf7),
  crc16_ibm: crc(16, 0x8005, 0, true, 0, 0xbb3d),
  crc16_modbus: crc(16, 0x8005, 0xffff, true, 0, 0x4b37),
  crc16_usb: crc(16, 0x8005, 0xffff, true, 0xffff, 0xb4c8),
  crc16_ccitt_false: crc(16, 0x1021, 0xffff, false, 0, 0x29b1),
  crc16_xmodem: crc(16, 0x1021, 0, false, 0, 0x31c3),
  crc16_kermit: crc(16, 0x1021, 0, true, 0, 0x2189),
  crc16_x25: crc(16, 0x1021, 0xffff, true, 0xffff, 0x906e),
  crc16_mcrf4xx: crc(16, 0x1021, 0xffff, true, 0, 0x6f91),
  crc16_genibus: crc(16, 0x1021, 0xffff, false, 0xffff, 0xd64e),
  crc32: crc(32, 0x04c11db7, 0xffffffff, true, 0xffffffff, 0xcbf43926),
  crc32_mpeg2: crc(32, 0x04c11db7, 0xffffffff, false, 0, 0x0376e6e7),
}

const reflect = (value: number, width: number): number => {
  let out = 0
  for (let i = 0; i < width; i++) if ((value >>> i) & 1) out |= 1 << (width - 1 - i)
  return out >>> 0
}

function tableOf({ width, polynomial, reflected }: Crc): Uint32Array {
  const mask = width === 32 ? 0xffffffff : (1 << width) - 1
  const low = reflect(polynomial, width)
  return Uint32Array.from({ length: 256 }, (_, n) => {
    if (reflected) {
      let value = n
      for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ low : value >>> 1
      return value >>> 0
    }
    let value = n << (width - 8)
    for (let bit = 0; bit < 8; bit++) value = (value >>> (width - 1)) & 1 ? (value << 1) ^ polynomial : value << 1
    return (value & mask) >>> 0
  })
}

/** Four bytes at a time, each with a table of its own: most trackers' packets have such a sum. */
function sixteen(table: Uint32Array, initial: number, final: number): Checksum {
  const next = (value: number) => (value >>> 8) ^ (table[value & 255] as number)
  const t0 = Uint16Array.from(table)
  const t1 = Uint16Array.from(t0, next)
  const t2 = Uint16Array.from(t1, next)
  const t3 = Uint16Array.from(t2, next)
  return (bytes, from, to) => {
    let value = initial
    let i = from
    for (; i + 4 <= to; i += 4) {
      value ^= (bytes[i] as number) | ((bytes[i + 1] as number) << 8)
      value =
        (t3[value & 255] as number) ^
        (t2[value >>> 8] as number) ^
        (t1[bytes[i + 2] as number] as number) ^
        (t0[bytes[i + 3] as number] as number)
    }
    for (; i < to; i++) value = (value >>> 8) ^ (t0[(value ^ (bytes[i] as number)) & 255] as number)
    return value ^ final
  }
}

type Checksum = (bytes: Uint8Array, from: number, to: number) => number

function checksumOf(parameters: Crc): Checksum {
  const table = tableOf(parameters)
  const { width, initial, reflected, final } = parameters
  const mask = width === 32 ? 0xffffffff : (1 << width) - 1
  if (reflected && width === 16) return sixteen(table, initial, final)
  if (reflected) {
    return (bytes, from, to) => {
      let value = initial
      for (let i = from; i < to; i++) value = (value >>> 8) ^ (table[(value ^ (bytes[i] as number)) & 255] as number)
      return ((value ^ final) & mask) >>> 0
    }
  }
  return (bytes, from, to) => {
    let value = initial
    for (let i = from; i < to; i++)
      value = ((value << 8) ^ (table[((value >>> (width - 8)) ^ (bytes[i] as number)) & 255] as number)) & mask
    return ((value ^ final) & mask) >>> 0
  }
}

function sum(modulus: number, width = 1, order: 'be' | 'le' = 'be'): Checksum {
  return (bytes, from, to) => {
    let value = 0
    for (let i = from; i < to; i += width) {
      let word = 0
      for (let j = 0; j < width && i + j < to; j++)
        word += (bytes[i + j] as number) * 256 ** (order === 'be' ? width - 1 - j : j)
      value = (value + word) % modulus
    }
    return value
  }
}

function two(modulus: number, first: number, shift: number): Checksum {
  return (bytes, from, to) => {
    let a = first
    let b = 0
    for (let i = from; i < to; i++) {
      a = (a + (bytes[i] as number)) % modulus
      b = (b + a) % modulus
    }
    return b * 2 ** shift + a
  }
}

/** All of them: name → sum over bytes from … to (excluded). */
export const checksums: Readonly<Record<string, Checksum>> = {
  ...Object.fromEntries(Object.entries(crcs).map(([name, parameters]) => [name, checksumOf(parameters)])),
  xor8: (bytes, from, to) => {
    let value = 0
    for (let i = from; i < to; i++) value ^= bytes[i] as number
    return value
  },
  sum8: sum(256),
  sum16: sum(65_536),
  sum32: sum(2 ** 32),
  lrc8: (bytes, from, to) => (256 - sum(256)(bytes, from, to)) % 256,
  fletcher16: two(255, 0, 8),
  fletcher8: two(256, 0, 8),
  adler32: two(65_521, 1, 16),
}

/** What each is, for the language reference. */
export const checksumMeanings: Readonly<Record<string, string>> = {
  xor8: 'exclusive or of the bytes',
  sum8: 'sum modulo 256',
  sum16: 'sum of the bytes modulo 65536',
  sum32: 'sum of the bytes modulo 2^32',
  lrc8: 'what makes the sum modulo 256 zero',
  fletcher16: 'two sums modulo 255, the second in the high byte',
  fletcher8: 'two sums modulo 256, the second in the high byte (the checksum of u-blox)',
  adler32: 'two sums modulo 65521',
  ...Object.fromEntries(
    Object.entries(crcs).map(([name, c]) => [
      name,
      `CRC-${c.width}, polynomial 0x${c.polynomial.toString(16)}, from 0x${c.initial.toString(16)}${c.reflected ? ', reflected' : ''}${c.final ? `, out ^ 0x${c.final.toString(16)}` : ''}`,
    ]),
  ),
}
