import { gatewayResourceIds } from '../resources.ts'
import type { ProofInput, ServerInput } from './input.ts'

/** What can fail. The order is that of the picture. */
export const kinds = [
  'feed',
  'PDU',
  'supply',
  'switch',
  'trunk',
  'uplink',
  'cable',
  'NIC',
  'BMC',
  'BMC cable',
  'drive',
  'server',
  'resource',
  'process',
] as const
export type Kind = (typeof kinds)[number]

export interface Element {
  /** Unique: `supply gw1/psu1`. */
  readonly id: string
  readonly kind: Kind
  readonly name: string
  /** Of a resource: its id and node. */
  readonly resource?: { readonly id: string; readonly node: string }
}

/** Ids that the parts of a site have as elements. */
export const idOf = {
  feed: (name: string) => `feed ${name}`,
  pdu: (name: string) => `PDU ${name}`,
  supply: (owner: string, supply: string) => `supply ${owner}/${supply}`,
  switch: (name: string) => `switch ${name}`,
  trunk: (one: string, other: string) => `trunk ${[one, other].sort().join('–')}`,
  uplink: (provider: string) => `uplink ${provider}`,
  cable: (server: string, nic: string) => `cable ${server}/${nic}`,
  nic: (server: string, nic: string) => `NIC ${server}/${nic}`,
  bmc: (server: string) => `BMC ${server}`,
  bmcCable: (server: string, path: string) => `BMC cable ${server}/${path}`,
  drive: (server: string, bay: number) => `drive ${server}/${bay}`,
  server: (name: string) => `server ${name}`,
  resource: (resource: string, node: string) => `resource ${resource}@${node}`,
  process: (instance: string) => `process ${instance}`,
} as const

/** Every element of the site. `active`: the gateway that has the addresses when nothing has failed. */
export function elementsOf(input: ProofInput, active: string): Element[] {
  const switches = input.racks.flatMap((rack) => rack.switches)
  const trunks = switches.flatMap(({ name, trunks }) => trunks.map(({ to }) => idOf.trunk(name, to.switch)))
  const found = [
    ...input.feeds.map(({ name }) => idOf.feed(name)),
    ...input.racks.flatMap(({ pdus }) => pdus.map(({ name }) => idOf.pdu(name))),
    ...[...switches, ...input.servers].flatMap(({ name, power }) =>
      power.map(({ supply }) => idOf.supply(name, supply)),
    ),
    ...switches.map(({ name }) => idOf.switch(name)),
    ...new Set(trunks),
    ...input.networks.flatMap(({ uplinks }) => uplinks.map(({ provider }) => idOf.uplink(provider))),
    ...input.servers.flatMap(partsOf),
    ...input.environment.instances.map(({ instance }) => idOf.process(instance)),
  ].map((id): Element => {
    const kind = kinds.findLast((one) => id.startsWith(`${one} `))!
    return { id, kind, name: id.slice(kind.length + 1) }
  })
  const resources = input.cluster.nodes
    .filter(({ role }) => role === 'gateway')
    .flatMap(({ name: node }) => gatewayResourceIds(input, node === active).map((id) => ({ id, node })))
    .map((resource): Element => {
      const id = idOf.resource(resource.id, resource.node)
      return { id, kind: 'resource', name: `${resource.id} on ${resource.node}`, resource }
    })
  const order = new Map<string, number>(kinds.map((kind, index) => [kind, index]))
  return [...found, ...resources].sort((a, b) => order.get(a.kind)! - order.get(b.kind)!)
}

const partsOf = ({ name, nics, drives, bmc }: ServerInput): string[] => [
  ...nics.flatMap((nic) => [idOf.cable(name, nic.name), idOf.nic(name, nic.name)]),
  idOf.bmc(name),
  ...bmc.paths.map((path) => idOf.bmcCable(name, path.name)),
  ...drives.map(({ bay }) => idOf.drive(name, bay)),
  idOf.server(name),
]
