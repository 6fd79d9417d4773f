import test from 'ava'
import { Network, Rack, Server, Site, Switch } from '../constructs/index.ts'
import { metal } from '../sites/metal.ts'
import { findingsOf, SiteError } from './findings.ts'
import type { Plan, Role } from './plan.ts'
import { planOf } from './plan-of.ts'
import { type Change, type Machine, siteWith } from './testing.ts'

const machine = (name: string, change: Partial<Machine>): Partial<Change> => ({
  machines: (machines) => Object.assign(machines[name]!, change),
})
const without = (...names: string[]): Partial<Change> => ({
  machines(machines) {
    for (const name of names) delete machines[name]
  },
})

test('patience is a whole number, and the waits of the plan grow with it', (t) => {
  t.deepEqual(findingsOf(siteWith({ patience: 0.5 })), [
    'site test: host.patience is 0.5; it is a whole number, 1 or more',
  ])
  const [usual, slow] = [planOf(siteWith()), planOf(siteWith({ patience: 10 }))]
  const waits = ({ cluster: { resources }, distribution: { check } }: Plan) => [
    resources.monitor_interval_s,
    resources.start_timeout_s,
    resources.stop_timeout_s,
    resources.failure_timeout_s,
    check.interval_ms,
    check.timeout_ms,
  ]
  t.deepEqual(
    waits(slow),
    waits(usual).map((wait) => 10 * wait),
  )
  t.is(slow.cluster.resources.migration_threshold, usual.cluster.resources.migration_threshold)
})

test('sites without a fault have no findings', (t) => {
  t.deepEqual(findingsOf(siteWith()), [])
  t.deepEqual(findingsOf(metal), [])
  t.deepEqual(findingsOf(siteWith({ install: {} })), [])
})

