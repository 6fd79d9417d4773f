import type { Clone, Colocation, Configuration, Constraint, Operation, Primitive, Settings } from './configuration.ts'
import type { ClusterInput, FencingDeviceInput, NodeInput, VirtualAddressInput } from './input.ts'

/** Folder of the secrets on every member, by their names in the plan; files of mode 0600. */
export const secretsFolder = '/etc/milepost/secrets'

/** Ids of resources that others name. */
export const ids = {
  rules: 'rules-clone',
  distribution: 'distribution-clone',
  router: 'router-clone',
  connections: 'connections-clone',
} as const

/** Node attribute: points for each router that answers, kept by `router`. */
export const routerSeen = 'router-seen'
/** A wish stronger than all stickiness: where no gateway sees the router, the active one stays. */
const scoreWithRouter = 100_000
/** A wish: a gateway whose distribution cannot run still serves when it is the only one. */
const scoreWithDistribution = 10_000
/** A fencing action must be fast: the new gateway waits for it. ipmitool is asked again after so long. */
const ipmiAnswer_s = (fencing_s: number) => Math.max(1, Math.floor(fencing_s / 60))

/** Every resource, constraint and property of a site's cluster. Pure. */
export function configurationOf(input: ClusterInput): Configuration {
  const { cluster } = input
  const gateways = cluster.nodes.filter(({ role }) => role === 'gateway')
  const fences = cluster.fencing.devices.map((device) => fence(device, input))
  const archive = archiveServices(input)
  return {
    properties: properties(input),
    resourceDefaults: {
      'resource-stickiness': cluster.resources.stickiness,
      'migration-threshold': cluster.resources.migration_threshold,
      'failure-timeout': `${cluster.resources.failure_timeout_s}s`,
    },
    nodes: cluster.nodes.map(({ id, name, role }) => ({ id, name, attributes: { role } })),
    resources: [...gatewayResources(input, gateways), ...archive, ...fences],
    constraints: [
      ...gatewayConstraints(input),
      ...archive.map((service): Constraint => {
        const { host } = input.environment.instances.find(({ instance }) => archiveId(instance) === service.id)!
        return only(service.id, 'name', host)
      }),
      ...cluster.fencing.devices.map(({ name, node }): Constraint => {
        return { kind: 'location', id: `${name}-elsewhere`, resource: name, score: '-INFINITY', where: { node } }
      }),
    ],
    fencingLevels: cluster.fencing.levels,
  }
}

function properties({ cluster: { name, fencing } }: ClusterInput): Settings {
  return {
    'cluster-name': name,
    'stonith-enabled': true,
    'stonith-action': fencing.action,
    'stonith-timeout': `${fencing.timeout_s}s`,
    // A node that was not seen since the cluster's start may run anything: it is fenced before its work is taken.
    'startup-fencing': true,
    'concurrent-fencing': true,
    'no-quorum-policy': 'stop',
    'symmetric-cluster': true,
    // Pacemaker takes one step at a time on a node under load. A flood is no time for a slow fail-over.
    'load-threshold': '1000%',
    // Quicker than no delay: without it the controller finds its own updates under way, and sleeps a second (2.1.5).
    'transition-delay': '100ms',
    // Failures expire with this grain.
    'cluster-recheck-interval': '60s',
  }
}

// ── gateways ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Rules, distribution and the router's watch run on both gateways all the time: a fail-over loads nothing. What moves is
 * one set: the promoted connection tracking and with it the virtual addresses, which start at the same time.
 */
function gatewayResources(input: ClusterInput, gateways: readonly NodeInput[]): (Clone | Primitive)[] {
  const copies = { 'clone-max': gateways.length, 'clone-node-max': 1, interleave: true }
  const router = routerOf(input)
  return [
    { kind: 'clone', id: ids.rules, of: rules(input), meta: copies },
    { kind: 'clone', id: ids.distribution, of: distribution(input), meta: copies },
    ...(router ? [{ kind: 'clone', id: ids.router, of: routerWatch(router, input), meta: copies } as const] : []),
    {
      kind: 'clone',
      id: ids.connections,
      of: connections(input),
      meta: { ...copies, promotable: true, 'promoted-max': 1, 'promoted-node-max': 1 },
    },
    ...gatewayAddresses(input).map((address) => virtualAddress(address, input)),
  ]
}

