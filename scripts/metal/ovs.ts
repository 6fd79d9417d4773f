/** The switches as commands of Open vSwitch. Pure. */
import { type Port, portsOf, type Topology } from './topology.ts'

/** 802.1D: the lowest priority becomes the root of the spanning tree; steps of 4096. */
const priority_step = 4_096
/** Hello every second, and the shortest times that go with it. */
const spanning_tree = { 'rstp-hello-time': 1, 'rstp-forward-delay': 4, 'rstp-max-age': 6 }

const settings = (column: string, values: Readonly<Record<string, string | number>>) =>
  Object.entries(values).map(([key, value]) => `${column}:${key}=${value}`)

/** Frames without a tag belong to one network, tagged ones to those of a list. */
const networks = ({ untagged, tagged }: Pick<Port, 'untagged' | 'tagged'>): string[] =>
  tagged.length === 0
    ? ['vlan_mode=access', `tag=${untagged}`]
    : ['vlan_mode=native-untagged', `tag=${untagged}`, `trunks=${[untagged, ...tagged].join(',')}`]

/** Device in a place's own switch that leads to one of its network devices. */
export const placePort = (bridge: string, device: string) => `${bridge}-${device}`.slice(0, 15)
/** Device in a place's own switch at the other end of a leg. */
export const placeLeg = (bridge: string, leg: number) => `${bridge}.leg${leg}`

/** Arguments of one `ovs-vsctl` that makes all switches and their ports. */
export function switchCommands(topology: Topology): string[] {
  const { plan, places } = topology
  const words: string[] = []
  const add = (...command: string[]) => words.push('--', ...command)
  const switches = plan.racks.flatMap((rack) => rack.switches)
  // Racks in order, side a before side b: the root is where the first provider comes in.
  const sides = switches.toSorted((one, other) => one.side.localeCompare(other.side))
  for (const { name } of switches) {
    add('add-br', name)
    add('set', 'bridge', name, 'datapath_type=netdev', 'rstp_enable=true')
    const priority = (1 + sides.findIndex((one) => one.name === name)) * priority_step
    add('set', 'bridge', name, ...settings('other_config', { ...spanning_tree, 'rstp-priority': priority }))
  }
  for (const port of portsOf(topology)) {
    add('add-port', port.at.switch, port.device, ...networks(port))
    // A trunk is looked at by the spanning tree; all else is an edge.
    const edge = port.kind === 'trunk' ? 'false' : 'true'
    add(
      'set',
      'port',
      port.device,
      ...settings('other_config', { 'rstp-port-admin-edge': edge, 'rstp-port-auto-edge': 'false' }),
    )
    add('set', 'interface', port.device, `ofport_request=${port.at.port}`)
  }
  for (const { bridge, legs, devices } of places) {
    add('add-br', bridge)
    add('set', 'bridge', bridge, 'datapath_type=netdev')
    const names = legs.map((_, i) => placeLeg(bridge, i))
    if (names.length > 1) {
      add('add-bond', bridge, `${bridge}-bond`, ...names, 'bond_mode=active-backup', ...networks(legs[0]!))
      add('set', 'port', `${bridge}-bond`, ...settings('other_config', { 'bond-primary': names[0]! }))
    } else add('add-port', bridge, names[0]!, ...networks(legs[0]!))
    for (const { name, network } of devices) add('add-port', bridge, placePort(bridge, name), `tag=${network}`)
  }
  return words.slice(1)
}

/** One learned address of a switch. */
export interface Learned {
  /** Number of the port. */
  readonly port: number
  readonly network: number
  readonly mac: string
  readonly age_s: number
}

/** Reads what `ovs-appctl fdb/show SWITCH` prints. */
export const learnedOf = (text: string): Learned[] =>
  [...text.matchAll(/^\s*(\d+)\s+(\d+)\s+([0-9a-f:]{17})\s+(\d+)\s*$/gm)].map(([, port, network, mac, age]) => ({
    port: Number(port),
    network: Number(network),
    mac: mac!,
    age_s: Number(age),
  }))
