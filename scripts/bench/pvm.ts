/** Records a second on one core: PVM's generated code, its interpreter, and a decoder written by hand with the same output. */
import { isDeepStrictEqual } from 'node:util'
import { checksums } from '#pvm/checksums.ts'
import { loadProtocol, type Message, Session } from '#pvm/index.ts'
import type { BenchTable } from './main.ts'
import { type Decoded, galileo, ruptela, teltonika } from './pvm-handwritten.ts'

interface Case {
  protocol: string
  title: string
  /** What comes first in a session, and the packets that are decoded over and over. */
  hello: Buffer | undefined
  packets: Buffer[]
  byHand: (packet: Buffer) => Decoded
}

const ident = '356307042441013'
const records_a_packet = 10
/** Different packets, so that nothing is decoded from a warm cache alone. */
const packets_each = 200
const first_s = 1_700_000_000

/** Numbers as a moving vehicle's: the n-th record of a packet of ten. */
const place = (n: number) => ({
  time: first_s + n,
  latitude: 547_146_000 + n * 13,
  longitude: 253_032_000 + n * 7,
  altitude: 100 + (n % 50),
  course: n % 360,
  satellites: 5 + (n % 9),
  speed: n % 90,
})

function teltonikaPacket(p: number): Buffer {
  const parts: Buffer[] = []
  for (let i = 0; i < records_a_packet; i++) {
    const at = place(p * records_a_packet + i)
    const head = Buffer.alloc(28)
    head.writeBigUInt64BE(BigInt(at.time) * 1000n)
    head.writeInt32BE(at.longitude, 9)
    head.writeInt32BE(at.latitude, 13)
    head.writeInt16BE(at.altitude, 17)
    head.writeUInt16BE(at.course, 19)
    head.writeUInt8(at.satellites, 21)
    head.writeUInt16BE(at.speed, 22)
    head.writeUInt16BE(12, 26)
    const body: number[] = []
    const group = (width: number, elements: [id: number, value: number][]) => {
      body.push(0, elements.length)
      for (const [id, value] of elements) {
        body.push(id >> 8, id & 255)
        for (let shift = width - 1; shift >= 0; shift--) body.push(Math.floor(value / 256 ** shift) % 256)
      }
    }
    group(1, [
      [239, 1],
      [240, at.speed > 0 ? 1 : 0],
      [21, at.time % 6],
      [200, 0],
      [69, 1],
      [1, at.time % 2],
    ])
    group(2, [
      [181, 12],
      [182, 8],
      [66, 12_000 + (at.time % 900)],
      [67, 4_050],
    ])
    group(4, [
      [241, 24_602],
      [16, 4_000_000 + at.time - first_s],
    ])
    group(8, [])
    body.push(0, 0)
    parts.push(head, Buffer.from(body))
  }
  const data = Buffer.concat([Buffer.of(0x8e, records_a_packet), ...parts, Buffer.of(records_a_packet)])
  const packet = Buffer.alloc(data.length + 12)
  packet.writeUInt32BE(data.length, 4)
  data.copy(packet, 8)
  packet.writeUInt32BE(checksums.crc16_ibm?.(data, 0, data.length) ?? 0, data.length + 8)
  return packet
}

function ruptelaPacket(p: number): Buffer {
  const parts: Buffer[] = []
  for (let i = 0; i < records_a_packet; i++) {
    const at = place(p * records_a_packet + i)
    const record = Buffer.alloc(23)
    record.writeUInt32BE(at.time)
    record.writeInt32BE(at.longitude, 6)
    record.writeInt32BE(at.latitude, 10)
    record.writeUInt16BE(at.altitude * 10, 14)
    record.writeUInt16BE(at.course * 100, 16)
    record.writeUInt8(at.satellites, 18)
    record.writeUInt16BE(at.speed, 19)
    record.writeUInt8(9, 21)
    record.writeUInt8(7, 22)
    const [power, odometer] = [12_000 + (at.time % 900), 4_000_000 + at.time - first_s]
    const io = Buffer.alloc(38)
    io.set([5, 2, 1, 3, 0, 5, 1, 173, at.speed > 0 ? 1 : 0, 32, 29], 0)
    io.set([3, 29, power >> 8, power & 255, 30, 16, 1, 22, 0, 44], 11)
    io.set([2, 65], 21)
    io.writeUInt32BE(odometer, 23)
    io.set([150], 27)
    io.writeUInt32BE(24_602, 28)
    parts.push(record, io.subarray(0, 33))
  }
  const head = Buffer.alloc(11)
  head.writeBigUInt64BE(BigInt(ident))
  head.set([1, 0, records_a_packet], 8)
  const data = Buffer.concat([head, ...parts])
  const packet = Buffer.alloc(data.length + 4)
  packet.writeUInt16BE(data.length)
  data.copy(packet, 2)
  packet.writeUInt16BE(checksums.crc16_kermit?.(data, 0, data.length) ?? 0, data.length + 2)
  return packet
}

