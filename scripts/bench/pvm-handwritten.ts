/**
 * Decoders written by hand, for the benchmark of PVM to stand against: what a person would write for exactly these packets,
 * with the same messages, answers and checks. Each takes one whole packet.
 */
import type { Message } from '#pvm/index.ts'

export interface Decoded {
  messages: Message[]
  reply: Uint8Array | null
}

function crcTable(polynomial: number): Uint16Array {
  return Uint16Array.from({ length: 256 }, (_, n) => {
    let crc = n
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1
    return crc
  })
}

const ibm = crcTable(0xa001)
const kermit = crcTable(0x8408)

function crc16(table: Uint16Array, first: number, bytes: Uint8Array, from: number, to: number): number {
  let crc = first
  for (let i = from; i < to; i++) crc = (crc >>> 8) ^ (table[(crc ^ (bytes[i] as number)) & 255] as number)
  return crc
}

/** Teltonika codec 8 Extended; the elements that the benchmark's records have, others as io.N. */
export function teltonika(bytes: Buffer, ident: string): Decoded {
  const length = bytes.readUInt32BE(4)
  if (bytes.length !== length + 12) throw new Error('length')
  if (crc16(ibm, 0, bytes, 8, 8 + length) !== bytes.readUInt32BE(8 + length)) throw new Error('crc')
  if (bytes[8] !== 0x8e) throw new Error('codec')
  const count = bytes[9] as number
  const messages: Message[] = []
  let at = 10
  for (let i = 0; i < count; i++) {
    const satellites = bytes.readUInt8(at + 21)
    const message: Message = {
      ident,
      timestamp: (bytes.readUInt32BE(at) * 4_294_967_296 + bytes.readUInt32BE(at + 4)) / 1000,
      'event.priority.enum': bytes.readUInt8(at + 8),
      'position.longitude': bytes.readInt32BE(at + 9) / 1e7,
      'position.latitude': bytes.readInt32BE(at + 13) / 1e7,
      'position.altitude': bytes.readInt16BE(at + 17),
      'position.direction': bytes.readUInt16BE(at + 19),
      'position.satellites': satellites,
      'position.valid': satellites > 0,
      'position.speed': bytes.readUInt16BE(at + 22),
      'event.enum': bytes.readUInt16BE(at + 24),
    }
    at += 28
    for (let width = 1; width <= 8; width *= 2) {
      const elements = bytes.readUInt16BE(at)
      at += 2
      for (let j = 0; j < elements; j++) {
        teltonikaElement(message, bytes.readUInt16BE(at), bytes, at + 2, width)
        at += 2 + width
      }
    }
    const variable = bytes.readUInt16BE(at)
    at += 2
    for (let j = 0; j < variable; j++) {
      const size = bytes.readUInt16BE(at + 2)
      message[`io.${bytes.readUInt16BE(at)}`] = bytes.toString('hex', at + 4, at + 4 + size)
      at += 4 + size
    }
    messages.push(message)
  }
  if (bytes[at] !== count) throw new Error('count')
  return { messages, reply: Uint8Array.of(0, 0, 0, count) }
}

function wide(bytes: Buffer, at: number): number | string {
  const high = bytes.readUInt32BE(at)
  return high < 0x200000 ? high * 4_294_967_296 + bytes.readUInt32BE(at + 4) : bytes.readBigUInt64BE(at).toString()
}

function unsigned(bytes: Buffer, at: number, width: number): number | string {
  if (width === 1) return bytes.readUInt8(at)
  if (width === 2) return bytes.readUInt16BE(at)
  return width === 4 ? bytes.readUInt32BE(at) : wide(bytes, at)
}

function teltonikaElement(message: Message, id: number, bytes: Buffer, at: number, width: number): void {
  switch (id) {
    case 1:
      message['din.1'] = Number(unsigned(bytes, at, width)) > 0
      break
    case 16:
      message['vehicle.mileage'] = Number(unsigned(bytes, at, width)) / 1000
      break
    case 21:
      message['gsm.signal.level'] = Number(unsigned(bytes, at, width)) * 20
      break
    case 66:
      message['external.powersource.voltage'] = Number(unsigned(bytes, at, width)) / 1000
      break
    case 67:
      message['battery.voltage'] = Number(unsigned(bytes, at, width)) / 1000
      break
    case 69:
      message['gnss.state.enum'] = unsigned(bytes, at, width)
      break
    case 181:
      message['position.pdop'] = Number(unsigned(bytes, at, width)) / 10
      break
    case 182:
      message['position.hdop'] = Number(unsigned(bytes, at, width)) / 10
      break
    case 200:
      message['sleep.mode.enum'] = unsigned(bytes, at, width)
      break
    case 239:
      message['engine.ignition.status'] = Number(unsigned(bytes, at, width)) > 0
      break
    case 240:
      message['movement.status'] = Number(unsigned(bytes, at, width)) > 0
      break
    case 241:
      message['gsm.operator.code'] = unsigned(bytes, at, width)
      break
    default:
      message[`io.${id}`] = unsigned(bytes, at, width)
  }
}

const ruptelaReply = Uint8Array.from(Buffer.from('0002640113bc', 'hex'))

