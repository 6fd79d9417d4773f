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

/** A rack on one Linux machine: five servers, two switches, two feeds. All addresses are private. */
export const lab = new Site('lab', {
  domain: 'lab.internal',
  management: { sources: ['10.77.10.250/32'], ssh_port: 22 },
  host: {
    timezone: 'Etc/UTC',
    ntp: ['10.77.10.250'],
    dns: ['10.77.10.250'],
    users: [{ name: 'milepost', kind: 'service', ssh_keys: [] }],
    log: { keep_days: 14, size_mb_max: 512 },
    metrics: { port: 9_100, interval_s: 15 },
  },
})

// The machine's kernel has neither bonding nor VLAN devices: it delivers both ready-made (managed: false).
const managed = false
const lan = new Network(lab, 'lan', { cidr: '10.77.10.0/24' })
const external = new Network(lab, 'external', { cidr: '172.31.20.0/24', vlan: 20, router: '172.31.20.1', managed })
const clusterA = new Network(lab, 'cluster-a', { cidr: '10.77.31.0/24', vlan: 31, path: 'leg-a', managed })
const clusterB = new Network(lab, 'cluster-b', { cidr: '10.77.32.0/24', vlan: 32, path: 'leg-b', managed })
const bmc = new Network(lab, 'bmc', { cidr: '10.77.40.0/24', vlan: 40, managed })

const front = new VirtualAddress(lab, 'external', { purpose: 'external', at: external.address(10) })
const inside = new VirtualAddress(lab, 'internal', { purpose: 'internal', at: lan.address(1) })

const feedA = new PowerFeed(lab, 'A', { source: 'the first circuit' })
const feedB = new PowerFeed(lab, 'B', { source: 'the second circuit' })
const rack = new Rack(lab, 'rack1', { units: 12, position: 'inside one Linux machine' })
const pduA = new Pdu(rack, 'pdu-a', { feed: feedA, outlets: 8 })
const pduB = new Pdu(rack, 'pdu-b', { feed: feedB, outlets: 8 })
const switchA = new Switch(rack, 'sw-a', { side: 'a', unit: 12, ports: 24 })
const switchB = new Switch(rack, 'sw-b', { side: 'b', unit: 11, ports: 24 })
new PowerSupply(switchA, 'psu1', { outlet: pduA.outlet(8) })
new PowerSupply(switchB, 'psu1', { outlet: pduB.outlet(8) })
switchA.trunk(24, switchB.port(24))
external.uplink('provider 1', switchA.port(23))
external.uplink('provider 2', switchB.port(23))

const machines = [
  { name: 'gw1', role: 'gateway', unit: 9, host: 11 },
  { name: 'gw2', role: 'gateway', unit: 8, host: 12 },
  { name: 'arc1', role: 'archive', unit: 6, host: 21 },
  { name: 'srv1', role: 'server', unit: 4, host: 31 },
  { name: 'srv2', role: 'server', unit: 3, host: 32 },
] as const

const servers = machines.map(({ name, role, unit, host }, index) => {
  const place = index + 1
  const networks = [lan, clusterA, clusterB, bmc, ...(role === 'gateway' ? [external] : [])]
  const addresses = networks.map((network) => network.address(host))
  const server = new Server(rack, name, { role, unit, watchdog: false, addresses })
  new BondedNic(server, 'bond0', {
    managed,
    legs: [
      { nic: 'eth0', mac: `02:4d:50:00:0${place}:0a`, to: switchA.port(place) },
      { nic: 'eth1', mac: `02:4d:50:00:0${place}:0b`, to: switchB.port(place) },
    ],
  })
  new RaidMirror(server, 'md0', {
    managed,
    drives: [
      { bay: 0, serial: `LAB${place}A`, size_gb: 8 },
      { bay: 1, serial: `LAB${place}B`, size_gb: 8 },
    ],
  })
  // The BMCs' single ports are spread over both switches.
  const side = index % 2 === 0 ? switchB : switchA
  new Bmc(server, 'bmc', {
    user: 'admin',
    password: 'generated',
    paths: [{ at: bmc.address(host + 100), to: side.port(10 + place) }],
  })
  new PowerSupply(server, 'psu1', { outlet: pduA.outlet(place) })
  new PowerSupply(server, 'psu2', { outlet: pduB.outlet(place) })
  return server
})
const workers = servers.filter(({ role }) => role === 'server')
const first = workers.slice(0, 1)

new Cluster(lab, 'cluster', {
  members: servers,
  links: [clusterA, clusterB],
  token_ms: 500,
  fencing: { enabled: true, timeout_s: 30, action: 'reboot' },
})

const environment = new Environment(lab, 'lab', {
  base_port: 7_000,
  channels: [
    { name: 'teltonika', protocol: 'teltonika', port: 7_100, policy: 'open' },
    { name: 'wialon', protocol: 'wialon', port: 7_101, policy: 'open' },
  ],
})
new ProcessGroup(environment, 'postgres', { on: first, each: 1 })
const mbus = new ProcessGroup(environment, 'mbus', { on: first, each: 1 })
new ProcessGroup(environment, 'mdb', { on: first, each: 1 })
const prod = new ProcessGroup(environment, 'prod', { on: workers, each: 1 })
const tgctl = new ProcessGroup(environment, 'tgctl', { on: workers, each: 1, options: { workers: 2 } })
const tg = new ProcessGroup(environment, 'tg', { on: workers, each: 2 })
new ProcessGroup(environment, 'archive', {
  on: servers.filter(({ role }) => role === 'archive'),
  each: 1,
  options: { keep_days: 30 },
})

new Firewall(lab, 'firewall', {
  syn: { per_source: { per_second: 500, burst: 1_000 }, total: { per_second: 2_000, burst: 4_000 } },
  icmp: { per_second: 20, burst: 40 },
  conntrack_max: 262_144,
})
new PublishedService(lab, 'devices', {
  ports: environment.devicePorts,
  protocols: ['tcp', 'udp'],
  target: tg,
  on: [front],
  // Many trackers of one mobile operator share an address.
  limits: { connections_per_source_max: 20_000, new_per_source: { per_second: 500, burst: 1_000 } },
})
new PublishedService(lab, 'rest', {
  ports: { first: prod.port(0), last: prod.port(0) },
  target: prod,
  on: [front, inside],
  limits: { connections_per_source_max: 200, new_per_source: { per_second: 50, burst: 100 } },
})
new PublishedService(lab, 'mqtt', {
  ports: { first: mbus.port(0), last: mbus.port(0) + 1 },
  target: mbus,
  on: [front],
  limits: { connections_per_source_max: 500, new_per_source: { per_second: 50, burst: 100 } },
})
new PublishedService(lab, 'tgctl', {
  ports: { first: tgctl.port(0), last: tgctl.port(0) },
  target: tgctl,
  on: [inside],
})
