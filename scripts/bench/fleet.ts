/** A fleet that sends as fast as it is answered, in a process of its own: what it sends is encoded beforehand. */
import { connect } from 'node:net'
import { createHistogram } from 'node:perf_hooks'
import { identOf } from '../devices/index.ts'
import { teltonika } from '../devices/teltonika.ts'
import { Trip } from '../devices/trip.ts'

export interface FleetOptions {
  port: number
  connections: number
  /** Records of a packet. */
  batch: number
  /** Packets that a device has under way at most. */
  window: number
  seconds: number
  seed: number
}

export interface FleetResult {
  acknowledged: number
  seconds: number
  p50_ms: number
  p99_ms: number
}

/** Packets that a device cycles through; each time round the clock in them is moved on. */
const packets_of_a_device = 20
const record_bytes_at = 10

function run(options: FleetOptions): Promise<FleetResult> {
  const { port, connections, batch, window, seconds, seed } = options
  const latency = createHistogram({ lowest: 1, highest: 600_000_000, figures: 3 })
  let acknowledged = 0
  let stopping = false
  const first = Math.floor(Date.now() / 1000) - 86_400
  const devices = Array.from({ length: connections }, (_, d) => {
    const trip = new Trip(seed * 1_000 + d)
    let time = first
    return Array.from({ length: packets_of_a_device }, () =>
      teltonika.packet(Array.from({ length: batch }, () => trip.next((time += 1)))),
    )
  })
  const began = performance.now()
  const ended = devices.map(
    (packets, d) =>
      new Promise<void>((resolve, reject) => {
        const sent: number[] = []
        let next = 0
        let loggedIn = false
        let received = 0
        const socket = connect({ port, host: '127.0.0.1', noDelay: true })
        const send = () => {
          while (!stopping && sent.length < window) {
            const round = Math.floor(next / packets_of_a_device)
            const packet = packets[next++ % packets_of_a_device] as Buffer
            sent.push(performance.now())
            socket.write(round === 0 ? packet : later(packet, batch))
          }
          if (stopping && sent.length === 0) socket.end()
        }
        socket.on('connect', () => void socket.write(teltonika.login(identOf(seed, d))))
        socket.on('data', (chunk) => {
          let bytes = chunk.length
          if (!loggedIn) {
            loggedIn = true
            bytes--
          }
          // An answer is four bytes with the number of records; each is checked to be whole by its count alone.
          for (received += bytes; received >= 4; received -= 4) {
            latency.record(Math.max(1, Math.round((performance.now() - (sent.shift() ?? 0)) * 1000)))
            acknowledged += batch
          }
          send()
        })
        socket.on('error', reject)
        socket.on('close', () => resolve())
        setTimeout(() => {
          stopping = true
        }, seconds * 1000)
      }),
  )
  return Promise.all(ended).then(() => ({
    acknowledged,
    seconds: (performance.now() - began) / 1000,
    p50_ms: latency.percentile(50) / 1000,
    p99_ms: latency.percentile(99) / 1000,
  }))
}

/** The same packet with its records' clocks moved on, in place: none is a re-send. Safe, for it is not under way. */
function later(packet: Buffer, batch: number): Buffer {
  const bytes = Buffer.from(packet)
  const size = (packet.length - 15) / batch
  for (let i = 0; i < batch; i++) {
    const at = record_bytes_at + i * size
    const moved = packet.readBigUInt64BE(at) + 1_000n * BigInt(batch * packets_of_a_device)
    packet.writeBigUInt64BE(moved, at)
    bytes.writeBigUInt64BE(moved, at)
  }
  return teltonika.sealed(bytes)
}

process.on('message', (options: FleetOptions) => {
  run(options).then(
    (result) => process.send?.(result, () => process.exit(0)),
    (error) => {
      process.stderr.write(`${(error as Error).message}\n`)
      process.exit(1)
    },
  )
})