/** What is broken on purpose, and the only things that may be said of it. */
const broken: [string, Partial<Change>, string[]][] = [
  [
    'both power supplies on one feed',
    machine('gw2', { supplies: ['a', 'a'] }),
    ['server gw2: psu1 and psu2 are both on feed A; put each on a feed of its own'],
  ],
  [
    'one power supply',
    machine('srv1', { supplies: ['b'] }),
    ['server srv1: it has 1 power supply; a server needs two, one on each feed'],
  ],
  [
    'both links on one switch',
    machine('gw2', { links: ['a', 'a'] }),
    [
      'server gw2: both links go to switch sw-a; a bond must span both switches',
      'server gw2: no link goes to side b, where network cluster-b is',
    ],
  ],
  [
    'one link',
    machine('gw2', { links: ['a'] }),
    ['server gw2: bond0 has 1 link; a bond has two', 'server gw2: no link goes to side b, where network cluster-b is'],
  ],
  [
    'installed from elsewhere',
    { install: { address: '10.9.0.1', port: 0, packages: ['not a package'], kernel_args: 'quiet; reboot' } },
    [
      'site test: install: address 10.9.0.1 is not in network lan (10.1.0.0/24), over which servers are installed',
      'site test: install: port 0 is not between 1 and 65535',
      'site test: install: kernel_args "quiet; reboot" have a character that is neither letter, digit nor one of _ . , : = / -',
      'site test: install: "not a package" is no name of a Debian package',
    ],
  ],
  [
    'installed from an address that a server has',
    { install: { address: '10.1.0.14' } },
    ['server srv1: address 10.1.0.14 is that of the machine that deploys (install); every address is given once'],
  ],
  [
    'memory that nobody read off',
    { install: {}, ...machine('srv1', { memory_gb: undefined }) },
    ['server srv1: memory_gb is missing; a module that is missing is found by it'],
  ],
  [
    'a serial as it is printed with spaces',
    { install: {}, ...machine('srv2', { serial: 'S6K UNX', drives: 1 }) },
    [
      'server srv2: mirror md0 has 1 drive; the system is on two',
      'server srv2: drive serial "S6K UNX" has a character that a serial has not; write it without spaces',
    ],
  ],
  [
    'gateways that differ',
    machine('gw2', { bond: 'team0' }),
    [
      'server gw2: network lan is on team0, but on bond0 of gw1; gateways need the same devices',
      'server gw2: network bmc is on team0.40, but on bond0.40 of gw1; gateways need the same devices',
      'server gw2: network external is on team0.20, but on bond0.20 of gw1; gateways need the same devices',
    ],
  ],
  ['one drive', machine('arc1', { drives: 1 }), ['server arc1: mirror md0 has 1 drive; the system is on two']],
  [
    'no BMC',
    machine('gw1', { bmc: false }),
    ['server gw1: it has no BMC; add a Bmc: without one the server cannot be fenced'],
  ],
  [
    'fencing removed',
    { cluster: (props) => ({ ...props, fencing: { ...props.fencing, enabled: false } }) },
    ['cluster: fencing is switched off; a node that hangs could write on: switch it on'],
  ],
  [
    'one vote too few',
    { cluster: (props) => ({ ...props, members: props.members.slice(0, 2) }) },
    [
      'cluster: one vote too few: without gw1 1 of 2 votes are left, and a majority is 2; add a member with a vote',
      'cluster: one vote too few: without gw2 1 of 2 votes are left, and a majority is 2; add a member with a vote',
      'cluster: it has no archive server; its vote decides when a gateway is lost',
    ],
  ],
  [
    'two members of one id',
    { cluster: (props) => ({ ...props, ids: { srv1: 2, elsewhere: 9 } }) },
    [
      'cluster: an id is given to elsewhere, which is no member',
      'cluster: gw2 and srv1 both have id 2; give one another in ids',
    ],
  ],
  [
    'a vote that is too heavy',
    { cluster: (props) => ({ ...props, votes: { gw1: 5 } }) },
    ['cluster: one vote too few: without gw1 4 of 9 votes are left, and a majority is 5; add a member with a vote'],
  ],
  [
    'both links of the cluster on one leg',
    { linkPath: 'leg-a' },
    ['cluster: links cluster-a and cluster-b both go over leg-a; put one on leg-a, the other on leg-b'],
  ],
  [
    'a leg without a tag',
    { linkVlan: false },
    [
      'network cluster-b: it is untagged on leg-b, which belongs to a bond; give it a vlan',
      'network cluster-b: vlan none (untagged) is that of network lan; every network has a tag of its own',
    ],
  ],
  [
    'a duplicate address',
    machine('srv2', { lan: 14 }),
    ['server srv2: address 10.1.0.14 is that of server srv1; every address is given once'],
  ],
  [
    'a server with the address of the virtual one',
    machine('srv2', { lan: 1 }),
    ['server srv2: address 10.1.0.1 is that of virtual address internal; every address is given once'],
  ],
  ['one gateway', without('gw2'), ['site test: it has 1 gateway server; it needs two, so that one can take over']],
  [
    'no archive server',
    without('arc1'),
    [
      'site test: it has 0 archive servers; it needs one, the third vote',
      'cluster: it has no archive server; its vote decides when a gateway is lost',
    ],
  ],
  [
    'tg on one server',
    { tgOn: ['srv1'] },
    ['tg: it runs on srv1 alone; run it on two servers or more, so that one may fail'],
  ],
  [
    'more tg than there are ports',
    { tgEach: 60 },
    ["tg: instance 120 has port 7129, which is among the devices' ports; run fewer than 90"],
  ],
  ['two in one unit', machine('srv2', { unit: 5 }), ['srv2: unit 5 of rack rack1 is taken by srv1']],
  ['higher than the rack', machine('srv2', { unit: 11 }), ['srv2: unit 11 is not in rack rack1, which has 10']],
  [
    'one place given twice',
    machine('srv2', { place: 4, links: ['a', 'b'] }),
    [
      'eth0 of server srv2: mac 02:00:00:00:04:00 is that of eth0 of server srv1; it is read off the card',
      'eth0 of server srv2: port 4 of sw-a is that of eth0 of server srv1; a port takes one cable',
      'psu1 of srv2: outlet 4 of pdu-a is that of psu1 of srv1; an outlet takes one cord',
      'bmc of server srv2: address 10.1.3.104 is that of bmc of server srv1; every address is given once',
      'bmc of server srv2: port 24 of sw-a is that of bmc of server srv1; a port takes one cable',
      'eth1 of server srv2: mac 02:00:00:00:04:01 is that of eth1 of server srv1; it is read off the card',
      'eth1 of server srv2: port 14 of sw-b is that of eth1 of server srv1; a port takes one cable',
      'psu2 of srv2: outlet 12 of pdu-b is that of psu2 of srv1; an outlet takes one cord',
      'server srv2: address 10.1.1.14 is that of server srv1; every address is given once',
      'server srv2: address 10.1.2.14 is that of server srv1; every address is given once',
      'server srv2: address 10.1.3.14 is that of server srv1; every address is given once',
    ],
  ],
  [
    'both switches on one feed',
    { switchPdus: ['a', 'a'] },
    ['rack rack1: both switches hang on feed A alone; put them on different feeds'],
  ],
  [
    'no cable between the switches',
    { trunk: false },
    ['switch sw-b: no trunk leads to it from sw-a; servers that use different legs would not reach each other'],
  ],
  ['a router of another network', { router: '10.9.9.9' }, ['network external: router 10.9.9.9 is not in 192.0.2.0/24']],
  [
    'a wrong entry of the block set, and no limit',
    { firewall: { block: ['1.2.3'], conntrack_max: 0 } },
    [
      'firewall: block has "1.2.3", which is neither an address nor a network',
      'firewall: conntrack_max is 0; it must be 1 or more',
    ],
  ],
  [
    'channels in the wrong place',
    {
      channels: [
        { name: 'one', protocol: 'wialon', port: 7_005, policy: 'open' },
        { name: 'two', protocol: 'wialon', port: 7_005, policy: 'open' },
        { name: 'three', protocol: 'wialon', port: 9_000, policy: 'open' },
      ],
    },
    [
      "channel one: port 7005 is among the services' ports; use 7100 or above",
      'channel two: port 7005 is that of channel one',
      "channel two: port 7005 is among the services' ports; use 7100 or above",
      "channel three: port 9000 is not among the devices' ports, 7100 to 7999",
    ],
  ],
]

