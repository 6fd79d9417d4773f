import { offsets } from '#services/admin/types.ts'
import {
  type Cluster,
  Environment,
  ProcessGroup,
  PublishedService,
  Server,
  VirtualAddress,
} from '../constructs/index.ts'
import { all, type Site } from '../constructs/site.ts'
import type { CassandraPlan, EnvironmentPlan, SecretPlan } from './plan.ts'

/** The processes of a site, where each runs, and how they find each other. */
export function environmentPlan(site: Site): EnvironmentPlan {
  const environment = all(site, Environment)[0]!
  const groups = all(environment, ProcessGroup)
  const group = (type: string) => groups.find((other) => other.type === type)
  const internal = all(site, VirtualAddress).find(({ purpose }) => purpose === 'internal')
  const published = all(site, PublishedService)

  /** Address and port under which others find a type: the internal virtual address where it is distributed, else its one instance. */
  function find(type: string): string {
    const target = group(type)
    const [instance] = target?.instances() ?? []
    if (!target || !instance) return ''
    const inside = published.some(({ props }) => props.target === target && internal && props.on.includes(internal))
    return `${inside ? internal!.address : instance.server.addressOn('lan')}:${instance.port}`
  }
  const http = (at: string) => (at === '' ? '' : `http://${at}`)
  const postgres = group('postgres')?.instances()[0]
  const cassandra = group('cassandra')

  return {
    name: environment.name,
    base_port: environment.basePort,
    instances: groups.flatMap((processes) =>
      processes.instances().map(({ instance, server, port }) => ({
        type: processes.type,
        instance,
        host: server.name,
        address: server.addressOn('lan')!,
        port,
        // What holds the pages is one of the site's choices; a process is told by its options.
        options:
          processes.type === 'mdb' && cassandra ? { store: 'cassandra', ...processes.options } : processes.options,
        limits: processes.limits,
      })),
    ),
    urls: {
      prod: http(find('prod')),
      tgctl: http(find('tgctl')),
      mdb: http(find('mdb')),
      admin: http(find('admin')),
      mbus: `mqtt://${find('mbus')}`,
      tg: (group('tg')?.instances() ?? []).map(({ server, port }) => `http://${server.addressOn('lan')}:${port}`),
      ...(group('archive') ? { archive: http(find('archive')) } : {}),
    },
    postgres: {
      host: postgres?.server.addressOn('lan') ?? '',
      port: postgres?.port ?? 0,
      database: 'milepost',
      user: 'milepost',
      secret: 'services/postgres',
    },
    ...(cassandra ? { cassandra: cassandraPlan(cassandra, site.name) } : {}),
    device_ports: environment.devicePorts,
    channels: environment.channels,
  }
}

function cassandraPlan(group: ProcessGroup, site: string): CassandraPlan {
  return {
    nodes: group.instances().map(({ server }) => ({
      host: server.name,
      address: server.addressOn('lan')!,
      rack: server.rack.name,
      memory_mb: group.limits.memory_mb,
    })),
    datacenter: site,
    port: group.port(0),
    nodes_port: group.environment.basePort + offsets.cassandra_nodes,
    keyspace: 'mdb',
    user: 'mdb',
    secret: 'services/cassandra',
    operator_secret: 'cassandra/operator',
  }
}

/** IPMI takes at most 20 bytes. */
const bmc_password_length = 16
/** What corosync-keygen makes. */
const authkey_length = 256
const token_length = 32

/** Every secret a deploy needs, by name. */
export function secretsPlan(site: Site, cluster: Cluster): SecretPlan[] {
  const servers = all(site, Server)
  const members = cluster.props.members.map(({ name }) => name)
  const running = new Set(all(site, ProcessGroup).flatMap((group) => group.servers))
  const workers = servers.filter((server) => server.role === 'server' || running.has(server)).map(({ name }) => name)
  const generated = { origin: 'generated' } as const
  const cassandra = all(site, ProcessGroup).find(({ type }) => type === 'cassandra')
  const nodes = cassandra?.servers.map(({ name }) => name) ?? []
  const password = { kind: 'password', length: token_length, ...generated } as const
  return [
    { name: 'access/ssh-key', kind: 'ssh-key', length: 0, ...generated, hosts: [] },
    { name: 'cluster/authkey', kind: 'bytes', length: authkey_length, ...generated, hosts: members },
    ...servers.map(
      ({ name, bmcs }): SecretPlan => ({
        name: `bmc/${name}`,
        kind: 'password',
        length: bmc_password_length,
        origin: bmcs[0]!.password,
        hosts: members,
      }),
    ),
    // With it a server tells of its own hardware on MBUS, and can do nothing else.
    ...servers.map(
      ({ name }): SecretPlan => ({
        name: `mbus/${name}`,
        kind: 'token',
        length: token_length,
        ...generated,
        hosts: [name],
      }),
    ),
    { name: 'services/internal-token', kind: 'token', length: token_length, ...generated, hosts: workers },
    { name: 'services/admin-token', kind: 'token', length: token_length, ...generated, hosts: [] },
    { name: 'services/postgres', kind: 'password', length: token_length, ...generated, hosts: workers },
    ...(cassandra
      ? [
          { name: 'services/cassandra', ...password, hosts: [...new Set([...workers, ...nodes])] },
          { name: 'cassandra/operator', ...password, hosts: nodes },
        ]
      : []),
  ]
}
