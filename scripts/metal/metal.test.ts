/** The emulator's pure parts: from the plan of site metal to ports, switches, command lines, and names of parts. */
import test from 'ava'
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { metal } from '#infra/sites/metal.ts'
import { controllerConfiguration } from '../lab/ipmi.ts'
import { defaults, optionsOf } from './options.ts'
import { learnedOf, switchCommands } from './ovs.ts'
import { partOf, partsOf } from './parts.ts'
import { bootIndexes, driveDevices, type Machine, qemuArguments } from './qemu.ts'
import { lastLine } from './server.ts'
import { portsOf, topologyOf } from './topology.ts'

const topology = topologyOf(planOf(metal))
const port = (part: string) => portsOf(topology).find((one) => one.part === part)!

test('ports carry what docs/metal.md asks of real switches', (t) => {
  const networks = (part: string) => ({ untagged: port(part).untagged, tagged: port(part).tagged })
  // A gateway's: lan untagged, external and bmc, and the cluster's network of its side.
  t.deepEqual(networks('gw1/eth0'), { untagged: 1, tagged: [20, 31, 40] })
  t.deepEqual(networks('gw1/eth1'), { untagged: 1, tagged: [20, 32, 40] })
  t.deepEqual(networks('srv2/eth0'), { untagged: 1, tagged: [31, 40] })
  t.deepEqual(networks('srv2/bmc-b'), { untagged: 40, tagged: [] })
  t.deepEqual(networks('outside/up1'), { untagged: 20, tagged: [] })
  t.is(port('srv1/eth1').device, 'r1-sw-b.3')
})

test('the operator has the management addresses, and one among the BMCs that nobody has', (t) => {
  const desk = topology.places.find(({ name }) => name === 'operator')!
  t.deepEqual(
    desk.devices.map(({ name, addresses }) => [name, addresses]),
    [
      ['lan', ['10.20.10.250/24', '10.20.10.251/24']],
      ['bmc', ['10.20.40.254/24']],
    ],
  )
  t.deepEqual(
    desk.legs.map(({ at }) => at.switch),
    ['r1-sw-a', 'r1-sw-b'],
  )
})

test('a site of a laboratory, and a port with two cables, are refused by name', (t) => {
  t.throws(() => topologyOf(planOf(lab)), { message: /^site lab: server gw1 .*npm run lab/ })
  const twice = structuredClone(planOf(metal)) as ReturnType<typeof planOf>
  Object.assign(twice.servers[0]!.nics[0]!.link, twice.servers[1]!.nics[0]!.link)
  t.throws(() => topologyOf(twice), { message: 'port r1-sw-a.3 has two cables: gw1/eth0 and srv1/eth0' })
})

test('trunks are for the spanning tree to look at, all other ports are edges', (t) => {
  const words = switchCommands(topology).join(' ')
  t.regex(words, /add-port r1-sw-a r1-sw-a\.1 vlan_mode=native-untagged tag=1 trunks=1,20,31,40 -- /)
  t.regex(words, /add-port r1-sw-a r1-sw-a\.21 vlan_mode=access tag=40 -- /)
  t.regex(words, /set port r1-sw-a\.48 other_config:rstp-port-admin-edge=false/)
  t.regex(words, /set port r1-sw-a\.1 other_config:rstp-port-admin-edge=true/)
  t.regex(words, /set interface r1-sw-a\.48 ofport_request=48/)
  t.regex(words, /add-bond desk desk-bond desk\.leg0 desk\.leg1 bond_mode=active-backup/)
  const priorities = [...words.matchAll(/set bridge (\S+) .*?rstp-priority=(\d+)/g)].map(([, name, value]) => [
    name,
    Number(value),
  ])
  t.deepEqual(
    priorities.toSorted((a, b) => Number(a[1]) - Number(b[1])).map(([name]) => name),
    ['r1-sw-a', 'r2-sw-a', 'r1-sw-b', 'r2-sw-b'],
  )
})

test('what a switch has learned is read', (t) => {
  const text =
    ' port  VLAN  MAC                Age\n    3     1  3c:ec:ef:00:04:a0    7\nLOCAL     0  aa:bb:cc:dd:ee:ff    1\n'
  t.deepEqual(learnedOf(text), [{ port: 3, network: 1, mac: '3c:ec:ef:00:04:a0', age_s: 7 }])
})

const machine: Machine = {
  site: 'metal',
  name: 'srv1',
  nics: [
    { name: 'eth0', mac: '3c:ec:ef:00:04:a0', tap: 'r1-sw-a.3' },
    { name: 'eth1', mac: '3c:ec:ef:00:04:a1', tap: 'r1-sw-b.3' },
  ],
  drives: [
    { bay: 0, serial: 'A', file: '/d/a, b.raw' },
    { bay: 1, serial: 'B', file: '/d/b.raw' },
  ],
  qmp: '/s/qmp.sock',
  console: '/s/console.sock',
  consoleLog: '/s/console.log',
  system: '/s/bmc.sock',
  uefi: undefined,
  boot: 'default',
}

