/** A small valid site, and ways to break it: for tests alone. */

import type { ClusterProps } from '../constructs/cluster.ts'
import type { FirewallProps } from '../constructs/firewall.ts'
import {
  Bmc,
  BondedNic,
  Cluster,
  Environment,
  Firewall,
  Network,
  Pdu,
  PowerFeed,
  PowerSupply,
  ProcessGroup,
  PublishedService,
  Rack,
  RaidMirror,
  Server,
  Site,
  Switch,
  VirtualAddress,
} from '../constructs/index.ts'
import type { SiteInstall } from '../constructs/site.ts'
import type { ChannelPlan, Role } from './plan.ts'

export interface Machine {
  role: Role
  unit: number
  height?: number
  /** Sides that its two links go to. */
  links: ('a' | 'b')[]
  /** PDUs of its power supplies. */
  supplies: ('a' | 'b')[]
  bond: string
  drives: number
  bmc: boolean
  /** Host number of its address on lan; the other networks follow `place`. */
  lan: number
  /** Number of its ports and outlets. */
  place: number
  memory_gb: number | undefined
  serial: string | undefined
}

export interface Change {
  /** Changes machines, adds or removes them. */
  machines(machines: Record<string, Machine>): void
  cluster: (props: ClusterProps) => ClusterProps
  firewall: Partial<FirewallProps>
  channels: ChannelPlan[]
  tgOn: string[]
  tgEach: number
  switchPdus: ('a' | 'b')[]
  trunk: boolean
  linkPath: 'leg-a' | 'leg-b' | 'bond'
  linkVlan: boolean
  router: string
  /** The site installs its servers, with this changed. */
  install: Partial<SiteInstall>
  patience: number
}

const usual: Omit<Machine, 'role' | 'unit' | 'lan' | 'place'> = {
  links: ['a', 'b'],
  supplies: ['a', 'b'],
  bond: 'bond0',
  drives: 2,
  bmc: true,
  memory_gb: 8,
  serial: undefined,
}

