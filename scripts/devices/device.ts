import { randomInt } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { createHistogram } from 'node:perf_hooks'
import type { Encoder } from './encoder.ts'
import { type Fix, Trip } from './trip.ts'

/** A device gives up on an answer after this, connects anew and sends again. */
const answer_time_max_ms = 30_000
/** Pause before a new connection: doubled each time it fails, with a random share so that a fleet does not come at once. */
const pause_min_ms = 100
const pause_max_ms = 5_000
/** Fixes that a device keeps while nobody answers; the oldest are overwritten, as in the real ones. */
const kept_max = 100_000

/** What a fleet went through. `made` and `acknowledged` count records, once each; the difference is lost when the fleet ends. */
export class Tally {
  made = 0
  acknowledged = 0
  resent = 0
  reconnects = 0
  refused = 0
  /** Time from a packet's last byte handed over to its acknowledgement; in µs. */
  readonly latency = createHistogram({ lowest: 1, highest: 600_000_000, figures: 3 })

  percentile_ms(percentile: number): number {
    return this.latency.count === 0 ? 0 : this.latency.percentile(percentile) / 1000
  }
}

export interface DeviceOptions {
  encoder: Encoder
  ident: string
  host: string
  port: number
  /** Address that the device comes from, where the machine has several. */
  source?: string
  seed: number
  tally: Tally
  /** Records of one packet at most. */
  batch: number
  /** Called once for each record that was acknowledged. */
  onAcknowledged?: (ident: string, timestamp: number) => void
}

/** A tracker: gathers fixes, sends a packet, waits for the acknowledgement, and sends the same bytes again if none came. */
export class Device {
  readonly #options: DeviceOptions
  readonly #trip: Trip
  readonly #waiting: Fix[] = []
  #flight: { bytes: Buffer; fixes: Fix[]; at: number; times: number } | undefined
  #socket: Socket | undefined
  #received: Buffer = Buffer.alloc(0)
  #ready = false
  #failures = 0
  #began = false
  #stopped = false
  #pause: NodeJS.Timeout | undefined
  #last = 0
  /** Called when all fixes so far are acknowledged: a device without a clock makes its next then. */
  onIdle: (() => void) | undefined

  constructor(options: DeviceOptions) {
    this.#options = options
    this.#trip = new Trip(options.seed)
  }

  /** Records not acknowledged. */
  get pending(): number {
    return this.#waiting.length + (this.#flight?.fixes.length ?? 0)
  }

  /** Takes a fix; its time is at least 1 ms after the one before. */
  record(timestamp: number): void {
    this.#last = Math.round(Math.max(this.#last + 0.001, timestamp) * 1000) / 1000
    const { tally } = this.#options
    if (this.#waiting.length >= kept_max) {
      this.#waiting.shift()
    }
    this.#waiting.push(this.#trip.next(this.#last))
    tally.made++
  }

  /** Sends what waits, if nothing is under way. */
  send(): void {
    if (!this.#ready || this.#flight || this.#waiting.length === 0) return
    const { encoder, batch } = this.#options
    const fixes = this.#waiting.splice(0, Math.min(batch, encoder.records_max))
    this.#flight = { bytes: encoder.packet(fixes), fixes, at: 0, times: 0 }
    this.#transmit()
  }

  #transmit(): void {
    const flight = this.#flight
    if (!flight) return
    if (flight.times++ > 0) this.#options.tally.resent += flight.fixes.length
    flight.at = performance.now()
    this.#socket?.write(flight.bytes)
  }

  connect(): void {
    const { host, port, source, encoder, ident, tally } = this.#options
    if (this.#began) tally.reconnects++
    this.#began = true
    this.#received = Buffer.alloc(0)
    const socket = connect({ host, port, noDelay: true, ...(source === undefined ? {} : { localAddress: source }) })
    this.#socket = socket
    socket.setTimeout(answer_time_max_ms, () => {
      if (this.#flight || !this.#ready) socket.destroy()
    })
    socket.on('connect', () => void socket.write(encoder.login(ident)))
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#ready = false
      this.#socket = undefined
      if (this.#stopped) return
      const pause = Math.min(pause_max_ms, pause_min_ms * 2 ** this.#failures++)
      this.#pause = setTimeout(() => this.connect(), pause / 2 + randomInt(Math.ceil(pause / 2)))
    })
  }

  #onData(chunk: Buffer): void {
    const { encoder, tally } = this.#options
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk])
    for (;;) {
      const answer = encoder.answer(this.#received, this.#ready ? 'packet' : 'login')
      if (!answer) return
      this.#received = this.#received.subarray(answer.size)
      if (!this.#ready) {
        if (answer.accepted !== 1) {
          tally.refused++
          return void this.#socket?.destroy()
        }
        this.#ready = true
        if (this.#flight) this.#transmit()
        else this.send()
        if (this.pending === 0) this.onIdle?.()
        continue
      }
      const flight = this.#flight
      if (!flight) continue
      // Anything but "all of them" is no acknowledgement: the same packet goes out again.
      if (answer.accepted !== flight.fixes.length) return void this.#socket?.destroy()
      this.#flight = undefined
      this.#failures = 0
      tally.acknowledged += flight.fixes.length
      tally.latency.record(Math.max(1, Math.round((performance.now() - flight.at) * 1000)))
      const { onAcknowledged, ident } = this.#options
      if (onAcknowledged) for (const fix of flight.fixes) onAcknowledged(ident, fix.timestamp)
      if (this.pending === 0) this.onIdle?.()
      else this.send()
    }
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#pause)
    this.#socket?.destroy()
  }
}
