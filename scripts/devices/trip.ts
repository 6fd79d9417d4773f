import { seeded } from '#services/common/random.ts'

/** What a tracker knows at one moment. */
export interface Fix {
  /** s since 1970 UTC, whole milliseconds; grows from fix to fix. */
  timestamp: number
  /** Degrees WGS-84. */
  latitude: number
  longitude: number
  /** m */
  altitude: number
  /** km/h */
  speed: number
  /** Degrees, 0 north. */
  direction: number
  satellites: number
  ignition: boolean
  /** m */
  odometer: number
  /** V */
  voltage: number
  battery: number
  /** 0 … 5 */
  signal: number
}

/** Where trips begin: latitude, longitude, altitude in m. */
const cities = [
  [54.687, 25.28, 112],
  [52.52, 13.405, 34],
  [50.45, 30.524, 179],
  [48.137, 11.575, 519],
  [41.902, 12.496, 37],
  [-34.603, -58.381, 25],
  [40.416, -3.703, 657],
  [59.437, 24.753, 9],
] as const

const metres_per_degree = 111_320
/** Town street, main road, motorway: km/h. */
const paces = [38, 62, 95, 124]
/** A fix follows the one before by at most this, so that a parked night does not become one leap. */
const step_s_max = 30

/** A vehicle that drives legs of road, turns at their ends, waits at lights and parks now and then. */
export class Trip {
  readonly #random: () => number
  #fix: Fix
  /** What is left of the present leg or wait. */
  #metres = 0
  #waiting = 0
  #parked = false
  #pace = 0

  constructor(seed: number) {
    this.#random = seeded(seed)
    const [latitude, longitude, altitude] = cities[Math.floor(this.#random() * cities.length)] ?? cities[0]
    this.#fix = {
      timestamp: 0,
      latitude: latitude + (this.#random() - 0.5) * 0.1,
      longitude: longitude + (this.#random() - 0.5) * 0.1,
      altitude,
      speed: 0,
      direction: Math.floor(this.#random() * 360),
      satellites: 11,
      ignition: true,
      odometer: Math.floor(this.#random() * 2e8),
      voltage: 13.9,
      battery: 4.05,
      signal: 4,
    }
  }

  /** The vehicle's next fix at a later time. */
  next(timestamp: number): Fix {
    const random = this.#random
    const before = this.#fix
    const seconds = before.timestamp === 0 ? 1 : Math.min(step_s_max, Math.max(0.001, timestamp - before.timestamp))
    let { direction } = before
    if (this.#waiting > 0) {
      this.#waiting -= seconds
      if (this.#waiting <= 0) this.#parked = false
    } else if (this.#metres <= 0) {
      // A crossing: a new street, perhaps a red light, seldom a place to park.
      direction = (direction + [0, 90, 270, 20, 340][Math.floor(random() * 5)]! + 360) % 360
      this.#metres = 120 + random() ** 2 * 6_000
      this.#pace = paces[Math.min(paces.length - 1, Math.floor(this.#metres / 1_500))]!
      if (random() < 0.3) this.#waiting = 5 + random() * 40
      if (random() < 0.04) {
        this.#parked = true
        this.#waiting = 60 + random() * 600
      }
    } else direction = (direction + (random() - 0.5) * 6 + 360) % 360
    const goal = this.#waiting > 0 ? 0 : this.#pace * (0.85 + random() * 0.25)
    const gain = goal > before.speed ? 7 : 14
    const speed = before.speed + Math.max(-gain * seconds, Math.min(gain * seconds, goal - before.speed))
    const metres = (((before.speed + speed) / 2) * seconds) / 3.6
    this.#metres -= metres
    const radians = (direction * Math.PI) / 180
    const latitude = before.latitude + (Math.cos(radians) * metres) / metres_per_degree
    const width = metres_per_degree * Math.cos((latitude * Math.PI) / 180)
    this.#fix = {
      timestamp: Math.round(timestamp * 1000) / 1000,
      latitude,
      longitude: before.longitude + (Math.sin(radians) * metres) / width,
      altitude: Math.max(-50, Math.min(3_000, before.altitude + (random() - 0.5) * metres * 0.02)),
      speed,
      direction,
      satellites: Math.max(5, Math.min(19, before.satellites + Math.round((random() - 0.5) * 2.2))),
      ignition: !this.#parked,
      odometer: before.odometer + metres,
      voltage: (this.#parked ? 12.5 : 13.9) + (random() - 0.5) * 0.2,
      battery: 4.05 + (random() - 0.5) * 0.04,
      signal: Math.max(1, Math.min(5, before.signal + Math.round((random() - 0.5) * 1.3))),
    }
    return this.#fix
  }
}