for (const [name, change, expected] of broken)
  test(`found and named: ${name}`, (t) => {
    const found = findingsOf(siteWith(change))
    t.deepEqual(found.toSorted(), expected.toSorted())
    t.throws(() => planOf(siteWith(change)), { instanceOf: SiteError })
  })

test('all findings are reported together', (t) => {
  const site = siteWith({ ...machine('gw1', { bmc: false, supplies: ['a', 'a'] }), trunk: false })
  const error = t.throws(() => planOf(site), { instanceOf: SiteError })
  t.is(error?.findings.length, 3)
})

test('what cannot be is refused where it is written', (t) => {
  const site = new Site('odd')
  const rack = new Rack(site, 'rack1', { units: 10, position: '' })
  const lan = new Network(site, 'lan', { cidr: '10.0.0.0/24' })
  const refused = (make: () => unknown, message: RegExp) => t.throws(make, { message })
  refused(
    () => new Server(rack, 'x1', { role: 'database' as Role, unit: 1, addresses: [] }),
    /^server x1: there is no role "database"; the roles are gateway, archive, server$/,
  )
  refused(() => new Server(rack, 'X 1', { role: 'server', unit: 1, addresses: [] }), /the name is its host name/)
  refused(() => new Network(site, 'other', { cidr: '10.0.0.1/24' }), /"10.0.0.1\/24" is not a network of IPv4/)
  refused(() => new Network(site, 'third', { cidr: '10.3.0.0/24', vlan: 5_000 }), /vlan 5000 is not between 1 and 4094/)
  refused(() => lan.address(255), /has no host number 255/)
  refused(() => new Switch(rack, 'sw', { side: 'a', unit: 1, ports: 8 }).port(9), /there is no port 9; it has 8/)
  refused(() => new Site('Bad name'), /lower-case letters/)
})
