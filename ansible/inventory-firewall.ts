/** What a host other than a gateway accepts: everything else is dropped. Follows from who talks to whom in the plan. */
import type { Plan, PortRange, ServerPlan } from '#infra/site/plan.ts'
import { addressOn } from './inventory.ts'
import { probePort } from './inventory-services.ts'

export interface Accepted {
  readonly name: string
  readonly protocol: 'tcp' | 'udp'
  readonly first: number
  readonly last: number
  /** Device it comes in on; null: any. */
  readonly device: string | null
  /** Addresses or networks it comes from; empty: any. */
  readonly sources: readonly string[]
}

/** Corosync's port of link 0; link n takes the n-th after it. */
const corosync_port = 5_405

export function accepted(plan: Plan, server: ServerPlan): Accepted[] {
  return [
    ...management(plan),
    ...corosync(plan, server),
    ...processes(plan, server),
    ...cassandra(plan, server),
    ...journals(plan, server),
  ]
}

const port = (number: number): PortRange => ({ first: number, last: number })
const deviceOn = ({ interfaces }: ServerPlan, network: string) =>
  interfaces.find((other) => other.network === network)?.device ?? null
const lanOf = (servers: readonly ServerPlan[]) => servers.flatMap((server) => addressOn(server, 'lan') ?? [])

function management({ management: { sources, ssh_port }, host }: Plan): Accepted[] {
  const rule = { protocol: 'tcp', device: null, sources } as const
  return [
    { name: 'ssh', ...rule, ...port(ssh_port) },
    { name: 'metrics', ...rule, ...port(host.metrics.port) },
  ]
}

function corosync({ cluster }: Plan, { name, interfaces }: ServerPlan): Accepted[] {
  if (!cluster.nodes.some((node) => node.name === name)) return []
  return cluster.links.map((network, index) => ({
    name: `corosync link ${index}`,
    protocol: 'udp',
    ...port(corosync_port + index),
    device: interfaces.find((other) => other.network === network)?.device ?? null,
    sources: cluster.nodes.filter((node) => node.name !== name).flatMap(({ addresses }) => addresses[index] ?? []),
  }))
}

/** A published port keeps its client's address on the way through the gateway, so it takes any; the others are for servers alone. */
function processes(plan: Plan, server: ServerPlan): Accepted[] {
  const { environment, distribution, servers } = plan
  const device = deviceOn(server, 'lan')
  const published = distribution.services
    .filter(({ targets }) => targets.some(({ host }) => host === server.name))
    .flatMap(({ name, protocols, ports }) =>
      protocols.map((protocol): Accepted => ({ name, protocol, ...ports, device, sources: [] })),
    )
  const open = (number: number) => published.some(({ first, last }) => first <= number && number <= last)
  const inside = environment.instances
    .filter(({ host }) => host === server.name)
    .flatMap((instance) =>
      [...new Set([instance.port, probePort(plan, instance)])]
        .filter((number) => !open(number))
        .map(
          (number): Accepted => ({
            name: instance.instance,
            protocol: 'tcp',
            ...port(number),
            device,
            sources: lanOf(servers),
          }),
        ),
    )
  return [...published, ...inside]
}

/** Nodes of Cassandra hear each other, and nobody else them; their clients' port is one of the processes'. */
function cassandra({ environment }: Plan, server: ServerPlan): Accepted[] {
  const { nodes = [], nodes_port } = environment.cassandra ?? {}
  if (nodes_port === undefined || !nodes.some(({ host }) => host === server.name)) return []
  const sources = nodes.filter(({ host }) => host !== server.name).map(({ address }) => address)
  return [{ name: 'cassandra nodes', protocol: 'tcp', ...port(nodes_port), device: deviceOn(server, 'lan'), sources }]
}

/** Port of systemd-journal-remote on the archive node. */
export const journal_port = 19_532

function journals({ servers }: Plan, server: ServerPlan): Accepted[] {
  if (server.role !== 'archive') return []
  const sources = lanOf(servers.filter(({ name }) => name !== server.name))
  return [{ name: 'journals', protocol: 'tcp', ...port(journal_port), device: deviceOn(server, 'lan'), sources }]
}
