/** The rack as hardware: everything that can be switched, pulled, cut or frozen, and what follows from it. */
import { Bmc } from './bmc.ts'
import { Fabric } from './fabric.ts'
import { type Part, partOf } from './parts.ts'
import { Server } from './server.ts'
import type { WiredServer, Wiring } from './wiring.ts'

export interface ServerStatus {
  name: string
  role: string
  power: 'on' | 'off'
  frozen: boolean
  booted: boolean
  uptime_s: number
  boots: number
  memory_bytes: number | undefined
  /** First process, for looking into the server. */
  pid: number | undefined
  legs: { name: string; light: string; active: boolean }[]
  bmc: { alive: boolean; light: string }
  supplies: { name: string; feed: string; on: boolean }[]
}

export interface RackStatus {
  site: string
  servers: ServerStatus[]
  switches: { name: string; on: boolean }[]
  feeds: { name: string; on: boolean }[]
  /** Cables that are not servers': their lights. */
  cables: { name: string; light: string }[]
}

/** Servers that are switched on together start one after the other by this much, so that they do not fight for the processor. */
const stagger_ms = 200

export class Rack {
  #wiring: Wiring
  readonly #say: (text: string) => void
  readonly #fabric: Fabric
  readonly #servers = new Map<string, Server>()
  readonly #bmcs = new Map<string, Bmc>()
  readonly #feedsCut = new Set<string>()
  readonly #switchesPulled = new Set<string>()
  /** `gw1:psu1` */
  readonly #cordsPulled = new Set<string>()
  /** Servers that had power when their last feed went: they come back with it. */
  readonly #unpowered = new Set<string>()

  constructor(wiring: Wiring, say: (text: string) => void) {
    this.#wiring = wiring
    this.#say = say
    this.#fabric = new Fabric(wiring, say)
    for (const wired of wiring.servers) this.#rack(wired)
  }

  get wiring(): Wiring {
    return this.#wiring
  }