function galileoPacket(p: number): Buffer {
  const parts: Buffer[] = []
  for (let i = 0; i < records_a_packet; i++) {
    const at = place(p * records_a_packet + i)
    const b: number[] = [3, ...Buffer.from(ident), 4, 50, 0]
    const le = (tag: number, ...values: [value: number, size: number][]) => {
      b.push(tag)
      for (const [value, size] of values) for (let k = 0; k < size; k++) b.push(Math.floor(value / 256 ** k) % 256)
    }
    le(0x10, [at.time % 65_536, 2])
    le(0x20, [at.time, 4])
    le(0x30, [at.satellites, 1], [Math.floor(at.latitude / 10), 4], [Math.floor(at.longitude / 10), 4])
    le(0x33, [at.speed * 10, 2], [at.course * 10, 2])
    le(0x34, [at.altitude, 2])
    le(0x35, [8, 1])
    le(0x40, [10_761, 2])
    le(0x41, [12_000 + (at.time % 900), 2])
    le(0x42, [4_050, 2])
    le(0x43, [29, 1])
    le(0x45, [0, 2])
    le(0x46, [3, 2])
    for (let adc = 0; adc < 4; adc++) le(0x50 + adc, [at.time % (1000 + adc), 2])
    parts.push(Buffer.from(b))
  }
  const data = Buffer.concat(parts)
  const packet = Buffer.alloc(data.length + 5)
  packet[0] = 1
  packet.writeUInt16LE(data.length, 1)
  data.copy(packet, 3)
  packet.writeUInt16LE(checksums.crc16_modbus?.(packet, 0, data.length + 3) ?? 0, data.length + 3)
  return packet
}

const many = (make: (p: number) => Buffer) => Array.from({ length: packets_each }, (_, p) => make(p))

const cases: Case[] = [
  {
    protocol: 'teltonika',
    title: 'Teltonika 8E, 12 elements a record',
    hello: Buffer.concat([Buffer.of(0, 15), Buffer.from(ident)]),
    packets: many(teltonikaPacket),
    byHand: (packet) => teltonika(packet, ident),
  },
  {
    protocol: 'ruptela',
    title: 'Ruptela, 10 elements a record',
    hello: undefined,
    packets: many(ruptelaPacket),
    byHand: ruptela,
  },
  {
    protocol: 'galileo',
    title: 'Galileosky, 18 tags a record',
    hello: undefined,
    packets: many(galileoPacket),
    byHand: galileo,
  },
]

type Decode = (packet: Buffer) => Message[]

/** Rounds of each figure, taken in turn; the best counts: others on the same cores only take away. */
const rounds = 6

/** Records a second of the processor's time of each decoder. */
function rates(seconds: number, decoders: Decode[], packets: Buffer[]): number[] {
  const run = (decode: Decode, until_s: number) => {
    const started = process.cpuUsage()
    const end = performance.now() + until_s * 1000
    let records = 0
    while (performance.now() < end) for (const packet of packets) records += decode(packet).length
    const used = process.cpuUsage(started)
    return records / ((used.user + used.system) / 1e6)
  }
  const best = decoders.map(() => 0)
  for (const decode of decoders) run(decode, Math.min(1, seconds / 4))
  for (let round = 0; round < rounds; round++)
    for (const [i, decode] of decoders.entries()) best[i] = Math.max(best[i] as number, run(decode, seconds / rounds))
  return best
}

function session(
  { protocol, hello }: Case,
  interpret: boolean,
): (packet: Buffer) => { messages: Message[]; reply: Uint8Array | null } {
  const one = new Session(loadProtocol(protocol), { interpret })
  if (hello) one.feed(hello)
  return (packet) => {
    const [decoded] = one.feed(packet)
    if (!decoded || decoded.error) throw new Error(`${protocol}: ${decoded?.error?.reason ?? 'no packet'}`)
    return decoded
  }
}

export async function bench({ seconds, say }: { seconds: number; say: (line: string) => void }): Promise<BenchTable[]> {
  const rows: (string | number)[][] = []
  for (const one of cases) {
    const fast = session(one, false)
    const slow = session(one, true)
    for (const packet of one.packets) {
      const [a, b, c] = [fast(packet), slow(packet), one.byHand(packet)]
      if (
        !isDeepStrictEqual(sorted(a.messages), sorted(c.messages)) ||
        !isDeepStrictEqual(sorted(a.messages), sorted(b.messages))
      )
        throw new Error(
          `${one.protocol}: the decoders do not give the same: ${JSON.stringify([a.messages[0], c.messages[0]])}`,
        )
      if (!isDeepStrictEqual(Buffer.from(a.reply ?? []), Buffer.from(c.reply ?? [])))
        throw new Error(`${one.protocol}: the decoders do not answer the same`)
    }
    say(`${one.title} …`)
    const decoders = [fast, one.byHand, slow].map((decode) => (packet: Buffer) => decode(packet).messages)
    const [jit = 0, hand = 0, interpreter = 0] = rates(seconds, decoders, one.packets)
    rows.push([one.title, Math.round(jit), Math.round(hand), Number((jit / hand).toFixed(2)), Math.round(interpreter)])
  }
  return [
    {
      title: 'Records a second that PVM decodes on one core',
      head: ['packet', 'generated code', 'by hand', 'generated ÷ by hand', 'interpreter'],
      rows,
      notes: [
        `${records_a_packet} records a packet, ${packets_each} packets in turn, from bytes to messages and answer, checksums included; time is the processor's, the best of ${rounds} rounds taken in turn.`,
        'All three give the same messages and answers: compared before anything is measured.',
        'By hand: scripts/bench/pvm-handwritten.ts, for these packets alone, without sessions or framing.',
      ],
    },
  ]
}

/** The same parameters in one order. */
const sorted = (messages: Message[]) =>
  messages.map((message) => Object.fromEntries(Object.entries(message).sort(([a], [b]) => (a < b ? -1 : 1))))
