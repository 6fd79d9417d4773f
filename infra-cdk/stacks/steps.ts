import type { Plan } from '../site/plan.ts'

export const stackNames = ['hardware', 'cluster', 'services'] as const
export type StackName = (typeof stackNames)[number]

/** One unit of work of a deploy: some playbooks on some hosts, repeated only when what they configure changed. */
export interface Step {
  /** `firewall-gw1`; unique in the site. */
  readonly name: string
  readonly stack: StackName
  readonly hosts: readonly string[]
  /** Files in `ansible/playbooks`, run in this order in one call. */
  readonly playbooks: readonly string[]
  /** Roles whose variables, files and code decide whether there is anything to do. */
  readonly roles: readonly string[]
  /** Whether it carries the services' code. */
  readonly release: boolean
  /** Steps of the same stack that come before. */
  readonly after: readonly string[]
}

/** Roles of a playbook that are not named like it. */
const rolesOfPlaybook: Readonly<Record<string, readonly string[]>> = {
  server: ['base', 'bond', 'network', 'raid1', 'logs', 'metrics', 'power', 'hardware'],
  services: ['node_service', 'postgres_client'],
  archive: ['postgres_client', 'archive'],
  cassandra_accounts: ['cassandra'],
}

/** Everything a deploy of the site does, in the order in which it may be done. */
export function stepsOf(plan: Plan): Step[] {
  return [...hardwareSteps(plan), ...clusterSteps(plan), ...servicesSteps(plan)]
}

const step = (
  stack: StackName,
  name: string,
  hosts: readonly string[],
  playbooks: readonly string[],
  after: readonly string[],
  release = false,
): Step => ({
  name,
  stack,
  hosts,
  playbooks,
  roles: playbooks.flatMap((playbook) => rolesOfPlaybook[playbook] ?? [playbook]),
  release,
  after,
})

/** One host after the other: the next one is left alone when a change fails on this one. */
const inTurn = (hosts: readonly string[], make: (host: string, before: string | undefined) => Step): Step[] =>
  hosts.map((host, index) => make(host, hosts[index - 1]))
const named = (kind: string, host: string | undefined) => (host === undefined ? [] : [`${kind}-${host}`])

/** What makes a machine that answers to SSH a server of the site: system, network, drives, filter. */
export function hardwareSteps({ servers }: Plan): Step[] {
  const filter = (hosts: readonly string[]) =>
    inTurn(hosts, (host, before) =>
      step('hardware', `firewall-${host}`, [host], ['firewall'], [`server-${host}`, ...named('firewall', before)]),
    )
  const names = (gateways: boolean) =>
    servers.filter(({ role }) => (role === 'gateway') === gateways).map(({ name }) => name)
  return [
    ...servers.map(({ name }) => step('hardware', `server-${name}`, [name], ['server'], [])),
    ...filter(names(true)),
    ...names(false).flatMap((name) => filter([name])),
  ]
}

/** Gateways' parts, then the cluster that moves them. */
export function clusterSteps({ servers, cluster }: Plan): Step[] {
  const gateways = servers.filter(({ role }) => role === 'gateway').map(({ name }) => name)
  return [
    ...inTurn(gateways, (host, before) =>
      step('cluster', `gateway-${host}`, [host], ['gateway'], named('gateway', before)),
    ),
    step(
      'cluster',
      'cluster',
      cluster.nodes.map(({ name }) => name),
      ['cluster'],
      gateways.map((host) => `gateway-${host}`),
    ),
  ]
}

/** Types whose processes are not ours. */
const stores = ['postgres', 'cassandra']

/** The database, the processes one server after the other, the archive, and the channels. */
export function servicesSteps({ servers, environment }: Plan): Step[] {
  const running = (keep: (type: string) => boolean) =>
    servers
      .map(({ name }) => name)
      .filter((name) => environment.instances.some(({ host, type }) => host === name && keep(type)))
  const databases = running((type) => type === 'postgres')
  const nodes = running((type) => type === 'cassandra')
  const processes = running((type) => !stores.includes(type))
  const archives = servers.filter(({ role }) => role === 'archive').map(({ name }) => name)
  const doors = processes.filter((host) => !archives.includes(host))
  const postgres = databases.map((host) => `postgres-${host}`)
  const accounts = nodes.length > 0 ? ['cassandra-accounts'] : []
  return [
    ...databases.map((host) => step('services', `postgres-${host}`, [host], ['postgres'], [])),
    ...inTurn(nodes, (host, before) =>
      step('services', `cassandra-${host}`, [host], ['cassandra'], named('cassandra', before)),
    ),
    ...accounts.map((name) =>
      step('services', name, nodes.slice(0, 1), ['cassandra_accounts'], named('cassandra', nodes.at(-1))),
    ),
    ...inTurn(doors, (host, before) =>
      step(
        'services',
        `services-${host}`,
        [host],
        ['services'],
        [...postgres, ...accounts, ...named('services', before)],
        true,
      ),
    ),
    // The archive node may be down for work: the servers do not wait for it.
    ...processes
      .filter((host) => archives.includes(host))
      .map((host) => step('services', `services-${host}`, [host], ['services'], [...postgres, ...accounts], true)),
    ...archives.map((host) => step('services', `archive-${host}`, [host], ['archive'], postgres)),
    // Asked by the machine that deploys, at the REST interface of the whole site.
    step(
      'services',
      'channels',
      [],
      ['channels'],
      doors.slice(-1).map((host) => `services-${host}`),
    ),
  ]
}
