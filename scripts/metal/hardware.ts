/** The site as hardware: everything that can be switched, pulled or cut, and what follows from it. */
import { randomInt } from 'node:crypto'
import { Bmc } from './bmc.ts'
import type { Ground } from './ground.ts'
import type { Options } from './options.ts'
import { type Part, partOf } from './parts.ts'
import { type BootFrom, driveName } from './qemu.ts'
import { Server } from './server.ts'
import { Switches } from './switches.ts'
import { type Port, portsOf, type Topology } from './topology.ts'

export type Light = 'on' | 'off' | 'pulled' | 'silent'

export interface ServerStatus {
  name: string
  role: string
  power: 'on' | 'off'
  frozen: boolean
  uptime_s: number
  boots: number
  /** What the next start is from. */
  boot: BootFrom
  memory_bytes: number | undefined
  links: { name: string; light: Light; active: boolean }[]
  drives: { name: string; serial: string; in: boolean }[]
  bmc: { alive: boolean; light: Light }
  supplies: { name: string; feed: string; on: boolean }[]
  console: string
}

export interface SiteStatus {
  site: string
  servers: ServerStatus[]
  switches: { name: string; on: boolean }[]
  pdus: { name: string; on: boolean }[]
  feeds: { name: string; on: boolean }[]
  /** Cables that are not servers'. */
  cables: { name: string; light: Light }[]
}

export class Hardware {
  readonly topology: Topology
  readonly #say: (text: string) => void
  readonly #switches: Switches
  readonly #servers = new Map<string, Server>()
  readonly #bmcs = new Map<string, Bmc>()
  /** Parts that are out, by name. */
  readonly #out = new Set<string>()
  readonly #silent = new Set<string>()
  /** Servers that had power when their last supply went: they come back with it. */
  readonly #unpowered = new Set<string>()
  readonly #shown = new Map<string, boolean>()

  constructor(ground: Ground, topology: Topology, options: Options, say: (text: string) => void) {
    this.topology = topology
    this.#say = say
    this.#switches = new Switches(ground, topology, say)
    for (const wired of topology.servers) {
      const { name } = wired.plan
      const lit = (nic: number) => this.#isLit(wired.nics[nic]!)
      this.#servers.set(name, new Server(ground, wired, options, lit, say))
      this.#bmcs.set(name, new Bmc(ground, wired, say))
    }
  }

  server(name: string): Server {
    const found = this.#servers.get(name)
    if (!found) throw new Error(`there is no server "${name}"; there are ${[...this.#servers.keys()].join(', ')}`)
    return found
  }