/** Ids of what runs on a gateway; the addresses on the active one alone. */
export const gatewayResourceIds = (input: ClusterInput, active: boolean): string[] => [
  'rules',
  'distribution',
  ...(routerOf(input) === null ? [] : ['router']),
  'connections',
  ...(active ? gatewayAddresses(input).map(addressId) : []),
]

const addressId = ({ name }: VirtualAddressInput) => `address-${name}`
const gatewayAddresses = ({ virtual_addresses }: ClusterInput) =>
  virtual_addresses.filter(({ role }) => role === 'gateway')

/** Router of the network that the devices come from. */
function routerOf(input: ClusterInput): string | null {
  const external = input.virtual_addresses.find(({ purpose }) => purpose === 'external')
  return input.networks.find(({ name }) => name === external?.network)?.router ?? null
}

const rules = (input: ClusterInput): Primitive => ({
  kind: 'primitive',
  id: 'rules',
  agent: 'ocf:milepost:gateway',
  parameters: {},
  operations: operations(input),
})

const distribution = (input: ClusterInput): Primitive => ({
  kind: 'primitive',
  id: 'distribution',
  agent: 'systemd:milepost-distribute',
  parameters: {},
  operations: operations(input),
})

const routerWatch = (router: string, input: ClusterInput): Primitive => ({
  kind: 'primitive',
  id: 'router',
  agent: 'ocf:pacemaker:ping',
  // Only a loss that lasts counts: in a flood answers are missed now and then, and moving would not help.
  parameters: { host_list: router, name: routerSeen, multiplier: 1, attempts: 3, timeout: 1, dampen: '10s' },
  operations: operations(input),
})

/**
 * conntrackd: each gateway knows the other's connections, and the promoted one's kernel is given them. It is not notified
 * (eight steps more in a fail-over): a copy that starts or is demoted asks for what it missed itself. The agent is ours,
 * because the common one changes its promotion score when it is promoted, and so has the fail-over planned a second time.
 */
const connections = (input: ClusterInput): Primitive => {
  const { monitor_interval_s: interval_s, start_timeout_s, stop_timeout_s } = input.cluster.resources
  return {
    kind: 'primitive',
    id: 'connections',
    agent: 'ocf:milepost:connections',
    parameters: {},
    operations: [
      { name: 'start', interval_s: 0, timeout_s: start_timeout_s },
      { name: 'stop', interval_s: 0, timeout_s: stop_timeout_s },
      { name: 'promote', interval_s: 0, timeout_s: start_timeout_s },
      { name: 'demote', interval_s: 0, timeout_s: stop_timeout_s },
      { name: 'monitor', interval_s, timeout_s: start_timeout_s, role: 'Promoted' },
      { name: 'monitor', interval_s: interval_s * 2, timeout_s: start_timeout_s, role: 'Unpromoted' },
    ],
  }
}

const virtualAddress = (address: VirtualAddressInput, input: ClusterInput): Primitive => ({
  kind: 'primitive',
  id: addressId(address),
  agent: 'ocf:heartbeat:IPaddr2',
  parameters: {
    ip: address.address,
    cidr_netmask: address.prefix,
    nic: address.device,
    // Gratuitous ARP, again each 30 s: a switch or neighbour that missed the first ones learns it all the same.
    arp_count: 3,
    arp_interval: 200,
    arp_count_refresh: 1,
  },
  operations: operations(input),
})

function gatewayConstraints(input: ClusterInput): Constraint[] {
  const router = routerOf(input) !== null
  const addresses = gatewayAddresses(input).map(addressId)
  const clones = [ids.rules, ids.distribution, ...(router ? [ids.router] : []), ids.connections]
  return [
    ...[...clones, ...addresses].map((id) => only(id, 'role', 'gateway')),
    // The active gateway is where the connections are promoted; all else follows.
    ...addresses.map((id): Constraint => {
      return { ...colocation(id, ids.connections, 'INFINITY'), withRole: 'Promoted', influence: true }
    }),
    // With the role Promoted an infinite score would drown every finite one (Pacemaker 2.1.5).
    colocation(ids.connections, ids.rules, 'INFINITY'),
    { ...colocation(ids.connections, ids.distribution, scoreWithDistribution), role: 'Promoted' },
    // No packet before the rules, no new address before the old connections are known.
    order(ids.rules, 'start', ids.connections, 'promote'),
    ...addresses.map((id) => order(ids.connections, 'promote', id, 'start')),
    order(ids.rules, 'start', ids.distribution, 'start', true),
    order(ids.distribution, 'start', ids.connections, 'promote', true),
    ...(router ? [preferSeeingGateway] : []),
  ]
}