  #rack(wired: WiredServer): void {
    this.#servers.set(wired.plan.name, new Server(this.#wiring.site, wired, this.#fabric, this.#say))
    this.#bmcs.set(wired.plan.name, new Bmc(this.#wiring.site, wired, this.#fabric, this.#say))
  }

  server(name: string): Server {
    const found = this.#servers.get(name)
    if (!found) throw new Error(`there is no server "${name}"; there are ${[...this.#servers.keys()].join(', ')}`)
    return found
  }

  /** Builds everything and switches it on; resolves when every server lets people in. */
  async build(root: string, progress: (text: string) => void): Promise<void> {
    await this.#fabric.build()
    await this.#fabric.plug(this.#wiring.outside)
    await this.#fabric.plug(this.#wiring.operator)
    progress(`${this.#wiring.switches.length} switches, the outside and the operator's desk are there`)
    for (const server of this.#servers.values()) await server.install(root)
    progress(`${this.#servers.size} disks are installed`)
    await Promise.all([...this.#bmcs.values()].map((bmc) => bmc.start()))
    progress(`${this.#bmcs.size} BMCs answer`)
    await this.powerOnAll(progress)
  }

  /** Brings the rack to what another plan says: servers that it no longer has go out, new ones come in, switched off and blank. */
  async fit(wiring: Wiring, root: string, progress: (text: string) => void): Promise<void> {
    const same = ({ servers: _, ...rest }: Wiring) => JSON.stringify({ ...rest, vlans: [...rest.vlans] })
    if (same(wiring) !== same(this.#wiring))
      throw new Error('switches, feeds or networks of the site changed: take the laboratory down, and up again')
    const had = new Map(this.#wiring.servers.map((wired) => [wired.plan.name, wired]))
    const has = new Map(wiring.servers.map((wired) => [wired.plan.name, wired]))
    for (const [name, wired] of had) {
      const then = has.get(name)
      if (then && JSON.stringify([then.machine, then.bmc]) === JSON.stringify([wired.machine, wired.bmc])) continue
      await this.#bmcs.get(name)!.stop()
      await this.server(name).remove()
      this.#servers.delete(name)
      this.#bmcs.delete(name)
      progress(`${name} is out of the rack`)
    }
    this.#wiring = wiring
    for (const [name, wired] of has) {
      if (this.#servers.has(name)) continue
      this.#rack(wired)
      await this.server(name).install(root)
      await this.#bmcs.get(name)!.start()
      progress(`${name} is in the rack`)
    }
  }

  /** Another machine in the place of a server: what was on its drives is gone. Its BMC has the same account. */
  async replace(name: string, root: string, progress: (text: string) => void): Promise<void> {
    const server = this.server(name)
    await server.remove()
    await server.install(root)
    this.#say(`${name}: replaced`)
    await server.on()
    await server.waitBooted()
    progress(`${name} is another machine, and up`)
  }

  async powerOnAll(progress: (text: string) => void = () => {}): Promise<void> {
    const began = performance.now()
    await Promise.all(
      [...this.#servers.values()].map(async (server, i) => {
        await new Promise((done) => setTimeout(done, i * stagger_ms))
        await server.on()
        await server.waitBooted()
        progress(`${server.name} is up after ${((performance.now() - began) / 1000).toFixed(1)} s`)
      }),
    )
  }

  /** What IPMI's chassis commands ask of a server. `words`: `0x20 get power` or `0x20 set power 1`. Gives what ipmi_sim reads. */
  async chassis(name: string, words: readonly string[]): Promise<string> {
    const server = this.server(name)
    const [, verb, ...pairs] = words
    const lines: string[] = []
    for (let i = 0; i < pairs.length; i += verb === 'set' ? 2 : 1) {
      const [what, value] = [pairs[i], pairs[i + 1]]
      if (verb === 'get') {
        lines.push(what === 'power' ? `power:${server.power === 'on' ? 1 : 0}` : `${what}:default`)
        continue
      }
      if (what === 'power' && value === '1') await server.on()
      else if (what === 'power') await server.off()
      else if (what === 'reset') await server.reset()
      else if (what === 'shutdown') await server.softOff()
      else if (what !== 'boot') throw new Error(`chassis control "${what}" is not known`)
      this.#say(`${name}: its BMC was told ${what} ${value}`)
    }
    return lines.join('\n')
  }

  /** Servers that answer for an address at this moment. */
  holders(address: string): string[] {
    return [...this.#servers.values()].filter((server) => server.holds(address)).map(({ name }) => name)
  }

  async power(name: string, action: 'on' | 'off' | 'reset' | 'soft-off'): Promise<void> {
    const server = this.server(name)
    this.#say(`${name}: ${action}`)
    if (action === 'on') await server.on()
    else if (action === 'off') await server.off()
    else if (action === 'reset') await server.reset()
    else await server.softOff()
  }

  freeze(name: string): void {
    this.#say(`${name}: frozen`)
    this.server(name).freeze()
  }

  thaw(name: string): void {
    this.#say(`${name}: thawed`)
    this.server(name).thaw()
  }

  /** Out with a part, or in again. */
  async setPulled(name: string, pulled: boolean): Promise<void> {
    const part: Part = partOf(this.#wiring, name)
    this.#say(`${name}: ${pulled ? 'pulled' : 'pushed in'}`)
    const note = (set: Set<string>, key: string) => (pulled ? set.add(key) : set.delete(key))
    if (part.kind === 'cable') return this.#fabric.setPulled(part.port, pulled)
    if (part.kind === 'switch') note(this.#switchesPulled, part.name)
    else if (part.kind === 'cord') note(this.#cordsPulled, part.name)
    else note(this.#feedsCut, part.name.slice('feed:'.length))
    await this.#settlePower()
  }

  /** A port of a switch passes nothing while its light stays on. */
  async setSilent(name: string, silent: boolean): Promise<void> {
    const part = partOf(this.#wiring, name)
    if (part.kind !== 'cable') throw new Error(`${name} is no cable; only a cable's port can fall silent`)
    this.#say(`${name}: ${silent ? 'silent' : 'speaks again'}`)
    await this.#fabric.setSilent(part.port, silent)
  }

  #lostSupplies(name: string): Set<string> {
    const supplies = this.server(name).wired.plan.power
    return new Set(
      supplies
        .filter(({ supply, feed }) => this.#feedsCut.has(feed) || this.#cordsPulled.has(`${name}:${supply}`))
        .map(({ supply }) => supply),
    )
  }

  /** What has current runs, what has none is dark. */
  async #settlePower(): Promise<void> {
    await Promise.all([
      ...this.#wiring.switches.map(async ({ name, feeds }) => {
        const dark =
          this.#switchesPulled.has(name) || (feeds.length > 0 && feeds.every((feed) => this.#feedsCut.has(feed)))
        if (dark !== this.#fabric.isDark(name)) await this.#fabric.setDark(name, dark)
      }),
      ...[...this.#servers.values()].map(async (server) => {
        const bmc = this.#bmcs.get(server.name)!
        const lost = this.#lostSupplies(server.name)
        const { power } = server.wired.plan
        if (power.length > 0 && lost.size === power.length) {
          if (server.power === 'on') this.#unpowered.add(server.name)
          await Promise.all([server.off(), bmc.stop()])
          return
        }
        bmc.setLost(lost)
        await bmc.start()
        if (this.#unpowered.delete(server.name)) await server.on()
      }),
    ])
  }

  /** All that was pulled, silenced, frozen or switched off is as new; resolves when every server lets people in. */
  async restore(): Promise<void> {
    for (const server of this.#servers.values()) server.thaw()
    for (const machine of [
      ...this.#wiring.servers.flatMap(({ machine, bmc }) => [machine, bmc]),
      this.#wiring.outside,
      this.#wiring.operator,
    ]) {
      for (const { port } of machine.legs) {
        const light = this.#fabric.light(port)
        if (light === 'pulled') await this.#fabric.setPulled(port, false)
        if (this.#fabric.isSilent(port)) await this.#fabric.setSilent(port, false)
      }
    }
    for (const { ends } of this.#wiring.trunks) await this.#fabric.setPulled(ends[0], false)
    for (const set of [this.#feedsCut, this.#switchesPulled, this.#cordsPulled]) set.clear()
    await this.#settlePower()
    await this.powerOnAll()
  }

  status(): RackStatus {
    const light = (port: { switch: string; port: number }) => this.#fabric.light(port)
    return {
      site: this.#wiring.site,
      servers: this.#wiring.servers.map(({ plan, machine, bmc }) => {
        const server = this.server(plan.name)
        const lost = this.#lostSupplies(plan.name)
        return {
          name: plan.name,
          role: plan.role,
          power: server.power,
          frozen: server.frozen,
          booted: server.booted,
          uptime_s: server.uptime_s,
          boots: server.boots,
          memory_bytes: server.memory_bytes,
          pid: server.pid,
          legs: machine.legs.map((leg) => ({
            name: leg.name,
            light: light(leg.port),
            active: this.#fabric.active(plan.name) === leg.name,
          })),
          bmc: {
            alive: this.#bmcs.get(plan.name)!.alive,
            light: bmc.legs.map((leg) => light(leg.port)).find((one) => one === 'on') ?? light(bmc.legs[0]!.port),
          },
          supplies: plan.power.map(({ supply, feed }) => ({ name: supply, feed, on: !lost.has(supply) })),
        }
      }),
      switches: this.#wiring.switches.map(({ name }) => ({ name, on: !this.#fabric.isDark(name) })),
      feeds: this.#wiring.feeds.map((name) => ({ name, on: !this.#feedsCut.has(name) })),
      cables: [
        ...this.#wiring.outside.legs.map((leg) => ({ name: `outside:${leg.name}`, light: light(leg.port) })),
        ...this.#wiring.trunks.map(({ ends }) => ({
          name: `${ends[0].switch}:${ends[1].switch}`,
          light: light(ends[0]),
        })),
      ],
    }
  }

  /** Switches all off and takes the disks out; networks and processes go with it. */
  async remove(): Promise<void> {
    await Promise.all([...this.#servers.values()].map((server) => server.remove()))
    await Promise.all([...this.#bmcs.values()].map((bmc) => bmc.stop()))
    await this.#fabric.unplug(this.#wiring.outside)
    await this.#fabric.unplug(this.#wiring.operator)
    this.#fabric.stop()
  }
}
