/** From a site's plan to what the laboratory builds: machines, legs, ports and bridges. Pure. */
import type { InterfacePlan, NetworkPlan, Plan, PortPlan, ServerPlan } from '#infra/site/plan.ts'
import { operator, outside } from './paths.ts'

/** A cable: one end in a machine, the other in a port of a switch. */
export interface Leg {
  /** NIC as the machine calls it: `eth0`. */
  readonly name: string
  readonly mac: string
  readonly port: PortPlan
}

/** A network device that a machine finds in itself. */
export interface Device {
  readonly name: string
  /** Tag on the cable; 0: untagged. */
  readonly vlan: number
  readonly mtu: number
  readonly mac: string
  /** Names of the legs below it. One: the device is that leg's own; two: one of them is active at a time. */
  readonly legs: readonly string[]
  /** Set from the start, for machines that are not ours to configure; servers get theirs by their roles. */
  readonly addresses: readonly string[]
}

/** Anything with cables: a server, a BMC, the world outside, the operator's desk. */
export interface Machine {
  readonly name: string
  readonly legs: readonly Leg[]
  readonly devices: readonly Device[]
  /** Routes as `ip route add` takes them. */
  readonly routes: readonly string[]
  /** How the bond notices a dead leg; ms. */
  readonly monitoring_ms: number
  readonly arp_targets: readonly string[]
}

export interface WiredServer {
  readonly plan: ServerPlan
  readonly machine: Machine
  readonly bmc: Machine
}

/** Two switches and the cable between them. */
export interface Trunk {
  readonly ends: readonly [PortPlan, PortPlan]
}

export interface Wiring {
  readonly site: string
  readonly servers: readonly WiredServer[]
  readonly outside: Machine
  readonly operator: Machine
  readonly switches: readonly { readonly name: string; readonly feeds: readonly string[] }[]
  readonly trunks: readonly Trunk[]
  readonly feeds: readonly string[]
  /** Tags on the switches, 0 for untagged, and their MTU. */
  readonly vlans: ReadonlyMap<number, number>
}

/** A frame of an 802.1Q network is as long as its MTU says; the cable itself takes the longest. */
const mii_default_ms = 100

const tag = (vlan: number | null) => vlan ?? 0

/** Kernel limit for the name of a network device. */
const device_name_max = 15

export function wiringOf(plan: Plan): Wiring {
  const network = (name: string): NetworkPlan => {
    const found = plan.networks.find((one) => one.name === name)
    if (!found) throw new Error(`site ${plan.site}: there is no network "${name}"`)
    return found
  }
  const switches = plan.racks.flatMap((rack) =>
    rack.switches.map(({ name, power }) => ({ name, feeds: [...new Set(power.map(({ feed }) => feed))] })),
  )
  const trunks = trunksOf(plan)
  const vlans = new Map<number, number>([[0, Math.max(1500, ...plan.networks.map(({ mtu }) => mtu))]])
  for (const { vlan, mtu } of plan.networks) if (vlan !== null) vlans.set(vlan, mtu)
  const servers = plan.servers.map((server) => ({
    plan: server,
    machine: serverMachine(server, vlans.get(0)!),
    bmc: bmcMachine(server, network),
  }))
  const wiring = {
    site: plan.site,
    servers,
    outside: outsideMachine(plan),
    operator: operatorMachine(plan),
    switches,
    trunks,
    feeds: plan.feeds.map(({ name }) => name),
    vlans,
  }
  check(wiring)
  return wiring
}

function serverMachine(server: ServerPlan, mtu_native: number): Machine {
  const { bond, interfaces } = server
  const legs = server.nics.map(({ name, mac, link }) => ({ name, mac, port: link }))
  const mac = legs.find(({ name }) => name === bond.primary)?.mac ?? legs[0]!.mac
  const device = (one: InterfacePlan): Device => {
    const leg = legs.find(({ name }) => name === one.parent)
    return {
      name: one.device,
      vlan: tag(one.vlan),
      mtu: one.mtu,
      mac: leg?.mac ?? mac,
      legs: leg ? [leg.name] : bond.members,
      addresses: [],
    }
  }
  // The bond is there even when all its networks are tagged, and so are its legs.
  const native = interfaces.find((one) => one.device === bond.name)
  const bare: Device = {
    name: bond.name,
    vlan: 0,
    mtu: native?.mtu ?? mtu_native,
    mac,
    legs: bond.members,
    addresses: [],
  }
  const rest = interfaces.filter((one) => one !== native).map(device)
  return {
    name: server.name,
    legs,
    devices: [bare, ...rest],
    routes: [],
    monitoring_ms: bond.monitoring.interval_ms,
    arp_targets: bond.monitoring.kind === 'arp' ? bond.monitoring.targets : [],
  }
}

