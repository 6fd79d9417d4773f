import { idOf } from './elements.ts'
import type { ProofInput, ServerInput, SupplyInput, SwitchInput } from './input.ts'

/** What physically remains of a site when some of its elements have failed: power, cables, ways. */
export class Remains {
  readonly #input: ProofInput
  readonly #failed: ReadonlySet<string>
  readonly #servers: ReadonlyMap<string, ServerInput>
  readonly #switches: ReadonlyMap<string, SwitchInput>
  readonly #feeds: ReadonlyMap<string, string>
  /** Switches that still reach each other have the same number. */
  readonly #islands: ReadonlyMap<string, number>

  constructor(input: ProofInput, failed: ReadonlySet<string>) {
    this.#input = input
    this.#failed = failed
    this.#servers = new Map(input.servers.map((server) => [server.name, server]))
    this.#switches = new Map(input.racks.flatMap(({ switches }) => switches.map((one) => [one.name, one])))
    this.#feeds = new Map(input.racks.flatMap(({ pdus }) => pdus.map(({ name, feed }) => [name, feed])))
    this.#islands = this.#connected()
  }

  has(element: string): boolean {
    return !this.#failed.has(element)
  }

  serverUp(name: string): boolean {
    return this.whyDown(name) === null
  }

  /** Why the server does not run; null: it runs. */
  whyDown(name: string): string | null {
    const { power, drives, raid } = this.#server(name)
    if (!this.has(idOf.server(name))) return `${name} has failed`
    if (!this.#powered(name, power)) return this.#whyDark(name, power)
    const lost = drives.filter(({ bay, serial }) => raid.members.includes(serial) && !this.has(idOf.drive(name, bay)))
    return lost.length === raid.members.length ? `${name} has lost ${all(lost.length)} drives of its mirror` : null
  }

  switchUp(name: string): boolean {
    const one = this.#switches.get(name)
    return one !== undefined && this.has(idOf.switch(name)) && this.#powered(name, one.power)
  }

  /** Both run, and a frame finds its way on this network. */
  reach(network: string, from: string, to: string): boolean {
    if (from === to) return this.serverUp(from)
    const there = this.#attached(to, network)
    return this.#attached(from, network).some((island) => there.includes(island))
  }

  /** The server still has a way to some provider. */
  outside(server: string): boolean {
    return this.#input.networks.some(({ name, uplinks }) => {
      const there = this.#attached(server, name)
      return uplinks.some(
        (uplink) =>
          this.has(idOf.uplink(uplink.provider)) &&
          this.switchUp(uplink.switch) &&
          there.includes(this.#islands.get(uplink.switch)!),
      )
    })
  }

  /** Why the BMC at this address does not answer that server; null: it does. */
  whyNoBmc(from: string, target: string, address: string): string | null {
    const { power, bmc } = this.#server(target)
    const path = bmc.paths.find((one) => one.address === address)
    if (!path) return `${target}'s BMC has no port ${address}`
    if (!this.has(idOf.bmc(target))) return `${target}'s BMC has failed`
    if (!this.#powered(target, power)) return `${target}'s BMC has no power either`
    if (!this.has(idOf.bmcCable(target, path.name))) return `the cable of ${target}'s BMC is out`
    if (!this.switchUp(path.link.switch)) return `${target}'s BMC hangs on ${path.link.switch} alone`
    const way = this.#attached(from, 'bmc').includes(this.#islands.get(path.link.switch)!)
    return way ? null : `no way to ${target}'s BMC`
  }

  /** Why a running server is cut off. */
  whyCutOff(name: string): string {
    const { nics } = this.#server(name)
    const dead = nics.filter((nic) => !this.#linkUp(name, nic))
    if (dead.length < nics.length) return `${name} is cut off from the majority`
    const switches = [...new Set(dead.map(({ link }) => link.switch))]
    const legs = dead.map((nic) => nic.name).join(' and ')
    return switches.length === 1
      ? `${name} is cut off: ${legs} both go to switch ${switches[0]}`
      : `${name} is cut off: ${legs} are both dead`
  }

  #server(name: string): ServerInput {
    return this.#servers.get(name)!
  }

  #supplyAlive(owner: string, { supply, pdu }: SupplyInput): boolean {
    return this.has(idOf.supply(owner, supply)) && this.has(idOf.pdu(pdu)) && this.has(idOf.feed(this.#feeds.get(pdu)!))
  }

  #powered(owner: string, supplies: readonly SupplyInput[]): boolean {
    return supplies.some((supply) => this.#supplyAlive(owner, supply))
  }

  #whyDark(owner: string, supplies: readonly SupplyInput[]): string {
    const feeds = new Set(supplies.map(({ pdu }) => this.#feeds.get(pdu)!))
    const names = supplies.map(({ supply }) => supply).join(' and ')
    if (feeds.size === 1 && supplies.length > 1)
      return `${owner} has no power: ${names} both hang on feed ${[...feeds][0]}`
    return `${owner} has no power: ${names} ${supplies.length > 1 ? 'are' : 'is'} dead`
  }

  #linkUp(server: string, nic: ServerInput['nics'][number]): boolean {
    return (
      this.has(idOf.nic(server, nic.name)) && this.has(idOf.cable(server, nic.name)) && this.switchUp(nic.link.switch)
    )
  }

  /** Islands that the server is on with its device of a network. A bond in active-backup uses one leg at a time. */
  #attached(name: string, network: string): number[] {
    if (!this.serverUp(name)) return []
    const { nics, bond, interfaces } = this.#server(name)
    const parent = interfaces.find((one) => one.network === network)?.parent
    const members = parent === bond.name ? bond.members : [parent]
    const up = nics.filter((nic) => members.includes(nic.name) && this.#linkUp(name, nic))
    const preferred = up.find((nic) => nic.name === bond.primary) ?? up[0]
    const used = bond.mode === '802.3ad' ? up : preferred ? [preferred] : []
    return used.map(({ link }) => this.#islands.get(link.switch)!)
  }

  #connected(): Map<string, number> {
    const islands = new Map([...this.#switches.keys()].map((name, index) => [name, index]))
    const join = (from: number, to: number) => {
      for (const [name, island] of islands) if (island === from) islands.set(name, to)
    }
    for (const { name, trunks } of this.#switches.values())
      for (const { to } of trunks)
        if (this.has(idOf.trunk(name, to.switch)) && this.switchUp(name) && this.switchUp(to.switch))
          join(islands.get(to.switch)!, islands.get(name)!)
    return islands
  }
}

const all = (count: number) => (count === 2 ? 'both' : `all ${count}`)
