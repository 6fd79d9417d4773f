/** From a site's plan to the switches' ports and what hangs on them. Pure. */
import type { NetworkPlan, Plan, PortPlan, ServerPlan } from '#infra/site/plan.ts'
import { derivedMac, deskOf, device_sources, freeAddresses, hostsDown, prefixOf, trunksOf } from '../lab/wiring.ts'
import { operator, outside } from './ground.ts'

/** A port of a switch with its cable. */
export interface Port {
  /** The device that is the port where the switches run: `r1-sw-a.3`. */
  readonly device: string
  readonly at: PortPlan
  /** Name of the cable among the parts: `srv1/eth0`. */
  readonly part: string
  readonly kind: 'nic' | 'bmc' | 'trunk' | 'uplink' | 'desk'
  /** Network of frames without a tag, by its number inside the switch. */
  readonly untagged: number
  /** Networks of frames with a tag. */
  readonly tagged: readonly number[]
}

/** A network device of a machine that is a namespace. */
export interface Device {
  readonly name: string
  readonly mac: string
  readonly network: number
  readonly mtu: number
  /** `10.20.10.250/24` */
  readonly addresses: readonly string[]
}

/** A place with a bond of its own: the operator's desk, the world outside. */
export interface Place {
  readonly name: string
  /** Its own small switch, which does the bonding. */
  readonly bridge: string
  readonly legs: readonly Port[]
  readonly devices: readonly Device[]
  /** Routes as `ip route add` takes them. */
  readonly routes: readonly string[]
}

export interface WiredServer {
  readonly plan: ServerPlan
  /** In the order of `plan.nics`. */
  readonly nics: readonly Port[]
  /** In the order of `plan.bmc.paths`. */
  readonly bmc: readonly { readonly port: Port; readonly device: Device }[]
}

export interface Topology {
  readonly plan: Plan
  readonly servers: readonly WiredServer[]
  readonly trunks: readonly (readonly [Port, Port])[]
  readonly places: readonly Place[]
  /** What the longest frame carries. */
  readonly mtu: number
}

/** Kernel limit for the name of a network device. */
const device_name_max = 15
/** Numbers of networks in a switch; 802.1Q. */
const vlan_max = 4_094