  /** Builds all and gives it current; servers stay off, as delivered. */
  async build(progress: (text: string) => void): Promise<void> {
    await this.#switches.build()
    for (const port of portsOf(this.topology)) this.#shown.set(port.device, true)
    progress(`${this.topology.plan.racks.flatMap(({ switches }) => switches).length} switches with their cables`)
    for (const server of this.#servers.values()) server.install()
    await Promise.all([...this.#bmcs.values()].map((bmc) => bmc.start()))
    progress(`${this.#servers.size} servers in their racks, off; their BMCs answer`)
  }

  /** What IPMI's chassis commands ask. `words`: `0x20 get power` or `0x20 set power 1`. Gives what ipmi_sim reads. */
  async chassis(name: string, words: readonly string[]): Promise<string> {
    const server = this.server(name)
    const [, verb, ...pairs] = words
    const lines: string[] = []
    for (let i = 0; i < pairs.length; i += verb === 'set' ? 2 : 1) {
      const [what, value] = [pairs[i], pairs[i + 1]]
      if (verb === 'get') {
        const boot = server.boot === 'disk' ? 'default' : server.boot === 'default' ? 'none' : server.boot
        lines.push(
          what === 'power' ? `power:${server.power === 'on' ? 1 : 0}` : `${what}:${what === 'boot' ? boot : 0}`,
        )
        continue
      }
      this.#say(`${name}: its BMC is told ${what} ${value}`)
      if (what === 'power' && value === '1') await server.on()
      else if (what === 'power') await server.off()
      else if (what === 'reset') await server.reset()
      else if (what === 'shutdown') await server.softOff()
      // IPMI's "default" is the drive that the firmware starts from by default.
      else if (what === 'boot') server.setBoot(value === 'pxe' ? 'pxe' : value === 'default' ? 'disk' : 'default')
      else throw new Error(`chassis control "${what}" is not known`)
    }
    return lines.join('\n')
  }

  async power(name: string, action: 'on' | 'off' | 'reset' | 'soft-off'): Promise<void> {
    const server = this.server(name)
    this.#say(`${name}: ${action}`)
    if (action === 'on' && this.#lostSupplies(name).size === server.wired.plan.power.length)
      throw new Error(`${name} has no power: all its supplies are without`)
    if (action === 'on') await server.on()
    else if (action === 'off') await server.off()
    else if (action === 'reset') await server.reset()
    else await server.softOff()
  }

  async freeze(name: string, frozen: boolean): Promise<void> {
    this.#say(`${name}: ${frozen ? 'frozen' : 'thawed'}`)
    await this.server(name).freeze(frozen)
  }

  async pull(name: string): Promise<void> {
    const part = partOf(this.topology, name)
    this.#say(`${part.name}: pulled`)
    if (part.kind === 'drive') return this.server(part.server).pullDrive(part.bay)
    this.#out.add(part.name)
    await this.#settle(part)
  }

  /** A part in again; for a drive, a blank one instead of the one that was pulled. Gives a word on what is in now. */
  async push(name: string, blank?: { readonly serial?: string }): Promise<string> {
    const part = partOf(this.topology, name)
    this.#say(`${part.name}: pushed in`)
    if (part.kind === 'drive') {
      const serial = blank && (blank.serial || `SPARE${String(randomInt(1e8)).padStart(8, '0')}`)
      await this.server(part.server).pushDrive(part.bay, serial ? { serial } : undefined)
      return serial ? `${part.name} is blank, its serial is ${serial}` : ''
    }
    if (blank) throw new Error(`${part.name} is no drive; only a drive can be blank`)
    this.#out.delete(part.name)
    if (this.#silent.has(part.name)) await this.silence(part.name, false)
    await this.#settle(part)
    return ''
  }

  /** Ports of a cable that pass nothing while their lights stay on. */
  async silence(name: string, silent: boolean): Promise<void> {
    const part = partOf(this.topology, name)
    if (part.kind !== 'link') throw new Error(`${part.name} is no cable; only the port of a cable can fall silent`)
    this.#say(`${part.name}: ${silent ? 'silent' : 'speaks again'}`)
    for (const port of part.ports) await this.#switches.silence(port, silent)
    if (silent) this.#silent.add(part.name)
    else this.#silent.delete(part.name)
  }

  #hasCurrent(owner: string, { supply, feed, pdu }: { supply: string; feed: string; pdu: string }): boolean {
    return ![`${owner}/${supply}`, `feed/${feed}`, pdu].some((name) => this.#out.has(name))
  }

  #lostSupplies(name: string): Set<string> {
    const { power } = this.server(name).wired.plan
    return new Set(power.filter((one) => !this.#hasCurrent(name, one)).map(({ supply }) => supply))
  }

  #switchOn(name: string): boolean {
    const found = this.topology.plan.racks.flatMap(({ switches }) => switches).find((one) => one.name === name)!
    return !this.#out.has(name) && (found.power.length === 0 || found.power.some((one) => this.#hasCurrent(name, one)))
  }

  /** Whether both ends of a cable have light. */
  #isLit(port: Port): boolean {
    if (this.#out.has(port.part)) return false
    if (port.kind === 'bmc') return this.#switchOn(port.at.switch) && this.#bmcs.get(port.part.split('/')[0]!)!.alive
    if (port.kind !== 'trunk') return this.#switchOn(port.at.switch)
    return this.topology.trunks.find((ends) => ends.includes(port))!.every(({ at }) => this.#switchOn(at.switch))
  }

  /** What has current runs, what has none is dark. */
  async #settle(part: Part): Promise<void> {
    if (part.kind === 'link') return this.#shine()
    // The dark comes at once, the new light when whoever makes it is there.
    const servers = [...this.#servers.values()]
    const dead = servers.filter(({ name, wired }) => this.#lostSupplies(name).size === wired.plan.power.length)
    for (const { name, power } of dead) if (power === 'on') this.#unpowered.add(name)
    await Promise.all([
      this.#shine(),
      ...dead.map((server) => Promise.all([server.off(), this.#bmcs.get(server.name)!.stop()])),
    ])
    const alive = servers.filter((server) => !dead.includes(server))
    await Promise.all(
      alive.map(async ({ name }) => {
        const bmc = this.#bmcs.get(name)!
        bmc.setLost(this.#lostSupplies(name))
        await bmc.start()
      }),
    )
    await this.#shine()
    // "Power on after AC loss" is on.
    await Promise.all(alive.filter(({ name }) => this.#unpowered.delete(name)).map((server) => server.on()))
  }

  /** Sets every light that is not as it should be. */
  async #shine(): Promise<void> {
    const changed = portsOf(this.topology)
      .map((port) => ({ port, on: this.#isLit(port) }))
      .filter(({ port, on }) => this.#shown.get(port.device) !== on)
    if (changed.length === 0) return
    for (const { port, on } of changed) this.#shown.set(port.device, on)
    const nics = changed.filter(({ port }) => port.kind === 'nic')
    await Promise.all([
      this.#switches.light(changed),
      ...nics.map(({ port, on }) => {
        const server = this.server(port.part.split('/')[0]!)
        return server.setLink(server.wired.nics.indexOf(port), on)
      }),
    ])
  }

  /** All that was pulled or silenced is as it was; drives too. Servers stay on or off. */
  async restore(): Promise<void> {
    for (const name of [...this.#silent]) await this.silence(name, false)
    for (const server of this.#servers.values()) {
      for (const bay of server.bays.filter((one) => !one.in)) await server.pushDrive(bay.bay)
      if (server.frozen) await server.freeze(false)
    }
    const [first] = this.topology.plan.feeds
    this.#out.clear()
    await this.#settle({ kind: 'feed', name: `feed/${first?.name}`, feed: first?.name ?? '' })
  }

  #light(port: Port): Light {
    if (this.#out.has(port.part)) return 'pulled'
    if (!this.#isLit(port)) return 'off'
    if (port.kind === 'nic' && this.server(port.part.split('/')[0]!).power === 'off') return 'off'
    return this.#silent.has(port.part) ? 'silent' : 'on'
  }

  /** Which port heard a server's address last, on the network without a tag. */
  async #active(): Promise<Map<string, string>> {
    const youngest = new Map<string, { device: string; age_s: number }>()
    const { racks } = this.topology.plan
    const heard = await Promise.all(
      racks
        .flatMap(({ switches }) => switches)
        .map(async ({ name }) => ({ name, entries: await this.#switches.learned(name) })),
    )
    for (const { plan, nics } of this.topology.servers) {
      const macs = plan.nics.map(({ mac }) => mac)
      for (const port of nics) {
        const entries = heard.find(({ name }) => name === port.at.switch)!.entries
        for (const { port: at, network, mac, age_s } of entries) {
          if (at !== port.at.port || network !== port.untagged || !macs.includes(mac)) continue
          if (age_s < (youngest.get(plan.name)?.age_s ?? Number.POSITIVE_INFINITY))
            youngest.set(plan.name, { device: port.device, age_s })
        }
      }
    }
    return new Map([...youngest].map(([name, { device }]) => [name, device]))
  }

  async status(): Promise<SiteStatus> {
    const { plan, servers, trunks, places } = this.topology
    const active = await this.#active()
    return {
      site: plan.site,
      servers: servers.map(({ plan: { name, role, nics, power }, nics: ports, bmc }) => {
        const server = this.server(name)
        const lost = this.#lostSupplies(name)
        const controller = this.#bmcs.get(name)!
        const lights = bmc.map(({ port }) => this.#light(port))
        return {
          name,
          role,
          power: server.power,
          frozen: server.frozen,
          uptime_s: server.uptime_s,
          boots: server.boots,
          boot: server.boot,
          memory_bytes: server.memory_bytes,
          links: nics.map((nic, i) => ({
            name: nic.name,
            light: this.#light(ports[i]!),
            active: server.power === 'on' && active.get(name) === ports[i]!.device,
          })),
          drives: server.bays.map((one) => ({ name: driveName(one.bay), serial: one.serial, in: one.in })),
          bmc: { alive: controller.alive, light: lights.includes('on') ? 'on' : lights[0]! },
          supplies: power.map(({ supply, feed }) => ({ name: supply, feed, on: !lost.has(supply) })),
          console: server.consoleLine,
        }
      }),
      switches: plan.racks.flatMap(({ switches }) => switches.map(({ name }) => ({ name, on: this.#switchOn(name) }))),
      pdus: plan.racks.flatMap(({ pdus }) =>
        pdus.map(({ name, feed }) => ({ name, on: !this.#out.has(name) && !this.#out.has(`feed/${feed}`) })),
      ),
      feeds: plan.feeds.map(({ name }) => ({ name, on: !this.#out.has(`feed/${name}`) })),
      cables: [...trunks.map(([one]) => one), ...places.flatMap(({ legs }) => legs)].map((port) => ({
        name: port.part,
        light: this.#light(port),
      })),
    }
  }

  async remove(): Promise<void> {
    await Promise.all([...this.#servers.values()].map((server) => server.off()))
    await Promise.all([...this.#bmcs.values()].map((bmc) => bmc.stop()))
  }
}