function bmcMachine(server: ServerPlan, network: (name: string) => NetworkPlan): Machine {
  const { vlan, mtu, cidr } = network('bmc')
  const legs = server.bmc.paths.map((path, i) => ({
    name: `port${i}`,
    mac: derivedMac(`${server.name} bmc ${i}`),
    port: path.link,
  }))
  const devices = legs.map((leg, i) => ({
    name: tag(vlan) === 0 ? leg.name : `lan${i}`,
    vlan: tag(vlan),
    mtu,
    mac: leg.mac,
    legs: [leg.name],
    addresses: [`${server.bmc.paths[i]!.address}/${prefixOf(cidr)}`],
  }))
  return {
    name: `bmc-${server.name}`,
    legs,
    devices,
    routes: [],
    monitoring_ms: mii_default_ms,
    arp_targets: [],
  }
}

/** Addresses that devices come from; kept for documentation (RFC 5737), so nobody's. */
export const device_sources = '198.51.100.0/24'

/** The provider's routers, the devices and the clients: everything that reaches the site through its uplinks. */
function outsideMachine(plan: Plan): Machine {
  const legs: Leg[] = []
  const devices: Device[] = []
  for (const { name, uplinks, vlan, mtu, cidr, router } of plan.networks) {
    if (uplinks.length === 0) continue
    const own = uplinks.map((uplink) => ({
      name: `up${legs.length + uplinks.indexOf(uplink)}`,
      mac: derivedMac(`uplink ${uplink.switch} ${uplink.port}`),
      port: { switch: uplink.switch, port: uplink.port },
    }))
    legs.push(...own)
    devices.push({
      name: name.slice(0, device_name_max),
      vlan: tag(vlan),
      mtu,
      mac: own[0]!.mac,
      legs: own.map((leg) => leg.name),
      addresses: router === null ? [] : [`${router}/${prefixOf(cidr)}`],
    })
  }
  return {
    name: outside,
    legs,
    devices,
    routes: [`local ${device_sources} dev lo`],
    monitoring_ms: mii_default_ms,
    arp_targets: [],
  }
}

/** Where the operator sits in the network that servers are reached at: addresses that the site names as management's, else a free one. */
export function deskOf(plan: Plan): { network: NetworkPlan; addresses: string[] } {
  const access = plan.servers[0]
  const found = plan.networks.find(({ cidr }) => access && contains(cidr, access.access.address))
  if (!access || !found) throw new Error(`site ${plan.site}: no network contains the access address of its servers`)
  const named = plan.management.sources.filter((one) => one.endsWith('/32')).map((one) => one.slice(0, -3))
  const free = freeAddresses(plan, found)
  const inside = named.filter((one) => contains(found.cidr, one) && free(one))
  const addresses = inside.length > 0 ? inside : [...hostsDown(found.cidr)].filter(free).slice(0, 1)
  if (addresses.length === 0) throw new Error(`network ${found.name}: no address is free for the operator's desk`)
  return { network: found, addresses }
}

/** Whether the plan has given an address to nobody. */
export function freeAddresses(plan: Plan, network: NetworkPlan): (address: string) => boolean {
  const taken = new Set(
    plan.servers
      .flatMap((server) => [
        server.access.address,
        ...server.interfaces.map(({ address }) => address),
        ...server.bmc.paths.map(({ address }) => address),
      ])
      .concat(plan.virtual_addresses.map(({ address }) => address))
      .concat(network.router ?? []),
  )
  return (address) => !taken.has(address)
}

/** A desk with a cable to either switch of the first rack. */
function operatorMachine(plan: Plan): Machine {
  const { network: found, addresses } = deskOf(plan)
  const legs = plan.racks[0]!.switches.map(({ name, ports }, i) => ({
    name: `desk${i}`,
    mac: derivedMac(`desk ${name}`),
    // One more than the switch has: no plan can have taken it.
    port: { switch: name, port: ports + 1 },
  }))
  const device = {
    name: 'desk',
    vlan: tag(found.vlan),
    mtu: found.mtu,
    mac: legs[0]!.mac,
    legs: legs.map(({ name }) => name),
    addresses: [`${addresses[0]}/${prefixOf(found.cidr)}`],
  }
  return { name: operator, legs, devices: [device], routes: [], monitoring_ms: mii_default_ms, arp_targets: [] }
}

