/**
 * Plan → the variables of the Ansible roles. A variable belongs to the role whose name it begins with, so that the
 * hash over a role's variables says whether there is anything for that role to do on a host.
 * Rendered files of a host are in `site_files`, secrets in `site_secrets` (both on the machine that runs Ansible).
 */
import { stringify as yaml } from 'yaml'
import type * as P from '../site/plan.ts'
import { distributeTable } from './nftables.ts'

/** What every role may read. */
export interface SiteVariables {
  readonly site_name: string
  readonly site_domain: string
  /** Folder of the host's rendered files: `{{ site_files }}/nftables/filter.nft`. */
  readonly site_files: string
  /** Folder of the secrets, by their names in the plan; files of mode 0600. */
  readonly site_secrets: string
  /** Folder of the release to run: the code, and the exact versions of its libraries. */
  readonly site_release: string
}

/** role `base`: what is the same on every server. */
export interface BaseVariables {
  readonly base_hostname: string
  readonly base_fqdn: string
  /** Lines of /etc/hosts. */
  readonly base_hosts: readonly { readonly address: string; readonly names: readonly string[] }[]
  readonly base_timezone: string
  readonly base_ntp_servers: readonly string[]
  readonly base_dns_servers: readonly string[]
  readonly base_users: P.HostSettingsPlan['users']
  readonly base_ssh_port: number
  readonly base_management_sources: readonly string[]
  readonly base_log_keep_days: number
  readonly base_log_size_mb_max: number
}

/** role `network`: bond, tagged devices, addresses, routes (systemd-networkd). */
export interface NetworkVariables {
  readonly network_nics: readonly { readonly name: string; readonly mac: string }[]
  readonly network_bond: P.BondPlan
  readonly network_interfaces: readonly P.InterfacePlan[]
  readonly network_default_gateway: string | null
}

/** role `raid`: the mirror of the system drives, watched and mended. */
export interface RaidVariables {
  readonly raid_device: string
  readonly raid_managed: boolean
  readonly raid_drives: readonly P.DrivePlan[]
}

/** role `bmc`: account and address of the management controller. `bmc_secret` names the password's file. */
export interface BmcVariables {
  readonly bmc_user: string
  readonly bmc_secret: string
  readonly bmc_paths: readonly { readonly name: string; readonly address: string; readonly port: number }[]
}

/** role `metrics`: the node's figures for Prometheus. */
export interface MetricsVariables {
  readonly metrics_address: string
  readonly metrics_port: number
}

/** role `firewall` (gateways): /etc/nftables.d/filter.nft from `nftables/filter.nft`, and the kernel's limits. */
export interface FirewallVariables {
  readonly firewall_conntrack_max: number
}

/** role `distribution` (gateways): /etc/nftables.d/distribute.nft, and the checker, which reads `distribute/slots.json`. */
export interface DistributionVariables {
  readonly distribution_table: string
}

/** role `conntrack` (gateways): conntrackd, which tells the other gateway of connections, by `conntrackd/conntrackd.conf`. */
export interface ConntrackVariables {
  readonly conntrack_half_open_timeout_s: number
}

/** role `corosync` (members): `corosync/corosync.conf` and the key. */
export interface CorosyncVariables {
  readonly corosync_secret: string
}

/** role `pacemaker` (members): the cluster's services, agents, and the configuration (`pacemaker/cib.xml`), applied from one member. */
export interface PacemakerVariables {
  readonly pacemaker_cluster: string
  readonly pacemaker_node_id: number
  /** Passwords that fencing devices are given, by name of the device. */
  readonly pacemaker_fencing_secrets: Readonly<Record<string, string>>
}

/** role `runtime` (hosts with processes): Node and the release's code. */
export interface RuntimeVariables {
  readonly runtime_user: string
}

/** role `postgres` (hosts with a `postgres` instance). */
export interface PostgresVariables {
  readonly postgres_address: string
  readonly postgres_port: number
  readonly postgres_database: string
  readonly postgres_user: string
  readonly postgres_secret: string
  /** Who may connect. */
  readonly postgres_clients: readonly string[]
}

