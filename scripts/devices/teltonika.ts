import type { Encoder } from './encoder.ts'
import type { Fix } from './trip.ts'

const codec_8_extended = 0x8e

/** Table of CRC-16/IBM (polynomial 0x8005, reflected, start 0). */
const table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xa001 : crc >>> 1
  return crc
})

export function crc16(bytes: Uint8Array): number {
  let crc = 0
  for (const byte of bytes) crc = (crc >>> 8) ^ table[(crc ^ byte) & 0xff]!
  return crc
}

/** IO elements of a record: number, bytes, value. */
const elements = (fix: Fix): [id: number, bytes: 1 | 2 | 4, value: number][] => [
  [239, 1, fix.ignition ? 1 : 0],
  [240, 1, fix.speed > 3 ? 1 : 0],
  [21, 1, fix.signal],
  [66, 2, Math.round(fix.voltage * 1000)],
  [67, 2, Math.round(fix.battery * 1000)],
  [16, 4, Math.round(fix.odometer)],
]

// 24 bytes of position, event and total, five counts, and the six elements above.
const record_bytes = 24 + 2 + 2 + 5 * 2 + 3 * 3 + 2 * 4 + 6

function writeRecord(into: Buffer, at: number, fix: Fix): void {
  at = into.writeBigUInt64BE(BigInt(Math.round(fix.timestamp * 1000)), at)
  at = into.writeUInt8(0, at)
  at = into.writeInt32BE(Math.round(fix.longitude * 1e7), at)
  at = into.writeInt32BE(Math.round(fix.latitude * 1e7), at)
  at = into.writeInt16BE(Math.round(fix.altitude), at)
  at = into.writeUInt16BE(Math.round(fix.direction) % 360, at)
  at = into.writeUInt8(fix.satellites, at)
  at = into.writeUInt16BE(Math.round(fix.speed), at)
  const all = elements(fix)
  at = into.writeUInt16BE(0, at)
  at = into.writeUInt16BE(all.length, at)
  for (const bytes of [1, 2, 4] as const) {
    const some = all.filter((element) => element[1] === bytes)
    at = into.writeUInt16BE(some.length, at)
    for (const [id, , value] of some) at = into.writeUIntBE(value, into.writeUInt16BE(id, at), bytes)
  }
  at = into.writeUInt16BE(0, at)
  into.writeUInt16BE(0, at)
}

/** Teltonika over TCP with codec 8 Extended. `sealed` writes the CRC of a packet whose records were changed in place. */
export const teltonika: Encoder & { sealed(packet: Buffer): Buffer } = {
  name: 'teltonika',
  records_max: 200,
  login(ident) {
    const bytes = Buffer.alloc(2 + ident.length)
    bytes.writeUInt16BE(ident.length)
    bytes.write(ident, 2, 'latin1')
    return bytes
  },
  packet(fixes) {
    const data = 3 + fixes.length * record_bytes
    const bytes = Buffer.alloc(8 + data + 4)
    bytes.writeUInt32BE(data, 4)
    bytes.writeUInt8(codec_8_extended, 8)
    bytes.writeUInt8(fixes.length, 9)
    for (const [i, fix] of fixes.entries()) writeRecord(bytes, 10 + i * record_bytes, fix)
    bytes.writeUInt8(fixes.length, 8 + data - 1)
    return this.sealed(bytes)
  },
  sealed(packet) {
    const end = packet.length - 4
    packet.writeUInt32BE(crc16(packet.subarray(8, end)), end)
    return packet
  },
  answer(bytes, to) {
    if (to === 'login') return bytes.length < 1 ? undefined : { size: 1, accepted: bytes[0]! }
    return bytes.length < 4 ? undefined : { size: 4, accepted: bytes.readUInt32BE() }
  },
}
