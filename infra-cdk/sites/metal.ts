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
import type { Role } from '../site/plan.ts'

/** On one machine (npm run metal) the same racks have small servers without much speed. On real ones none of it holds. */
const emulated = process.env.MILEPOST_METAL !== undefined
/** Emulated servers that are busy miss probes that come more often, and their bonds go to and fro. */
const arp_ms = emulated ? Number(process.env.MILEPOST_METAL_ARP_MS ?? 1_000) : 100
const size = emulated
  ? { memory_gb: 2, drive_gb: 4, small_mb: 512, large_mb: 768, connections: 65_536, look_s: 300, tg: 1 }
  : {
      memory_gb: 64,
      drive_gb: 480,
      small_mb: 2_048,
      large_mb: 16_384,
      connections: 2_097_152,
      look_s: 15,
      tg: 4,
    }

/** Five servers in two racks: an example to copy. Names, MACs, serials and addresses are what you read off your own hardware. */
export const metal = new Site('metal', {
  domain: 'dc1.example.net',
  management: { sources: ['10.20.10.250/32', '10.20.10.251/32'], ssh_port: 22 },
  host: {
    timezone: 'Etc/UTC',
    ntp: ['10.20.10.250', '10.20.10.251'],
    dns: ['10.20.10.250', '10.20.10.251'],
    users: [
      { name: 'milepost', kind: 'service', ssh_keys: [] },
      { name: 'operator', kind: 'operator', ssh_keys: [] },
    ],
    log: { keep_days: 90, size_mb_max: 8_192 },
    metrics: { port: 9_100, interval_s: size.look_s },
    ...(emulated ? { patience: 10 } : {}),
  },
  // Servers come blank: the machine that deploys installs them from this address of its own on lan.
  install: {
    address: '10.20.10.250',
    ...(emulated ? { kernel_args: 'console=ttyS0,115200n8 mitigations=off no_timer_check panic=20' } : {}),
  },
})

const lan = new Network(metal, 'lan', { cidr: '10.20.10.0/24', mtu: 9_000 })
const external = new Network(metal, 'external', { cidr: '203.0.113.0/28', vlan: 20, router: '203.0.113.1' })
const clusterA = new Network(metal, 'cluster-a', { cidr: '10.20.31.0/24', vlan: 31, path: 'leg-a' })
const clusterB = new Network(metal, 'cluster-b', { cidr: '10.20.32.0/24', vlan: 32, path: 'leg-b' })
const bmc = new Network(metal, 'bmc', { cidr: '10.20.40.0/24', vlan: 40 })

const front = new VirtualAddress(metal, 'external', { purpose: 'external', at: external.address(10) })
const inside = new VirtualAddress(metal, 'internal', { purpose: 'internal', at: lan.address(1) })

const feedA = new PowerFeed(metal, 'A', { source: 'breaker 14, UPS 1' })
const feedB = new PowerFeed(metal, 'B', { source: 'breaker 22, UPS 2' })

/** A rack with its two switches on top and one PDU a feed. */
function rackOf(name: string, position: string) {
  const rack = new Rack(metal, name, { units: 42, position })
  const pduA = new Pdu(rack, `${name}-pdu-a`, { feed: feedA, outlets: 24 })
  const pduB = new Pdu(rack, `${name}-pdu-b`, { feed: feedB, outlets: 24 })
  const switchA = new Switch(rack, `${name}-sw-a`, { side: 'a', unit: 42, ports: 48 })
  const switchB = new Switch(rack, `${name}-sw-b`, { side: 'b', unit: 41, ports: 48 })
  for (const [place, device] of [switchA, switchB].entries()) {
    new PowerSupply(device, 'psu1', { outlet: pduA.outlet(23 + place) })
    new PowerSupply(device, 'psu2', { outlet: pduB.outlet(23 + place) })
  }
  switchA.trunk(48, switchB.port(48))
  return { rack, pduA, pduB, switchA, switchB }
}
const [one, two] = [rackOf('r1', 'room 1, row A, place 3'), rackOf('r2', 'room 1, row B, place 3')]
one.switchA.trunk(47, two.switchA.port(47))
one.switchB.trunk(47, two.switchB.port(47))
external.uplink('provider 1', one.switchA.port(46))
external.uplink('provider 2', two.switchB.port(46))

interface Machine {
  readonly role: Role
  readonly in: ReturnType<typeof rackOf>
  readonly unit: number
  readonly height?: number
  /** Number of its place in the rack: ports, outlets. */
  readonly place: number
  /** Host number in every network; its BMC has 100 more, the second path 150 more. */
  readonly host: number
  readonly macs: readonly [string, string]
  readonly drives: readonly [string, string]
}

const machines: Record<string, Machine> = {
  gw1: {
    role: 'gateway',
    in: one,
    unit: 38,
    place: 1,
    host: 11,
    macs: ['3c:ec:ef:00:01:a0', '3c:ec:ef:00:01:a1'],
    drives: ['S6KUNX0T100001', 'S6KUNX0T100002'],
  },
  gw2: {
    role: 'gateway',
    in: two,
    unit: 38,
    place: 1,
    host: 12,
    macs: ['3c:ec:ef:00:02:a0', '3c:ec:ef:00:02:a1'],
    drives: ['S6KUNX0T100003', 'S6KUNX0T100004'],
  },
  arc1: {
    role: 'archive',
    in: two,
    unit: 30,
    height: 2,
    place: 2,
    host: 21,
    macs: ['3c:ec:ef:00:03:a0', '3c:ec:ef:00:03:a1'],
    drives: ['S6KUNX0T100005', 'S6KUNX0T100006'],
  },
  srv1: {
    role: 'server',
    in: one,
    unit: 20,
    place: 3,
    host: 31,
    macs: ['3c:ec:ef:00:04:a0', '3c:ec:ef:00:04:a1'],
    drives: ['S6KUNX0T100007', 'S6KUNX0T100008'],
  },
  srv2: {
    role: 'server',
    in: two,
    unit: 20,
    place: 3,
    host: 32,
    macs: ['3c:ec:ef:00:05:a0', '3c:ec:ef:00:05:a1'],
    drives: ['S6KUNX0T100009', 'S6KUNX0T100010'],
  },
}