/** role `services` (hosts with processes): a systemd unit an instance. */
export interface ServicesVariables {
  readonly services_environment: string
  readonly services_instances: readonly P.InstancePlan[]
  readonly services_urls: P.EnvironmentPlan['urls']
  readonly services_postgres: P.EnvironmentPlan['postgres']
  readonly services_device_ports: P.PortRange
  readonly services_internal_secret: string
  readonly services_admin_secret: string
}

/** role `channels` (runs on the machine that deploys): channels that are there from the first deploy on. */
export interface ChannelsVariables {
  readonly channels_rest: string
  readonly channels_admin_secret: string
  readonly channels_wanted: readonly P.ChannelPlan[]
}

export interface RoleVariables {
  readonly base: BaseVariables
  readonly network: NetworkVariables
  readonly raid: RaidVariables
  readonly bmc: BmcVariables
  readonly metrics: MetricsVariables
  readonly firewall: FirewallVariables
  readonly distribution: DistributionVariables
  readonly conntrack: ConntrackVariables
  readonly corosync: CorosyncVariables
  readonly pacemaker: PacemakerVariables
  readonly runtime: RuntimeVariables
  readonly postgres: PostgresVariables
  readonly services: ServicesVariables
  readonly channels: ChannelsVariables
}
export type RoleName = keyof RoleVariables

/** Groups of the inventory, and who is in each. `processes` run services, `database` has PostgreSQL. */
export function groupsOf(plan: P.Plan): Record<string, string[]> {
  const names = (keep: (server: P.ServerPlan) => boolean) => plan.servers.filter(keep).map(({ name }) => name)
  const runs = (server: P.ServerPlan, keep: (type: string) => boolean) =>
    plan.environment.instances.some(({ host, type }) => host === server.name && keep(type))
  return {
    gateway: names(({ role }) => role === 'gateway'),
    archive: names(({ role }) => role === 'archive'),
    server: names(({ role }) => role === 'server'),
    cluster: plan.cluster.nodes.map(({ name }) => name),
    processes: names((server) => runs(server, (type) => type !== 'postgres')),
    database: names((server) => runs(server, (type) => type === 'postgres')),
  }
}

const groupOfRole: Partial<Record<RoleName, string>> = {
  firewall: 'gateway',
  distribution: 'gateway',
  conntrack: 'gateway',
  corosync: 'cluster',
  pacemaker: 'cluster',
  runtime: 'processes',
  postgres: 'database',
  services: 'processes',
}

/** The variables of every role that a host has. */
export function variablesOf(plan: P.Plan, server: P.ServerPlan): Partial<RoleVariables> {
  const groups = groupsOf(plan)
  const has = (role: RoleName) => {
    const group = groupOfRole[role]
    return group === undefined || groups[group]!.includes(server.name)
  }
  const { host, management, environment, cluster, firewall, networks } = plan
  const every: RoleVariables = {
    base: {
      base_hostname: server.name,
      base_fqdn: server.fqdn,
      base_hosts: hostsFile(plan),
      base_timezone: host.timezone,
      base_ntp_servers: host.ntp,
      base_dns_servers: host.dns,
      base_users: host.users,
      base_ssh_port: management.ssh_port,
      base_management_sources: management.sources,
      base_log_keep_days: host.log.keep_days,
      base_log_size_mb_max: host.log.size_mb_max,
    },
    network: {
      network_nics: server.nics.map(({ name, mac }) => ({ name, mac })),
      network_bond: server.bond,
      network_interfaces: server.interfaces,
      network_default_gateway: server.default_gateway,
    },
    raid: { raid_device: server.raid.name, raid_managed: server.raid.managed, raid_drives: server.drives },
    bmc: {
      bmc_user: server.bmc.user,
      bmc_secret: server.bmc.secret,
      bmc_paths: server.bmc.paths.map(({ name, address, port }) => ({ name, address, port })),
    },
    metrics: { metrics_address: addressOn(server, 'lan'), metrics_port: host.metrics.port },
    firewall: { firewall_conntrack_max: firewall.conntrack_max },
    distribution: { distribution_table: distributeTable },
    conntrack: { conntrack_half_open_timeout_s: firewall.half_open_timeout_s },
    corosync: { corosync_secret: cluster.totem.secret },
    pacemaker: {
      pacemaker_cluster: cluster.name,
      pacemaker_node_id: cluster.nodes.find(({ name }) => name === server.name)?.id ?? 0,
      pacemaker_fencing_secrets: Object.fromEntries(cluster.fencing.devices.map(({ name, secret }) => [name, secret])),
    },
    runtime: { runtime_user: host.users.find(({ kind }) => kind === 'service')?.name ?? 'milepost' },
    postgres: {
      postgres_address: environment.postgres.host,
      postgres_port: environment.postgres.port,
      postgres_database: environment.postgres.database,
      postgres_user: environment.postgres.user,
      postgres_secret: environment.postgres.secret,
      postgres_clients: networks.filter(({ name }) => name === 'lan').map(({ cidr }) => cidr),
    },
    services: {
      services_environment: environment.name,
      services_instances: environment.instances.filter(
        (instance) => instance.host === server.name && instance.type !== 'postgres',
      ),
      services_urls: environment.urls,
      services_postgres: environment.postgres,
      services_device_ports: environment.device_ports,
      services_internal_secret: 'services/internal-token',
      services_admin_secret: 'services/admin-token',
    },
    channels: {
      channels_rest: environment.urls.prod,
      channels_admin_secret: 'services/admin-token',
      channels_wanted: environment.channels,
    },
  }
  return Object.fromEntries(Object.entries(every).filter(([role]) => has(role as RoleName)))
}