export function siteWith(change: Partial<Change> = {}): Site {
  const site = new Site('test', {
    domain: 'test.internal',
    management: { sources: ['10.1.0.250/32'], ssh_port: 22 },
    host: {
      timezone: 'Etc/UTC',
      ntp: [],
      dns: [],
      users: [],
      log: { keep_days: 1, size_mb_max: 64 },
      metrics: { port: 9_100, interval_s: 15 },
      ...(change.patience === undefined ? {} : { patience: change.patience }),
    },
    ...(change.install ? { install: { address: '10.1.0.250', ...change.install } } : {}),
  })
  const lan = new Network(site, 'lan', { cidr: '10.1.0.0/24' })
  const external = new Network(site, 'external', {
    cidr: '192.0.2.0/24',
    vlan: 20,
    router: change.router ?? '192.0.2.1',
  })
  const clusterA = new Network(site, 'cluster-a', { cidr: '10.1.1.0/24', vlan: 31, path: 'leg-a' })
  const clusterB = new Network(site, 'cluster-b', {
    cidr: '10.1.2.0/24',
    ...((change.linkVlan ?? true) ? { vlan: 32 } : {}),
    path: change.linkPath ?? 'leg-b',
  })
  const bmc = new Network(site, 'bmc', { cidr: '10.1.3.0/24', vlan: 40 })
  const front = new VirtualAddress(site, 'external', { purpose: 'external', at: external.address(10) })
  const inside = new VirtualAddress(site, 'internal', { purpose: 'internal', at: lan.address(1) })
  const rack = new Rack(site, 'rack1', { units: 10, position: 'here' })
  const pdus = {
    a: new Pdu(rack, 'pdu-a', { feed: new PowerFeed(site, 'A', { source: 'a' }), outlets: 20 }),
    b: new Pdu(rack, 'pdu-b', { feed: new PowerFeed(site, 'B', { source: 'b' }), outlets: 20 }),
  }
  const switches = {
    a: new Switch(rack, 'sw-a', { side: 'a', unit: 10, ports: 40 }),
    b: new Switch(rack, 'sw-b', { side: 'b', unit: 9, ports: 40 }),
  }
  for (const [index, pdu] of (change.switchPdus ?? ['a', 'b']).entries())
    new PowerSupply(index === 0 ? switches.a : switches.b, 'psu1', { outlet: pdus[pdu].outlet(19 + index) })
  if (change.trunk ?? true) switches.a.trunk(40, switches.b.port(40))

  const machines: Record<string, Machine> = {
    gw1: { ...usual, role: 'gateway', unit: 8, lan: 11, place: 1 },
    gw2: { ...usual, role: 'gateway', unit: 7, lan: 12, place: 2 },
    arc1: { ...usual, role: 'archive', unit: 6, lan: 13, place: 3 },
    srv1: { ...usual, role: 'server', unit: 5, lan: 14, place: 4 },
    srv2: { ...usual, role: 'server', unit: 4, lan: 15, place: 5 },
  }
  change.machines?.(machines)
  const servers = Object.entries(machines).map(([name, machine]) => {
    const { role, unit, height = 1, place, memory_gb } = machine
    const others = [clusterA, clusterB, bmc, ...(role === 'gateway' ? [external] : [])]
    const addresses = [lan.address(machine.lan), ...others.map((network) => network.address(10 + place))]
    const server = new Server(rack, name, {
      role,
      unit,
      height,
      addresses,
      ...(memory_gb === undefined ? {} : { memory_gb }),
    })
    new BondedNic(server, machine.bond, {
      legs: machine.links.map((side, index) => ({
        nic: `eth${index}`,
        mac: `02:00:00:00:0${place}:0${index}`,
        to: switches[side].port(place + index * 10),
      })),
    })
    new RaidMirror(server, 'md0', {
      drives: Array.from({ length: machine.drives }, (_, bay) => ({
        bay,
        serial: machine.serial ?? `${name}-${bay}`,
        size_gb: 8,
      })),
    })
    if (machine.bmc)
      new Bmc(server, 'bmc', {
        user: 'admin',
        password: 'generated',
        paths: [{ at: bmc.address(100 + place), to: switches.a.port(20 + place) }],
      })
    for (const [index, pdu] of machine.supplies.entries())
      new PowerSupply(server, `psu${index + 1}`, { outlet: pdus[pdu].outlet(place + index * 8) })
    return server
  })
  const props: ClusterProps = {
    members: servers,
    links: [clusterA, clusterB],
    token_ms: 3_000,
    fencing: { enabled: true, timeout_s: 30, action: 'reboot' },
  }
  new Cluster(site, 'cluster', change.cluster?.(props) ?? props)
  const environment = new Environment(site, 'test', {
    base_port: 7_000,
    channels: change.channels ?? [{ name: 'wialon', protocol: 'wialon', port: 7_100, policy: 'open' }],
  })
  const workers = servers.filter(({ role }) => role === 'server')
  for (const type of ['postgres', 'mbus', 'mdb'])
    new ProcessGroup(environment, type, { on: workers.slice(0, 1), each: 1 })
  const prod = new ProcessGroup(environment, 'prod', { on: workers, each: 1 })
  new ProcessGroup(environment, 'tgctl', { on: workers, each: 1 })
  const tg = new ProcessGroup(environment, 'tg', {
    on: workers.filter(({ name }) => change.tgOn?.includes(name) ?? true),
    each: change.tgEach ?? 1,
  })
  new Firewall(site, 'firewall', {
    syn: { per_source: { per_second: 10, burst: 20 }, total: { per_second: 100, burst: 200 } },
    icmp: { per_second: 10, burst: 20 },
    conntrack_max: 65_536,
    ...change.firewall,
  })
  const limits = { connections_per_source_max: 100, new_per_source: { per_second: 10, burst: 20 } }
  new PublishedService(site, 'devices', {
    ports: environment.devicePorts,
    protocols: ['tcp', 'udp'],
    target: tg,
    on: [front],
    limits,
  })
  new PublishedService(site, 'rest', {
    ports: { first: 7_000, last: 7_000 },
    target: prod,
    on: [front, inside],
    limits,
  })
  return site
}
