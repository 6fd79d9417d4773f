/**
 * The inventory of a site: what each role is told, made from the plan alone. Pure: the same plan gives the same bytes.
 * Paths in it are relative to the inventory or variables of the playbooks; no secret is in it, only names of secrets.
 */
import type { Plan, ServerPlan } from '#infra/site/plan.ts'
import { libraryRelease } from './cassandra/jars.ts'
import { accepted } from './inventory-firewall.ts'
import { hardwareVariables, pathName } from './inventory-hardware.ts'
import { instancesOn, stores } from './inventory-services.ts'

type Variables = Record<string, unknown>

/** Groups of a role's name; `services` and `postgres` follow from the instances. */
const groupOf = { gateway: 'gateways', archive: 'archives', server: 'servers' } as const

/** Files of the inventory by path: `inventory.yml`, `group_vars/all.yml`, `host_vars/NAME.yml`. All are JSON, which is YAML. */
export function inventoryOf(plan: Plan): Record<string, string> {
  const files: Record<string, string> = {
    'inventory.yml': text(groups(plan)),
    'group_vars/all.yml': text(siteVariables(plan)),
  }
  for (const server of plan.servers) files[`host_vars/${server.name}.yml`] = text(hostVariables(plan, server))
  return files
}

/** Every variable of a host, those of the site included. A variable belongs to the role whose name it begins with. */
export const variablesOf = (plan: Plan, server: ServerPlan): Variables => ({
  ...siteVariables(plan),
  ...hostVariables(plan, server),
})

