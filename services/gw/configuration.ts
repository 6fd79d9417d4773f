import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { Logger } from 'pino'
import { call, mustCall } from '#services/common/client.ts'
import { type Channel, type Count, type Device, deviceKey, type Pulse } from './model.ts'

export interface ConfigurationOptions {
  /** tgctl's address. */
  url: string
  token: string
  /** Where the last known configuration is kept, so that tg starts while tgctl is away. */
  file: string
  log: Logger
  /** Counts to be told to tgctl. */
  counts(): Count[]
  onChange(): void
}

interface Cached {
  channels: Channel[]
  devices: Device[]
  blocked: Pulse['blocked']
}

const pulse_every_ms = 1_000
/** Whole lists are read again at most so often, times the time the last read took. */
const read_pause_factor = 3

/** Channels and devices as tgctl says: asked each second whether they changed, at once when the bus tells. */
export class Configuration {
  readonly #options: ConfigurationOptions
  readonly #revisions = { channels: -1, devices: -1 }
  channels = new Map<number, Channel>()
  devices = new Map<string, Device>()
  blocked = new Map<number, string>()
  /** Something is known: from tgctl or from the file. */
  known = false
  #running: Promise<void> | undefined
  #again = false
  #timer: NodeJS.Timeout | undefined
  #closed = false
  #away = false

  constructor(options: ConfigurationOptions) {
    this.#options = options
  }

  /** Takes the file's configuration if there is one, then follows tgctl. */
  async start(): Promise<void> {
    try {
      const cached = JSON.parse(readFileSync(this.#options.file, 'utf8')) as Cached
      this.#setChannels(cached.channels)
      this.#setDevices(cached.devices)
      this.blocked = new Map(cached.blocked.map((b) => [b.account_id, b.reason]))
      this.known = true
      this.#options.onChange()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#options.log.warn({ reason: (error as Error).message }, 'the kept configuration cannot be read')
    }
    await this.refresh()
  }

  /** Asks tgctl now; calls while one is under way become one more. */
  refresh(): Promise<void> {
    if (this.#running) {
      this.#again = true
      return this.#running
    }
    clearTimeout(this.#timer)
    this.#running = this.#refresh().finally(() => {
      this.#running = undefined
      if (this.#closed) return
      this.#timer = setTimeout(() => void this.refresh(), this.#again ? 0 : pulse_every_ms)
      this.#again = false
    })
    return this.#running
  }

  async #refresh(): Promise<void> {
    const { url, token, log, counts, onChange } = this.#options
    try {
      const answer = await call<Pulse>('POST', `${url}/gw/counters`, { token, body: counts(), timeout_ms: 5_000 })
      const [pulse] = answer.result
      if (answer.status !== 200 || !pulse) throw new Error(answer.errors[0]?.reason ?? `status ${answer.status}`)
      const began = performance.now()
      let changed = this.#setBlocked(pulse.blocked)
      // The revision is read before the list: a change in between is read twice, never missed.
      if (pulse.channels !== this.#revisions.channels) {
        this.#setChannels(await mustCall<Channel>('GET', `${url}/gw/channels/all`, { token }))
        this.#revisions.channels = pulse.channels
        changed = true
      }
      if (pulse.devices !== this.#revisions.devices) {
        this.#setDevices(await mustCall<Device>('GET', `${url}/gw/devices/all`, { token }))
        this.#revisions.devices = pulse.devices
        changed = true
      }
      if (this.#away) log.info('tgctl is back')
      this.#away = false
      if (!changed) return
      this.known = true
      onChange()
      this.#keep()
      const pause_ms = (performance.now() - began) * read_pause_factor
      if (pause_ms > pulse_every_ms) await new Promise((resolve) => setTimeout(resolve, pause_ms))
    } catch (error) {
      if (!this.#away)
        log.warn({ reason: (error as Error).message }, 'tgctl is away: the last known configuration holds')
      this.#away = true
    }
  }

  #setChannels(list: Channel[]): void {
    this.channels = new Map(list.map((channel) => [channel.id, channel]))
  }

  #setDevices(list: Device[]): void {
    this.devices = new Map(list.map((device) => [deviceKey(device.account_id, device.ident), device]))
  }

  #setBlocked(list: Pulse['blocked']): boolean {
    const next = new Map(list.map((b) => [b.account_id, b.reason]))
    const same = next.size === this.blocked.size && [...next].every(([id, reason]) => this.blocked.get(id) === reason)
    this.blocked = next
    return !same
  }

  /** Written beside and renamed: a crash leaves the old one or the new one. */
  #keep(): void {
    const cached: Cached = {
      channels: [...this.channels.values()],
      devices: [...this.devices.values()],
      blocked: [...this.blocked].map(([account_id, reason]) => ({ account_id, reason })),
    }
    try {
      writeFileSync(`${this.#options.file}.new`, JSON.stringify(cached), { mode: 0o600 })
      renameSync(`${this.#options.file}.new`, this.#options.file)
    } catch (error) {
      this.#options.log.warn({ reason: (error as Error).message }, 'the configuration cannot be kept on disk')
    }
  }

  /** Tells the last counts; then no more. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#running
    const { url, token, counts } = this.#options
    await call('POST', `${url}/gw/counters`, { token, body: counts(), timeout_ms: 1_000 }).catch(() => {})
  }
}