export function topologyOf(plan: Plan): Topology {
  const tags = plan.networks.map(({ vlan }) => vlan).filter((vlan) => vlan !== null)
  // Frames without a tag belong to a network with a number of its own inside the switches.
  const native = [1, vlan_max].find((vlan) => !tags.includes(vlan))!
  const numberOf = (network: NetworkPlan) => network.vlan ?? native
  const network = (name: string) => {
    const found = plan.networks.find((one) => one.name === name)
    if (!found) throw new Error(`site ${plan.site}: there is no network "${name}"`)
    return found
  }
  const switches = plan.racks.flatMap((rack) => rack.switches)
  const long = switches.some(({ name, ports }) => `${name}.${ports + 1}`.length > device_name_max)
  const port = (at: PortPlan, part: string, kind: Port['kind'], untagged: number, tagged: readonly number[] = []) => {
    const index = switches.findIndex(({ name }) => name === at.switch)
    if (index < 0) throw new Error(`${part}: its cable goes to switch "${at.switch}", which no rack has`)
    return { device: `${long ? `sw${index}` : at.switch}.${at.port}`, at, part, kind, untagged, tagged }
  }
  const servers = plan.servers.map((server): WiredServer => {
    const bmc = network('bmc')
    return {
      plan: server,
      nics: server.nics.map(({ name, link }) =>
        port(link, `${server.name}/${name}`, 'nic', native, tagsOn(server, name)),
      ),
      bmc: server.bmc.paths.map(({ address, link, name }, i) => ({
        port: port(link, `${server.name}/bmc-${name}`, 'bmc', numberOf(bmc)),
        device: {
          name: `bmc${i}`,
          mac: derivedMac(`${server.name} bmc ${i}`),
          network: numberOf(bmc),
          mtu: bmc.mtu,
          addresses: [`${address}/${prefixOf(bmc.cidr)}`],
        },
      })),
    }
  })
  const trunks = trunksOf(plan).map(({ ends: [one, other] }) => {
    const part = `${one.switch}/${other.switch}`
    return [port(one, part, 'trunk', native, tags), port(other, part, 'trunk', native, tags)] as const
  })
  const topology = {
    plan,
    servers,
    trunks,
    places: [deskPlace(), ...outsidePlaces()],
    mtu: Math.max(...plan.networks.map(({ mtu }) => mtu)),
  }
  check(topology)
  return topology

  function deskPlace(): Place {
    const desk = deskOf(plan)
    const bmc = network('bmc')
    const free = freeAddresses(plan, bmc)
    const address = [...hostsDown(bmc.cidr)].find(free)
    if (address === undefined) throw new Error(`network ${bmc.name}: no address is free for the operator's desk`)
    const device = (of: NetworkPlan, addresses: readonly string[]): Device => ({
      name: of.name,
      mac: derivedMac(`desk ${of.name}`),
      network: numberOf(of),
      mtu: of.mtu,
      addresses: addresses.map((one) => `${one}/${prefixOf(of.cidr)}`),
    })
    // One more than the switch has: no plan can have taken it.
    const legs = plan.racks[0]!.switches.map(({ name, ports }, i) =>
      port({ switch: name, port: ports + 1 }, `${operator}/desk${i}`, 'desk', numberOf(desk.network), [numberOf(bmc)]),
    )
    const devices = [device(desk.network, desk.addresses), ...(bmc === desk.network ? [] : [device(bmc, [address])])]
    return { name: operator, bridge: 'desk', legs, devices, routes: [] }
  }

  /** The providers' routers, the devices and the clients, a network each. */
  function outsidePlaces(): Place[] {
    return plan.networks
      .filter(({ uplinks }) => uplinks.length > 0)
      .map((one, i): Place => {
        const device: Device = {
          name: one.name.slice(0, device_name_max),
          mac: derivedMac(`outside ${one.name}`),
          network: numberOf(one),
          mtu: one.mtu,
          addresses: one.router === null ? [] : [`${one.router}/${prefixOf(one.cidr)}`],
        }
        const legs = one.uplinks.map((uplink, k) =>
          port(uplink, `${outside}/${i === 0 ? '' : `${one.name}-`}up${k}`, 'uplink', numberOf(one)),
        )
        const routes = i === 0 ? [`local ${device_sources} dev lo`] : []
        return { name: outside, bridge: `outside${i}`, legs, devices: [device], routes }
      })
  }
}

/** Tags on the cable of a NIC: those of the bond on every one, those of a NIC on its own. */
const tagsOn = (server: ServerPlan, nic: string): number[] =>
  server.interfaces
    .filter(({ parent, vlan }) => vlan !== null && (parent === server.bond.name || parent === nic))
    .map(({ vlan }) => vlan!)

export const portsOf = ({ servers, trunks, places }: Topology): Port[] => [
  ...servers.flatMap(({ nics, bmc }) => [...nics, ...bmc.map(({ port }) => port)]),
  ...trunks.flat(),
  ...places.flatMap(({ legs }) => legs),
]

/** Refuses what cannot be built, by name. */
function check(topology: Topology): void {
  const { plan } = topology
  const taken = new Map<string, string>()
  for (const { device, part } of portsOf(topology)) {
    const other = taken.get(device)
    if (other !== undefined) throw new Error(`port ${device} has two cables: ${other} and ${part}`)
    taken.set(device, part)
  }
  for (const { name, bond, raid } of plan.servers) {
    if (bond.mode !== 'active-backup')
      throw new Error(`server ${name}: its bond is ${bond.mode}; the emulated switches do active-backup alone`)
    if (!bond.managed || !raid.managed)
      throw new Error(
        `site ${plan.site}: server ${name} has its bond or mirror delivered ready-made; that is a laboratory's (npm run lab)`,
      )
  }
}
