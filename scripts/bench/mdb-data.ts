/** A realistic fleet's messages for measuring MDB: the same ones for the same seed. */
import { seeded } from '#services/common/random.ts'
import { Trip } from '../devices/trip.ts'

/** One flat JSON object of parameters; `timestamp` in s since 1970 UTC. */
export type FleetMessage = { timestamp: number } & Record<string, unknown>

export interface FleetData {
  devices: number
  /** Messages in all, re-sends included. */
  messages: number
  seed: number
  /** Share of packets that a device keeps in its black box and sends later. */
  late?: number
  /** Share of packets that are sent twice, because the answer was lost. */
  resent?: number
}

/** One packet of one device, as it reaches the server. */
export interface FleetPacket {
  /** 0 … devices − 1 */
  device: number
  records: FleetMessage[]
}

/** 2026-10-01 UTC, s. */
const begin = 1_790_812_800
const round = (value: number, digits: number) => Math.round(value * 10 ** digits) / 10 ** digits
/** Packets that wait in a black box at most: then the oldest are sent, whatever the network does. */
const box_packets_max = 40

/** What the three kinds of tracker of the fleet do: a plain one, one with more sensors, one on the vehicle's CAN bus. */
const models = [
  { share: 0.4, interval_s: 30, packet: 1 },
  { share: 0.35, interval_s: 10, packet: 2 },
  { share: 0.25, interval_s: 5, packet: 4 },
] as const

class FleetDevice {
  readonly #trip: Trip
  readonly #random: () => number
  readonly #ident: string
  readonly #device: number
  readonly #model: number
  readonly #whole: boolean
  #peer = ''
  #time: number
  #battery = 4.08
  #temperature = 21
  #fuel: number
  #consumed: number
  #coolant = 60
  #tripMileage = 0
  #driver = '0000000000000000'
  #cell = 0
  #lac = 0
  #wasIgnition = false
  #direction = 0
  #count = 0
  readonly box: FleetMessage[][] = []
  /** Packets for which there is no network yet. */
  outage = 0

  constructor(device: number, seed: number) {
    this.#trip = new Trip(seed * 1_000_003 + device)
    this.#random = seeded(seed * 7_919 + device * 31 + 5)
    this.#device = device + 1
    this.#ident = String(350_000_000_000_000 + device * 7_919 + 1)
    const share = (device % 20) / 20
    this.#model = share < models[0].share ? 0 : share < models[0].share + models[1].share ? 1 : 2
    // A few firmwares stamp milliseconds.
    this.#whole = this.#random() < 0.85
    this.#time = begin + Math.floor(this.#random() * 3_600)
    this.#fuel = 20 + Math.floor(this.#random() * 80)
    this.#consumed = round(this.#random() * 30_000, 1)
    this.#connect()
  }

