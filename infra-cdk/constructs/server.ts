import { Construct } from 'constructs'
import { type Firmware, firmwares, type Role, roles } from '../site/plan.ts'
import { Bmc } from './bmc.ts'
import { BondedNic } from './bonded-nic.ts'
import { contains, parseCidr } from './ipv4.ts'
import type { Network, NetworkAddress } from './network.ts'
import { PowerSupply } from './power-supply.ts'
import type { Rack } from './rack.ts'
import { RaidMirror } from './raid-mirror.ts'
import { all, check } from './site.ts'
import { count } from './words.ts'

export interface ServerProps {
  readonly role: Role
  /** Lowest unit it takes, counted from the bottom. */
  readonly unit: number
  readonly height?: number
  /** As on the labels of its modules, GiB. */
  readonly memory_gb?: number
  /** Absent: `bios`. */
  readonly firmware?: Firmware
  /** False: the machine has no hardware watchdog. */
  readonly watchdog?: boolean
  readonly addresses: readonly NetworkAddress[]
  /** Account that Ansible logs in with; SSH to the address on `lan`. */
  readonly access?: { readonly user?: string; readonly port?: number }
}

const memory_gb_max = 24_576

/** A server. Its bond, mirror, BMC and power supplies are made in it. */
export class Server extends Construct {
  readonly name: string
  readonly rack: Rack
  readonly role: Role
  readonly unit: number
  readonly height: number
  readonly memory_gb: number | null
  readonly firmware: Firmware
  readonly watchdog: boolean
  readonly addresses: readonly NetworkAddress[]
  readonly access: { readonly user: string; readonly port: number }

  constructor(scope: Rack, name: string, props: ServerProps) {
    super(scope, name)
    if (!/^[a-z][a-z0-9-]{0,14}$/.test(name))
      throw new Error(`server "${name}": the name is its host name: lower-case letters, digits and -, at most 15`)
    if (!roles.includes(props.role))
      throw new Error(`server ${name}: there is no role "${props.role}"; the roles are ${roles.join(', ')}`)
    const { memory_gb = null, firmware = 'bios' } = props
    if (!firmwares.includes(firmware))
      throw new Error(`server ${name}: there is no firmware "${firmware}"; it is one of ${firmwares.join(', ')}`)
    if (memory_gb !== null && !(memory_gb > 0 && memory_gb <= memory_gb_max))
      throw new Error(`server ${name}: memory_gb ${memory_gb} is not between 0 and ${memory_gb_max}`)
    this.name = name
    this.memory_gb = memory_gb
    this.firmware = firmware
    this.watchdog = props.watchdog ?? true
    this.rack = scope
    this.role = props.role
    this.unit = props.unit
    this.height = props.height ?? 1
    this.addresses = props.addresses
    this.access = { user: props.access?.user ?? 'root', port: props.access?.port ?? 22 }
    check(this, () => this.#findings())
  }

  get bonds(): BondedNic[] {
    return all(this, BondedNic)
  }

  get mirrors(): RaidMirror[] {
    return all(this, RaidMirror)
  }

  get bmcs(): Bmc[] {
    return all(this, Bmc)
  }

  get supplies(): PowerSupply[] {
    return all(this, PowerSupply)
  }

  addressOn(network: Network | string): string | undefined {
    const name = typeof network === 'string' ? network : network.name
    return this.addresses.find((entry) => entry.network.name === name)?.address
  }

  /** Device that carries a network: the bond, the leg on the network's side, or a tagged device on it. */
  deviceOn(network: Network): { device: string; parent: string } {
    const [bond] = this.bonds
    if (!bond) throw new Error(`server ${this.name}: it has no bond`)
    const side = network.path === 'leg-a' ? 'a' : 'b'
    const parent = network.path === 'bond' ? bond.name : bond.legs.find(({ to }) => to.switch.side === side)?.nic
    if (parent === undefined)
      throw new Error(`server ${this.name}: no link goes to side ${side}, where network ${network.name} is`)
    return { device: network.vlan === null ? parent : `${parent}.${network.vlan}`, parent }
  }

  #findings(): string[] {
    const found: string[] = []
    const say = (text: string) => found.push(`server ${this.name}: ${text}`)
    const one = (what: string, n: number, remedy: string) => {
      if (n !== 1) say(n === 0 ? `it has no ${what}; ${remedy}` : `it has ${n} ${what}s, not one`)
    }
    one('bond', this.bonds.length, 'add a BondedNic with one leg to each switch')
    one('system mirror', this.mirrors.length, 'add a RaidMirror of its two system drives')
    one('BMC', this.bmcs.length, 'add a Bmc: without one the server cannot be fenced')
    const { supplies } = this
    if (supplies.length < 2)
      say(`it has ${count(supplies.length, 'power supply', 'power supplies')}; a server needs two, one on each feed`)
    else {
      const feeds = new Set(supplies.map(({ outlet }) => outlet.pdu.feed.name))
      if (feeds.size === 1)
        say(
          `${supplies.map(({ name }) => name).join(' and ')} are both on feed ${[...feeds][0]}; put each on a feed of its own`,
        )
    }
    for (const { outlet, name } of supplies)
      if (outlet.pdu.node.scope !== this.rack)
        say(`${name} is plugged into ${outlet.pdu.name}, which is in another rack than ${this.rack.name}`)
    if (this.addressOn('lan') === undefined) say('it has no address on network lan; the services speak over it')
    for (const { network, address } of this.addresses) {
      const cidr = parseCidr(network.cidr)
      if (cidr && !contains(cidr, address))
        say(`address ${address} is not in network ${network.name} (${network.cidr})`)
    }
    const [bond] = this.bonds
    for (const { network } of bond ? this.addresses : []) {
      const side = network.path === 'leg-a' ? 'a' : 'b'
      if (network.path !== 'bond' && !bond!.legs.some(({ to }) => to.switch.side === side))
        say(`no link goes to side ${side}, where network ${network.name} is`)
    }
    return found
  }
}