/** Cables between switches, each once. */
export function trunksOf(plan: Plan): Trunk[] {
  const seen = new Set<string>()
  const trunks: Trunk[] = []
  for (const { name, trunks: own } of plan.racks.flatMap((rack) => rack.switches)) {
    for (const { port, to } of own) {
      const ends = [{ switch: name, port }, to] as const
      const key = ends
        .map((end) => `${end.switch} ${end.port}`)
        .sort()
        .join(', ')
      if (!seen.has(key)) trunks.push({ ends })
      seen.add(key)
    }
  }
  return trunks
}

/** Refuses what the laboratory cannot build, by name. */
function check(wiring: Wiring): void {
  const group = new Map(wiring.switches.map(({ name }) => [name, name]))
  const top = (name: string): string => {
    const up = group.get(name)
    if (up === undefined) throw new Error(`a cable goes to switch "${name}", which no rack has`)
    return up === name ? name : top(up)
  }
  for (const { ends } of wiring.trunks) {
    const [one, other] = [top(ends[0].switch), top(ends[1].switch)]
    if (one === other)
      throw new Error(
        `the trunks of the switches close a loop at ${ends[0].switch} port ${ends[0].port}; the laboratory's switches speak no spanning tree`,
      )
    group.set(one, other)
  }
  const machines = machinesOf(wiring)
  const ports = new Map<string, string>()
  for (const machine of machines) {
    for (const { port } of machine.legs) {
      top(port.switch)
      const key = `${port.switch} port ${port.port}`
      const other = ports.get(key)
      if (other !== undefined) throw new Error(`${key} has two cables: ${other} and ${machine.name}`)
      ports.set(key, machine.name)
    }
    for (const device of machine.devices) {
      if (device.name.length > device_name_max)
        throw new Error(`${machine.name}: device "${device.name}" is longer than ${device_name_max} letters`)
      if (device.legs.length > 2 || device.legs.length === 0)
        throw new Error(
          `${machine.name}: ${device.name} has ${device.legs.length} legs; the laboratory emulates one or two`,
        )
    }
  }
  for (const { plan } of wiring.servers) {
    if (plan.bond.mode !== 'active-backup')
      throw new Error(
        `server ${plan.name}: the laboratory emulates a bond of mode active-backup, not ${plan.bond.mode}`,
      )
    if (plan.bond.managed || plan.raid.managed || plan.interfaces.some(({ managed }) => managed))
      throw new Error(
        `server ${plan.name}: a laboratory delivers bonds, mirrors and devices ready-made (managed: false)`,
      )
  }
}

export const machinesOf = (wiring: Wiring): Machine[] => [
  ...wiring.servers.flatMap(({ machine, bmc }) => [machine, bmc]),
  wiring.outside,
  wiring.operator,
]

/** What a machine calls the part of a device that runs on one leg: the leg's own name when untagged. */
export const memberName = (device: Device, leg: string): string =>
  device.legs.length === 1 && device.vlan !== 0 ? device.name : device.vlan === 0 ? leg : `${leg}.${device.vlan}`

/** What a switch calls its end of that. */
export const portName = (port: number, vlan: number): string => (vlan === 0 ? `p${port}` : `p${port}.${vlan}`)

/** A locally administered address, the same each time. FNV-1a over the seed. */
export function derivedMac(seed: string): string {
  let hash = 0x811c9dc5
  const bytes = [0x02]
  for (let i = 0; i < 5; i++) {
    for (const letter of `${seed}/${i}`) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193) >>> 0
    bytes.push(hash & 0xff)
  }
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

const number = (address: string) => address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
const dotted = (value: number) => [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.')
export const prefixOf = (cidr: string) => Number(cidr.split('/')[1])
/** `10.20.40.131/24` → `10.20.40.0/24` */
export const networkOf = (cidr: string) =>
  `${dotted(Math.floor(number(cidr.split('/')[0]!) / size(cidr)) * size(cidr))}/${prefixOf(cidr)}`
const size = (cidr: string) => 2 ** (32 - prefixOf(cidr))

function contains(cidr: string, address: string): boolean {
  const first = number(cidr.split('/')[0]!)
  return number(address) >= first && number(address) < first + size(cidr)
}

/** Host addresses of a network, the highest first. */
export function* hostsDown(cidr: string): Generator<string> {
  const first = number(cidr.split('/')[0]!)
  for (let i = size(cidr) - 2; i > 0; i--) yield dotted(first + i)
}