test('a server is two drives on one controller, two cards, a console and a way to its BMC', (t) => {
  const args = qemuArguments(machine, defaults)
  const text = args.join(' ')
  t.true(args.includes('scsi-hd,id=disk1,bus=scsi.0,scsi-id=0,drive=disk1-boot,serial=A,bootindex=0'))
  t.true(args.includes('scsi-hd,id=disk2,bus=scsi.0,scsi-id=1,drive=disk2-boot,serial=B,bootindex=1'))
  t.true(args.includes('tap,id=eth0,ifname=r1-sw-a.3,script=no,downscript=no,vnet_hdr=off'))
  t.true(args.includes('virtio-net-pci,id=nic-eth1,netdev=eth1,mac=3c:ec:ef:00:04:a1,addr=5,bootindex=3'))
  t.true(args.includes('ipmi-bmc-extern,id=bmc0,chardev=bmc'))
  t.regex(text, /"filename":"\/d\/a, b\.raw"/)
  t.regex(text, /-machine q35,graphics=off -accel tcg,thread=multi,tb-size=256 -cpu qemu64,-svm -smp 1 -m 2048/)
  t.false(text.includes('pflash'))
  const uefi = qemuArguments({ ...machine, uefi: { code: '/c', variables: '/v,1' } }, { ...defaults, accel: 'kvm' })
  t.true(uefi.includes('if=pflash,format=raw,file=/v,,1'))
  t.true(uefi.join(' ').includes('-accel kvm -cpu host'))
})

test('a drive that is out is no device, and the order follows where the start is from', (t) => {
  const args = qemuArguments({ ...machine, drives: machine.drives.slice(1) }, defaults).join(' ')
  t.false(args.includes('id=disk1,'))
  const order = (boot: Machine['boot']) => {
    const { nic, drive } = bootIndexes({ ...machine, boot })
    return [nic(0), nic(1), drive(0), drive(1)]
  }
  t.deepEqual(order('default'), [2, 3, 0, 1])
  t.deepEqual(order('pxe'), [0, 1, 2, 3])
  t.deepEqual(order('disk'), [undefined, undefined, 0, 1])
  const { file, format, device } = driveDevices(machine.drives[1]!, 'plug7', 101)
  t.is(format.file, file['node-name'])
  t.is(device.drive, format['node-name'])
})

test('the BMC answers on both of its addresses, and the server reaches it from inside', (t) => {
  const { bmc } = topology.servers.find(({ plan }) => plan.name === 'srv1')!.plan
  const text = controllerConfiguration({
    server: 'srv1',
    user: bmc.user,
    password: 'x',
    paths: bmc.paths,
    chassis: '/c',
    system_port: 9_002,
  })
  t.regex(text, /startlan 1\n {4}addr 10\.20\.40\.131 623\n[\s\S]*startlan 2\n {4}addr 10\.20\.40\.181 623\n/)
  t.regex(text, /serial 15 127\.0\.0\.1 9002 codec VM/)
})

test('every part has one name; what is not there is answered with what is', (t) => {
  const names = partsOf(topology).map(({ name }) => name)
  t.is(new Set(names).size, names.length)
  for (const name of [
    'srv1/disk2',
    'srv1/eth0',
    'srv1/bmc-a',
    'srv1/psu1',
    'r1-sw-a',
    'r1-sw-a/psu2',
    'r2-pdu-b',
    'feed/A',
    'outside/up0',
    'r1-sw-a/r1-sw-b',
  ])
    t.is(partOf(topology, name).name, name)
  t.is(partOf(topology, 'srv1:eth0').name, 'srv1/eth0')
  t.throws(() => partOf(topology, 'srv1/disk3'), {
    message: /no part "srv1\/disk3"; there are srv1\/disk1, srv1\/disk2, srv1\/eth0/,
  })
})

test('an option that cannot be is refused by name', (t) => {
  t.is(optionsOf({ 'memory-mb': '512' }).memory_mb, 512)
  t.throws(() => optionsOf({ 'drive-gb': '0' }), { message: '--drive-gb 0: a whole number from 1 to 2000' })
  t.throws(() => optionsOf({ firmware: 'coreboot' }), { message: '--firmware coreboot: one of bios, uefi' })
})

test('the last line of a console is words alone', (t) => {
  t.is(lastLine('a\r\n\x1b[0;1mDebian GNU/Linux\x1b[0m\r\n\r\nsrv1 login: \x1b[6n'), 'srv1 login:')
  t.is(lastLine(''), '')
})