const addressOn = (server: P.ServerPlan, network: string) =>
  server.interfaces.find((entry) => entry.network === network)?.address ?? ''

/** Every server by its name and full name, at its address for internal traffic. */
function hostsFile(plan: P.Plan): BaseVariables['base_hosts'] {
  return plan.servers.map((server) => ({ address: addressOn(server, 'lan'), names: [server.fqdn, server.name] }))
}

/** The inventory's files, by path: `inventory.yml`, `group_vars/GROUP.yml`, `host_vars/HOST.yml`. */
export function renderInventory(plan: P.Plan): Map<string, string> {
  const groups = groupsOf(plan)
  const everyone = plan.servers.map(({ name }) => name)
  const flat = new Map(
    plan.servers.map((server) => [server.name, Object.assign({}, ...Object.values(variablesOf(plan, server)))]),
  ) as Map<string, Record<string, unknown>>
  const files = new Map<string, string>()
  const head = `# Site ${plan.site}. Rendered from its plan; edits here are lost.\n`
  files.set(
    'inventory.yml',
    head +
      stringify({
        all: {
          hosts: Object.fromEntries(
            plan.servers.map(({ name, access }) => [
              name,
              { ansible_host: access.address, ansible_port: access.port, ansible_user: access.user },
            ]),
          ),
          children: Object.fromEntries(
            Object.entries(groups).map(([group, hosts]) => [
              group,
              { hosts: Object.fromEntries(hosts.map((host) => [host, null])) },
            ]),
          ),
        },
      }),
  )
  const site = {
    ansible_ssh_private_key_file: '{{ inventory_dir }}/../secrets/access/ssh-key',
    site_name: plan.site,
    site_domain: plan.domain,
    site_files: '{{ inventory_dir }}/files/{{ inventory_hostname }}',
    site_secrets: '{{ inventory_dir }}/../secrets',
  }
  // What all hosts of a group have alike, and nobody else, is said once for the group.
  for (const [group, hosts] of [['all', everyone] as const, ...Object.entries(groups)]) {
    const outside = everyone.filter((host) => !hosts.includes(host))
    const first = hosts[0] === undefined ? undefined : flat.get(hosts[0])
    const shared: Record<string, unknown> = group === 'all' ? { ...site } : {}
    for (const [name, value] of Object.entries(first ?? {})) {
      const same = hosts.every((host) => JSON.stringify(flat.get(host)![name]) === JSON.stringify(value))
      if (!same || hosts.length < 2 || outside.some((host) => name in flat.get(host)!)) continue
      shared[name] = value
      for (const host of hosts) delete flat.get(host)![name]
    }
    if (Object.keys(shared).length > 0) files.set(`group_vars/${group}.yml`, head + stringify(shared))
  }
  for (const [host, variables] of flat) files.set(`host_vars/${host}.yml`, head + stringify(variables))
  return files
}

/** No anchors: every value is readable where it stands. */
const stringify = (value: unknown) => yaml(value, { aliasDuplicateObjects: false, lineWidth: 120 })