const preferSeeingGateway: Constraint = {
  kind: 'location',
  id: 'gateway-sees-router',
  resource: ids.connections,
  role: 'Promoted',
  score: scoreWithRouter,
  where: { all: [{ attribute: routerSeen, is: 'gt', value: 0 }] },
}

// ── archive and fencing ──────────────────────────────────────────────────────────────────────────────────────────────

const archiveId = (instance: string) => `archive-${instance}`

/** Types that always run where they are placed: systemd is enough. */
const steady = ['archive', 'cassandra']

/** What the site runs on its archive node when the servers are gone. */
function archiveServices(input: ClusterInput): Primitive[] {
  const hosts = new Set(input.cluster.nodes.filter(({ role }) => role === 'archive').map(({ name }) => name))
  return input.environment.instances
    .filter(({ host, type }) => hosts.has(host) && !steady.includes(type))
    .map(({ instance }) => ({
      kind: 'primitive',
      id: archiveId(instance),
      agent: `systemd:milepost@${instance}`,
      parameters: {},
      operations: operations(input),
    }))
}

const fence = (device: FencingDeviceInput, { cluster: { fencing, resources } }: ClusterInput): Primitive => ({
  kind: 'primitive',
  id: device.name,
  agent: `stonith:${device.agent}`,
  parameters: {
    ip: device.address,
    ipport: device.port,
    username: device.user,
    password_script: `cat ${secretsFolder}/${device.secret}`,
    lanplus: device.lanplus,
    cipher: device.cipher,
    privlvl: device.privilege,
    // Off, seen to be off, on again: `cycle` would claim success before the power is gone.
    method: 'onoff',
    // The power is asked for at once and then each second, not after a fixed wait.
    power_wait: 0,
    ipmitool_timeout: ipmiAnswer_s(fencing.timeout_s),
    pcmk_host_list: device.node,
    ...(device.delay_s > 0 ? { pcmk_delay_base: `${device.delay_s}s` } : {}),
    pcmk_reboot_timeout: `${fencing.timeout_s}s`,
    pcmk_off_timeout: `${fencing.timeout_s}s`,
  },
  operations: [
    { name: 'start', interval_s: 0, timeout_s: resources.start_timeout_s },
    { name: 'monitor', interval_s: 12 * resources.monitor_interval_s, timeout_s: resources.start_timeout_s },
  ],
})

// ── short hands ──────────────────────────────────────────────────────────────────────────────────────────────────────

function operations({ cluster: { resources } }: ClusterInput): Operation[] {
  return [
    { name: 'start', interval_s: 0, timeout_s: resources.start_timeout_s },
    { name: 'stop', interval_s: 0, timeout_s: resources.stop_timeout_s },
    { name: 'monitor', interval_s: resources.monitor_interval_s, timeout_s: resources.start_timeout_s },
  ]
}

/** The resource runs on nodes with this attribute alone, and the others are never asked. */
const only = (resource: string, attribute: 'role' | 'name', value: string): Constraint => ({
  kind: 'location',
  id: `${resource}-only`,
  resource,
  score: '-INFINITY',
  where: { all: [{ attribute: attribute === 'name' ? '#uname' : attribute, is: 'ne', value }] },
  discovery: 'never',
})

/** Without influence: else a clone's failed copy changes places with the other gateway's, and both are restarted. */
const colocation = (resource: string, other: string, score: number | 'INFINITY'): Colocation => ({
  kind: 'colocation',
  id: `${resource}-with-${other}`,
  resource,
  with: other,
  score,
  influence: false,
})

const order = (
  first: string,
  firstAction: 'start' | 'promote',
  then: string,
  thenAction: 'start' | 'promote',
  optional = false,
): Constraint => ({ kind: 'order', id: `${first}-then-${then}`, first, firstAction, then, thenAction, optional })