  #connect(): void {
    const r = this.#random
    this.#peer = `10.${Math.floor(r() * 64)}.${Math.floor(r() * 256)}.${Math.floor(r() * 256)}:${1024 + Math.floor(r() * 60_000)}`
  }

  /** The next packet that the device makes. */
  packet(): FleetMessage[] {
    const model = models[this.#model]!
    const records: FleetMessage[] = []
    const size = model.packet === 1 ? 1 : 1 + Math.floor(this.#random() * (model.packet * 2 - 1))
    for (let i = 0; i < size; i++) records.push(this.#record(model.interval_s))
    const arrives = round(records.at(-1)!.timestamp + 0.3 + this.#random() ** 4 * 6, 3)
    if (this.#random() < 0.004) this.#connect()
    for (const record of records) {
      record['server.timestamp'] = arrives
      record.peer = this.#peer
    }
    return records
  }

  /** The same packet once more: what differs is when and from where. */
  again(packet: FleetMessage[]): FleetMessage[] {
    const later = round((packet[0]!['server.timestamp'] as number) + 20 + this.#random() * 100, 3)
    this.#connect()
    return packet.map((record) => ({ ...record, 'server.timestamp': later, peer: this.#peer }))
  }

  #record(interval_s: number): FleetMessage {
    const r = this.#random
    // Moving: at the interval, earlier in a bend. Parked: now and then.
    const step = this.#wasIgnition ? (r() < 0.15 ? 1 + Math.floor(r() * interval_s) : interval_s) : 120
    this.#time += step + (r() < 0.05 ? 1 : 0)
    const timestamp = this.#whole ? this.#time : round(this.#time + 0.9 * r(), 3)
    const fix = this.#trip.next(timestamp)
    const { ignition } = fix
    const count = this.#count++
    const turned = ignition !== this.#wasIgnition
    if (turned) {
      this.#tripMileage = ignition ? 0 : this.#tripMileage
      this.#driver =
        ignition && r() < 0.5
          ? `01${Math.floor(r() * 2 ** 40)
              .toString(16)
              .padStart(12, '0')}5C`
          : this.#driver
    }
    const corner = Math.abs(fix.direction - this.#direction) > 15
    this.#direction = fix.direction
    this.#wasIgnition = ignition
    const speed = Math.round(fix.speed)
    const metres = (fix.speed * step) / 3.6
    if (ignition) this.#tripMileage += metres
    if (count % 40 === 0) {
      this.#cell = 10_000 + Math.floor(r() * 50_000)
      this.#lac = 100 + Math.floor(r() * 40)
    }
    this.#battery = Math.min(4.2, Math.max(3.6, this.#battery + (r() - 0.5) * 0.004))
    const moving = speed > 3
    const message: FleetMessage = {
      timestamp,
      ident: this.#ident,
      'event.priority.enum': turned ? 1 : 0,
      'position.longitude': round(fix.longitude, 7),
      'position.latitude': round(fix.latitude, 7),
      'position.altitude': Math.round(fix.altitude),
      'position.direction': Math.round(fix.direction) % 360,
      'position.satellites': fix.satellites,
      'position.speed': speed,
      'event.enum': turned ? 239 : corner ? 253 : 0,
      'engine.ignition.status': ignition,
      'movement.status': moving,
      'gsm.signal.level': fix.signal * 20,
      'external.powersource.voltage': round(fix.voltage, 3),
      'vehicle.mileage': Math.round(fix.odometer) / 1000,
      'server.timestamp': 0,
      'channel.id': 1,
      'device.id': this.#device,
      'protocol.id': 'teltonika',
      peer: '',
    }
    if (this.#model >= 1) this.#sensors(message, fix.satellites, ignition)
    if (this.#model === 2) this.#can(message, speed, ignition, metres)
    if (turned || (this.#model > 0 && count % 20 === 0)) message['ibutton.code'] = this.#driver
    if (corner && speed > 60 && r() < 0.1) message['harsh.cornering.event'] = true
    if (this.#device % 3 === 0 && r() < 0.02) message['io.247'] = Math.floor(r() * 6)
    return message
  }

  #sensors(message: FleetMessage, satellites: number, ignition: boolean): void {
    const r = this.#random
    this.#temperature += (r() - 0.5) * 0.3
    message['position.hdop'] = round(0.6 + (19 - satellites) * 0.1, 1)
    message['battery.voltage'] = round(this.#battery, 3)
    message['battery.current'] = ignition ? round(0.02 + Math.floor(r() * 8) / 1000, 3) : 0
    message['gnss.state.enum'] = 1
    message['gsm.operator.code'] = 24602
    message['gsm.cellid'] = this.#cell
    message['gsm.lac'] = this.#lac
    message['din.1'] = ignition
    message['ain.1'] = round(0.02 + r() * 0.03, 3)
    message['trip.mileage'] = Math.round(this.#tripMileage) / 1000
    if (this.#device % 4 === 1) {
      message['ble.sensor.temperature.1'] = round(this.#temperature, 2)
      message['ble.sensor.humidity.1'] = round(48 + (r() - 0.5) * 3, 1)
    }
  }

  #can(message: FleetMessage, speed: number, ignition: boolean, metres: number): void {
    const r = this.#random
    const rpm = ignition ? Math.round(750 + speed * 14 + r() * 120) : 0
    this.#consumed += ignition ? metres * 0.00009 + 0.001 : 0
    this.#fuel = this.#fuel < 8 ? 96 : this.#fuel - (ignition ? metres * 0.00009 : 0)
    this.#coolant = ignition ? Math.min(91, this.#coolant + 0.6) : Math.max(20, this.#coolant - 0.4)
    message['can.vehicle.speed'] = Math.max(0, speed + (ignition ? Math.floor(r() * 3) - 1 : 0))
    message['can.engine.rpm'] = rpm
    message['can.engine.coolant.temperature'] = Math.round(this.#coolant)
    message['can.fuel.level'] = Math.round(this.#fuel)
    message['can.fuel.consumed'] = round(this.#consumed, 1)
    message['can.vehicle.mileage'] = Math.round((message['vehicle.mileage'] as number) + 12_000)
    message['can.accelerator.pedal.position'] = ignition && speed > 0 ? Math.floor(r() * 45) : 0
    message['can.engine.load.level'] = ignition ? Math.round(18 + speed * 0.3 + r() * 20) : 0
  }

  /** What reaches the server after the device made its next packet: nothing without a network, more after it. */
  *send(late: number, resent: number): Generator<FleetMessage[]> {
    const packet = this.packet()
    if (this.outage === 0 && this.#random() < late / 8) this.outage = 1 + Math.floor(this.#random() * 15)
    if (this.outage > 0 && this.box.length < box_packets_max) {
      this.outage--
      this.box.push(packet)
      return
    }
    // The newest first, then the black box.
    yield packet
    if (this.#random() < resent) yield this.again(packet)
    const arrived = packet[0]!['server.timestamp']
    for (const old of this.box.splice(0)) {
      for (const record of old) record['server.timestamp'] = arrived
      yield old
    }
  }
}

/** The fleet's packets in the order in which they reach the server; ends after exactly `messages` records. */
export function* fleetPackets({
  devices,
  messages,
  seed,
  late = 0.03,
  resent = 0.01,
}: FleetData): Generator<FleetPacket> {
  const fleet = Array.from({ length: devices }, (_, device) => new FleetDevice(device, seed))
  let left = messages
  for (;;) {
    for (const [device, sender] of fleet.entries()) {
      for (const records of sender.send(late, resent)) {
        if (left <= 0) return
        yield { device, records: records.length > left ? records.slice(0, left) : records }
        left -= records.length
      }
    }
  }
}

/** The same in batches of at least `records`, as a gateway's group commit hands them on. */
export async function* fleetBatches(data: FleetData, records: number): AsyncGenerator<FleetPacket[]> {
  let batch: FleetPacket[] = []
  let held = 0
  for (const packet of fleetPackets(data)) {
    batch.push(packet)
    held += packet.records.length
    if (held < records) continue
    yield batch
    batch = []
    held = 0
    // Let others of the process run.
    await new Promise((done) => setImmediate(done))
  }
  if (batch.length > 0) yield batch
}
