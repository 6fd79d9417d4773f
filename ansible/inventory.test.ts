import { existsSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { Plan } from '#infra/site/plan.ts'
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { inventoryOf, variablesOf } from './inventory.ts'
import type { Accepted } from './inventory-firewall.ts'
import type { NodeInstance } from './inventory-services.ts'
import { packagesOf } from './release.ts'

const plan = planOf(lab)
const of = (name: string) => variablesOf(plan, plan.servers.find((server) => server.name === name)!)

test('the same plan gives the same inventory, without a secret', (t) => {
  const files = inventoryOf(plan)
  t.deepEqual(inventoryOf(planOf(lab)), files)
  t.deepEqual(Object.keys(files).slice(0, 2), ['inventory.yml', 'group_vars/all.yml'])
  const groups = JSON.parse(files['inventory.yml']!).all.children as Record<string, { hosts: Record<string, unknown> }>
  t.deepEqual(Object.fromEntries(Object.entries(groups).map(([name, { hosts }]) => [name, Object.keys(hosts)])), {
    gateways: ['gw1', 'gw2'],
    archives: ['arc1'],
    servers: ['srv1', 'srv2'],
    cluster: ['gw1', 'gw2', 'arc1', 'srv1', 'srv2'],
    services: ['arc1', 'srv1', 'srv2'],
    postgres: ['srv1'],
  })
})

test('every variable belongs to a role', (t) => {
  for (const { name } of plan.servers)
    for (const variable of Object.keys(of(name)).filter((key) => !/^(ansible|milepost)_/.test(key)))
      t.true(
        existsSync(join(import.meta.dirname, 'roles', roleOf(variable) ?? '-')),
        `${variable}: there is no role that it belongs to`,
      )
})

const roles = [
  'base',
  'network',
  'bond',
  'raid1',
  'power',
  'hardware',
  'firewall',
  'logs',
  'metrics',
  'postgres',
  'node_service',
  'channels',
  'cluster',
  'gateway',
]
const roleOf = (variable: string) => roles.find((role) => variable.startsWith(`${role}_`))

test('a host accepts what others in the plan have to say to it, and nothing else', (t) => {
  const rules = (name: string) =>
    (of(name).firewall_accept as Accepted[]).map(
      ({ protocol, first, last, device, sources }) =>
        `${protocol} ${first === last ? first : `${first}-${last}`} on ${device ?? 'any'} from ${sources.join() || 'any'}`,
    )
  t.deepEqual(rules('arc1'), [
    'tcp 22 on any from 10.77.10.250/32',
    'tcp 9100 on any from 10.77.10.250/32',
    'udp 5405 on eth0.31 from 10.77.31.11,10.77.31.12,10.77.31.31,10.77.31.32',
    'udp 5406 on eth1.32 from 10.77.32.11,10.77.32.12,10.77.32.31,10.77.32.32',
    'tcp 7008 on bond0 from 10.77.10.11,10.77.10.12,10.77.10.21,10.77.10.31,10.77.10.32',
    'tcp 19532 on bond0 from 10.77.10.11,10.77.10.12,10.77.10.31,10.77.10.32',
  ])
  const srv1 = rules('srv1')
  for (const protocol of ['tcp', 'udp']) t.true(srv1.includes(`${protocol} 7100-7999 on bond0 from any`))
  t.true(srv1.some((rule) => rule.startsWith('tcp 7006 on bond0 from 10.77.10.11,')))
  t.false(srv1.some((rule) => rule.includes('7005 on bond0 from any')))
  t.is(of('gw1').firewall_accept, undefined)
})

test('routes lead out through the router on gateways, through the internal address elsewhere', (t) => {
  const routes = (name: string) =>
    (of(name).network_devices as { device: string; gateway: string | null }[])
      .filter(({ gateway }) => gateway !== null)
      .map(({ device, gateway }) => `${device} ${gateway}`)
  t.deepEqual(routes('gw1'), ['bond0.20 172.31.20.1'])
  t.deepEqual(routes('srv1'), ['bond0 10.77.10.1'])
})

test('a managed bond takes the tagged devices of its legs with it', (t) => {
  const managed = structuredClone(plan) as Mutable<Plan>
  for (const server of managed.servers) {
    server.bond.managed = true
    for (const entry of server.interfaces) entry.managed = true
  }
  const vars = variablesOf(managed, managed.servers[3]!)
  t.deepEqual(vars.bond_members, [
    { name: 'eth0', mac: '02:4d:50:00:04:0a', vlans: ['eth0.31'] },
    { name: 'eth1', mac: '02:4d:50:00:04:0b', vlans: ['eth1.32'] },
  ])
  const devices = vars.network_devices as { device: string; vlan: number | null; vlans: string[] }[]
  t.deepEqual(
    devices.map(({ device, vlan }) => [device, vlan]),
    [
      ['bond0', null],
      ['eth0.31', 31],
      ['eth1.32', 32],
      ['bond0.40', 40],
    ],
  )
  t.deepEqual(devices[0]?.vlans, ['bond0.40'])
})

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends object ? Mutable<T[K]> : T[K] }

test('an instance knows its file, its probe and its options', (t) => {
  const found = of('srv1').node_service_instances as NodeInstance[]
  const mbus = found.find(({ type }) => type === 'mbus')!
  t.deepEqual([mbus.file, mbus.port, mbus.probe_port], ['services/mbus/mbus.ts', 7_001, 7_002])
  t.deepEqual(found.find(({ type }) => type === 'tgctl')?.options, { device_ports: [7_100, 7_999], workers: 2 })
  t.false(found.some(({ type }) => type === 'postgres'))
})

test('a release takes what the services need and no tool', (t) => {
  const packages = packagesOf(['fastify', 'lmdb'])
  t.true(packages.includes('node_modules/fastify'))
  t.true(packages.some((path) => path.startsWith('node_modules/@lmdb/lmdb-')))
  t.false(packages.some((path) => /typescript|cdktf|biome/.test(path)))
  t.throws(() => packagesOf(['no-such-package']), { message: /no-such-package.*run npm ci/ })
})

test('a watch is silent by the pace that its timer has', (t) => {
  t.deepEqual(of('srv1').hardware_watches, { power: 30, bond: 15, sel: 60 })
  const slow = structuredClone(plan) as Mutable<Plan>
  slow.host.metrics.interval_s = 60
  slow.servers[3]!.raid.managed = true
  slow.servers[3]!.watchdog = true
  const { hardware_watches } = variablesOf(slow, slow.servers[3]!)
  t.deepEqual(hardware_watches, { power: 120, bond: 60, sel: 240, mirror: 120, smart: 1_800, watchdog: 240 })
})