/** Ruptela records (command 1). */
export function ruptela(bytes: Buffer): Decoded {
  const length = bytes.readUInt16BE(0)
  if (bytes.length !== length + 4) throw new Error('length')
  if (crc16(kermit, 0, bytes, 2, length + 2) !== bytes.readUInt16BE(length + 2)) throw new Error('crc')
  const ident = String(wide(bytes, 2)).padStart(15, '0')
  if (bytes[10] !== 1) throw new Error('command')
  const count = bytes[12] as number
  const messages: Message[] = []
  let at = 13
  for (let i = 0; i < count; i++) {
    const message: Message = { ident, timestamp: bytes.readUInt32BE(at) }
    const longitude = bytes.readInt32BE(at + 6)
    const latitude = bytes.readInt32BE(at + 10)
    if (longitude > -2_147_483_648 && latitude > -2_147_483_648) {
      message['position.longitude'] = longitude / 1e7
      message['position.latitude'] = latitude / 1e7
      message['position.valid'] = true
      message['position.altitude'] = bytes.readUInt16BE(at + 14) / 10
      message['position.direction'] = bytes.readUInt16BE(at + 16) / 100
      message['position.satellites'] = bytes.readUInt8(at + 18)
      message['position.speed'] = bytes.readUInt16BE(at + 19)
      message['position.hdop'] = bytes.readUInt8(at + 21) / 10
    }
    message['event.enum'] = bytes.readUInt8(at + 22)
    at += 23
    for (let width = 1; width <= 8; width *= 2) {
      const elements = bytes.readUInt8(at++)
      for (let j = 0; j < elements; j++) {
        ruptelaElement(message, bytes.readUInt8(at), bytes, at + 1, width)
        at += 1 + width
      }
    }
    messages.push(message)
  }
  return { messages, reply: ruptelaReply }
}

function ruptelaElement(message: Message, id: number, bytes: Buffer, at: number, width: number): void {
  switch (id) {
    case 2:
      message['din.1'] = Number(unsigned(bytes, at, width)) > 0
      break
    case 3:
      message['din.2'] = Number(unsigned(bytes, at, width)) > 0
      break
    case 5:
      message['din.4'] = Number(unsigned(bytes, at, width)) > 0
      break
    case 22:
      message['ain.1'] = Number(unsigned(bytes, at, width)) / 1000
      break
    case 29:
      message['external.powersource.voltage'] = Number(unsigned(bytes, at, width)) / 1000
      break
    case 30:
      message['battery.voltage'] = Number(unsigned(bytes, at, width)) / 1000
      break
    case 32:
      message['device.temperature'] = bytes.readIntBE(at, width)
      break
    case 65:
      message['vehicle.mileage'] = Number(unsigned(bytes, at, width)) / 1000
      break
    case 150:
      message['gsm.operator.code'] = unsigned(bytes, at, width)
      break
    case 173:
      message['movement.status'] = Number(unsigned(bytes, at, width)) > 0
      break
    default:
      message[`io.${id}`] = unsigned(bytes, at, width)
  }
}

/** Galileosky main tags; the ones that the benchmark's records have. */
export function galileo(bytes: Buffer): Decoded {
  const length = bytes.readUInt16LE(1) & 0x7fff
  if (bytes.length !== length + 5) throw new Error('length')
  const crc = crc16(ibm, 0xffff, bytes, 0, length + 3)
  if (crc !== bytes.readUInt16LE(length + 3)) throw new Error('crc')
  const messages: Message[] = []
  let ident = ''
  let at = 3
  const end = length + 3
  while (at < end) {
    const message: Message = { ident, timestamp: 0 }
    let last = -1
    while (at < end && (bytes[at] as number) > last) {
      last = bytes[at] as number
      at = galileoTag(message, last, bytes, at + 1)
      if (last === 3) {
        ident = bytes.toString('latin1', at - 15, at)
        message.ident = ident
      }
    }
    messages.push(message)
  }
  return { messages, reply: Uint8Array.of(2, crc & 255, crc >>> 8) }
}

/** Stores one tag; gives where the next stands. */
function galileoTag(message: Message, tag: number, bytes: Buffer, at: number): number {
  switch (tag) {
    case 0x03:
      return at + 15
    case 0x04:
      message['device.type.id'] = String(bytes.readUInt16LE(at))
      return at + 2
    case 0x10:
      message['message.number'] = bytes.readUInt16LE(at)
      return at + 2
    case 0x20:
      message.timestamp = bytes.readUInt32LE(at)
      return at + 4
    case 0x30: {
      const state = bytes.readUInt8(at)
      message['position.satellites'] = state & 15
      message['position.valid'] = state < 16
      message['position.latitude'] = bytes.readInt32LE(at + 1) / 1e6
      message['position.longitude'] = bytes.readInt32LE(at + 5) / 1e6
      return at + 9
    }
    case 0x33:
      message['position.speed'] = bytes.readUInt16LE(at) / 10
      message['position.direction'] = bytes.readUInt16LE(at + 2) / 10
      return at + 4
    case 0x34:
      message['position.altitude'] = bytes.readInt16LE(at)
      return at + 2
    case 0x35:
      message['position.hdop'] = bytes.readUInt8(at) / 10
      return at + 1
    case 0x40:
      message['device.status'] = bytes.readUInt16LE(at)
      return at + 2
    case 0x41:
      message['external.powersource.voltage'] = bytes.readUInt16LE(at) / 1000
      return at + 2
    case 0x42:
      message['battery.voltage'] = bytes.readUInt16LE(at) / 1000
      return at + 2
    case 0x43:
      message['device.temperature'] = bytes.readInt8(at)
      return at + 1
    case 0x45:
      message.dout = bytes.readUInt16LE(at)
      return at + 2
    case 0x46:
      message.din = bytes.readUInt16LE(at)
      return at + 2
    case 0x50:
    case 0x51:
    case 0x52:
    case 0x53:
      message[`ain.${tag - 0x50}`] = bytes.readUInt16LE(at) / 1000
      return at + 2
    default:
      throw new Error(`tag ${tag}`)
  }
}