const text = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`

function groups(plan: Plan): unknown {
  const named = (names: readonly string[]) => ({ hosts: Object.fromEntries(names.map((name) => [name, {}])) })
  const { instances } = plan.environment
  const on = (wanted: (type: string) => boolean) =>
    plan.servers
      .filter(({ name }) => instances.some(({ host, type }) => host === name && wanted(type)))
      .map(({ name }) => name)
  const roles = Object.entries(groupOf).map(([role, group]) => [
    group,
    named(plan.servers.filter((server) => server.role === role).map(({ name }) => name)),
  ])
  return {
    all: {
      children: {
        ...Object.fromEntries(roles),
        cluster: named(plan.cluster.nodes.map(({ name }) => name)),
        services: named(on((type) => !stores.includes(type))),
        postgres: named(on((type) => type === 'postgres')),
        ...(plan.environment.cassandra ? { cassandra: named(on((type) => type === 'cassandra')) } : {}),
      },
    },
  }
}

/** What is the same on every host. */
function siteVariables(plan: Plan): Variables {
  const { host, environment, management } = plan
  const lan = plan.networks.find(({ name }) => name === 'lan')!
  return {
    milepost_site: plan.site,
    // Folders on the machine that deploys; the inventory lies in .milepost/sites/SITE/rendered.
    milepost_files: '{{ inventory_dir }}/files/{{ inventory_hostname }}',
    milepost_secrets: '{{ inventory_dir }}/../secrets',
    milepost_releases: '{{ inventory_dir }}/../../../releases',
    // Connections are shared by later tasks; not with another site or checkout that has the same addresses.
    ansible_control_path_dir: "~/.ansible/milepost-{{ (inventory_dir | hash('sha1'))[:8] }}",
    ansible_ssh_private_key_file: '{{ milepost_secrets }}/{{ milepost_access_secret }}',
    base_hosts: plan.servers.map(({ name, fqdn, interfaces }) => ({
      name,
      fqdn,
      address: interfaces.find(({ network }) => network === 'lan')?.address,
    })),
    base_timezone: host.timezone,
    base_ntp: host.ntp,
    base_dns: host.dns,
    base_domain: plan.domain,
    base_users: host.users,
    base_ssh_port: management.ssh_port,
    logs_keep_days: host.log.keep_days,
    logs_size_mb_max: host.log.size_mb_max,
    logs_collectors: plan.servers.filter(({ role }) => role === 'archive').map((server) => addressOn(server, 'lan')),
    metrics_port: host.metrics.port,
    metrics_interval_s: host.metrics.interval_s,
    ...(host.patience === undefined ? {} : { milepost_patience: host.patience }),
    node_service_environment: environment.name,
    node_service_urls: environment.urls,
    node_service_postgres: environment.postgres,
    channels_rest: environment.urls.prod,
    channels_wanted: environment.channels,
    postgres_port: environment.postgres.port,
    postgres_database: environment.postgres.database,
    postgres_user: environment.postgres.user,
    postgres_secret: environment.postgres.secret,
    postgres_clients: [lan.cidr],
    ...cassandraVariables(plan),
    cluster_name: plan.cluster.name,
    cluster_nodes: plan.cluster.nodes.map(({ name }) => name),
    cluster_secret: plan.cluster.totem.secret,
    cluster_fencing_secrets: [...new Set(plan.cluster.fencing.devices.map(({ secret }) => secret))],
  }
}

function hostVariables(plan: Plan, server: ServerPlan): Variables {
  const { name, fqdn, access, bond, raid, drives, power, bmc } = server
  const lan = addressOn(server, 'lan')
  const instances = instancesOn(plan, name)
  const database = plan.environment.instances.find(({ host, type }) => host === name && type === 'postgres')
  const node = plan.environment.cassandra?.nodes.find(({ host }) => host === name)
  return {
    ansible_host: access.address,
    ansible_port: access.port,
    ansible_user: access.user,
    ansible_become: access.user !== 'root',
    milepost_access_secret: access.secret,
    milepost_secrets_of_host: plan.secrets.filter(({ hosts }) => hosts.includes(name)).map((secret) => secret.name),
    base_hostname: name,
    base_fqdn: fqdn,
    network_devices: devices(plan, server),
    bond_managed: bond.managed,
    bond_name: bond.name,
    bond_mode: bond.mode,
    bond_primary: bond.primary,
    bond_monitoring: bond.monitoring,
    bond_mtu: Math.max(...server.interfaces.filter(({ parent }) => parent === bond.name).map(({ mtu }) => mtu)),
    bond_members: server.nics
      .filter((nic) => bond.members.includes(nic.name))
      .map(({ name: nic, mac }) => ({ name: nic, mac, vlans: vlansOn(server, nic) })),
    raid1_managed: raid.managed,
    raid1_name: raid.name,
    raid1_drives: drives,
    power_supplies: power.map(({ supply, feed }) => ({ supply, feed })),
    power_bmc: {
      user: bmc.user,
      secret: bmc.secret,
      paths: bmc.paths.map(({ address, port }, index) => ({ part: pathName(index), address, port })),
    },
    ...hardwareVariables(plan, server),
    ...(server.role === 'gateway' ? {} : { firewall_accept: accepted(plan, server) }),
    metrics_address: lan,
    logs_address: lan,
    // On the archive node Pacemaker starts them, when the servers are gone; not the archive itself, which always runs.
    ...(instances.length > 0
      ? { node_service_instances: instances, node_service_started: server.role !== 'archive' }
      : {}),
    ...(database ? { postgres_address: database.address, postgres_memory_mb: database.limits.memory_mb } : {}),
    ...(server.role === 'gateway' ? gatewayVariables(plan) : {}),
    ...(node ? { cassandra_address: node.address, cassandra_memory_mb: node.memory_mb } : {}),
  }
}

/** What all nodes and MDB are told of the store; nothing where MDB keeps its pages itself. */
function cassandraVariables({ environment: { cassandra } }: Plan): Variables {
  if (!cassandra) return {}
  const { nodes, datacenter, port, keyspace, user, secret, operator_secret } = cassandra
  const contact_points = nodes.map(({ address }) => address)
  return {
    node_service_cassandra: { contact_points, port, datacenter, keyspace, user, secret },
    cassandra_release: libraryRelease(),
    cassandra_nodes: contact_points,
    cassandra_datacenter: datacenter,
    cassandra_port: port,
    cassandra_keyspace: keyspace,
    cassandra_user: user,
    cassandra_secret: secret,
    cassandra_operator_secret: operator_secret,
  }
}

function gatewayVariables(plan: Plan): Variables {
  const { firewall } = plan
  return {
    // Its filter is more than a host's: it is rendered from the plan as a whole.
    firewall_file: '{{ milepost_files }}/firewall/filter.nft',
    gateway_conntrack_max: firewall.conntrack_max,
    gateway_half_open_timeout_s: firewall.half_open_timeout_s,
  }
}

/** Devices with an address and those they stand on. What a managed bond's members carry is written with the bond. */
function devices(plan: Plan, server: ServerPlan): unknown[] {
  const { interfaces, bond, default_gateway } = server
  const router = plan.networks.find((network) => network.router !== null && network.router === default_gateway)
  const way = router?.name ?? plan.virtual_addresses.find(({ address }) => address === default_gateway)?.network
  const ofBond = (device: string) => bond.managed && bond.members.includes(device)
  // A device that only carries ready-made ones is nobody's to configure: it may be a port of something.
  const names = [...new Set(interfaces.flatMap(({ device, parent }) => [device, parent]))].filter(
    (name) => !ofBond(name) && (interfaces.some(({ device }) => device === name) || vlansOn(server, name).length > 0),
  )
  return names.map((device) => {
    const own = interfaces.filter((other) => other.device === device)
    return {
      device,
      mtu: own[0]?.mtu ?? null,
      addresses: own.map(({ address, prefix }) => `${address}/${prefix}`),
      gateway: own.some(({ network }) => network === way) ? default_gateway : null,
      vlans: vlansOn(server, device),
      vlan: own.find(({ parent, managed }) => managed && parent !== device)?.vlan ?? null,
    }
  })
}

/** Tagged devices of ours that stand on a device. */
const vlansOn = (server: ServerPlan, parent: string) =>
  server.interfaces.filter((i) => i.managed && i.vlan !== null && i.parent === parent).map(({ device }) => device)

export const addressOn = (server: ServerPlan, network: string) =>
  server.interfaces.find((other) => other.network === network)?.address