const servers = Object.entries(machines).map(
  ([name, { role, in: place, unit, height, place: n, host, macs, drives }]) => {
    const networks = [lan, clusterA, clusterB, bmc, ...(role === 'gateway' ? [external] : [])]
    const server = new Server(place.rack, name, {
      role,
      unit,
      ...(height === undefined ? {} : { height }),
      memory_gb: size.memory_gb,
      firmware: 'bios',
      // The external network is small: gateways have their second host digit in it.
      addresses: networks.map((network) => network.address(network === external ? host - 9 : host)),
    })
    new BondedNic(server, 'bond0', {
      legs: [
        { nic: 'eth0', mac: macs[0], to: place.switchA.port(n), speed_mbps: 10_000 },
        { nic: 'eth1', mac: macs[1], to: place.switchB.port(n), speed_mbps: 10_000 },
      ],
      // Finds a port that fails silently, which the link's state does not show.
      monitoring: { kind: 'arp', interval_ms: arp_ms, targets: ['10.20.10.250', '10.20.10.251'] },
    })
    new RaidMirror(server, 'md0', {
      drives: drives.map((serial, bay) => ({ bay, serial, size_gb: size.drive_gb })),
    })
    new Bmc(server, 'bmc', {
      user: 'milepost',
      password: 'operator',
      paths: [
        { at: bmc.address(host + 100), to: place.switchA.port(20 + n) },
        { at: bmc.address(host + 150), to: place.switchB.port(20 + n) },
      ],
    })
    new PowerSupply(server, 'psu1', { outlet: place.pduA.outlet(n) })
    new PowerSupply(server, 'psu2', { outlet: place.pduB.outlet(n) })
    return server
  },
)
const workers = servers.filter(({ role }) => role === 'server')
const first = workers.slice(0, 1)

new Cluster(metal, 'cluster', {
  // Five votes. With more servers than these, leave them out here: they run processes, and nothing that Pacemaker moves.
  members: servers,
  links: [clusterA, clusterB],
  // An emulated processor is silent for longer now and then.
  token_ms: emulated ? 30_000 : 500,
  fencing: { enabled: true, timeout_s: emulated ? 300 : 60, action: 'reboot' },
})

const environment = new Environment(metal, 'metal', {
  base_port: 7_000,
  channels: [
    { name: 'teltonika', protocol: 'teltonika', port: 7_100, policy: 'registered' },
    { name: 'wialon', protocol: 'wialon', port: 7_101, policy: 'registered' },
  ],
})
const small = { memory_mb: size.small_mb, open_files: 65_536 }
const large = { memory_mb: size.large_mb, open_files: 262_144 }
new ProcessGroup(environment, 'postgres', { on: first, each: 1, limits: large })
const mbus = new ProcessGroup(environment, 'mbus', { on: first, each: 1, limits: small })
new ProcessGroup(environment, 'mdb', { on: first, each: 1, limits: large })
const prod = new ProcessGroup(environment, 'prod', { on: workers, each: 1, limits: small })
const tgctl = new ProcessGroup(environment, 'tgctl', {
  on: workers,
  each: 1,
  ...(emulated ? { options: { workers: 1, patience: 10 } } : {}),
  limits: small,
})
const tg = new ProcessGroup(environment, 'tg', { on: workers, each: size.tg, limits: large })
new ProcessGroup(environment, 'archive', {
  on: servers.filter(({ role }) => role === 'archive'),
  each: 1,
  limits: { memory_mb: 4_096, open_files: 65_536 },
})

new Firewall(metal, 'firewall', {
  syn: { per_source: { per_second: 500, burst: 1_000 }, total: { per_second: 20_000, burst: 40_000 } },
  icmp: { per_second: 50, burst: 100 },
  conntrack_max: size.connections,
})
new PublishedService(metal, 'devices', {
  ports: environment.devicePorts,
  protocols: ['tcp', 'udp'],
  target: tg,
  on: [front],
  // Many trackers of one mobile operator share an address.
  limits: { connections_per_source_max: 50_000, new_per_source: { per_second: 1_000, burst: 5_000 } },
})
new PublishedService(metal, 'rest', {
  ports: { first: prod.port(0), last: prod.port(0) },
  target: prod,
  on: [front, inside],
  limits: { connections_per_source_max: 200, new_per_source: { per_second: 50, burst: 100 } },
})
new PublishedService(metal, 'mqtt', {
  ports: { first: mbus.port(0), last: mbus.port(0) + 1 },
  target: mbus,
  on: [front],
  limits: { connections_per_source_max: 500, new_per_source: { per_second: 50, burst: 100 } },
})
new PublishedService(metal, 'tgctl', {
  ports: { first: tgctl.port(0), last: tgctl.port(0) },
  target: tgctl,
  on: [inside],
})
