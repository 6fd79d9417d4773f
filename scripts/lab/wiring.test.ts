import test from 'ava'
import type { Plan } from '#infra/site/plan.ts'
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { partOf, partsOf } from './parts.ts'
import { sshConfig } from './ssh.ts'
import { derivedMac, machinesOf, memberName, portName, wiringOf } from './wiring.ts'

const plan = planOf(lab)
const wiring = wiringOf(plan)
const changed = (change: (copy: Plan) => unknown): Plan => {
  const copy = structuredClone(plan)
  change(copy)
  return copy
}
// A plan is read-only for its readers; a test bends a copy of it.
type Loose<T> = { -readonly [K in keyof T]: Loose<T[K]> }
const loose = (copy: Plan) => copy as unknown as Loose<Plan>

test('every device that the plan names is delivered, on the legs that it names', (t) => {
  for (const { plan: server, machine } of wiring.servers) {
    t.deepEqual(
      machine.legs.map(({ name }) => name),
      server.nics.map(({ name }) => name),
    )
    for (const one of server.interfaces) {
      const device = machine.devices.find(({ name }) => name === one.device)
      t.truthy(device, `${server.name} ${one.device}`)
      t.is(device?.vlan, one.vlan ?? 0)
      t.deepEqual(device?.legs, one.parent === server.bond.name ? server.bond.members : [one.parent])
    }
  }
})

test('each Corosync link rides one switch alone', (t) => {
  const switchesOf = (network: string) =>
    new Set(
      wiring.servers.flatMap(({ plan: server, machine }) => {
        const found = server.interfaces.find((one) => one.network === network)
        const device = machine.devices.find(({ name }) => name === found?.device)
        return (device?.legs ?? []).map((leg) => machine.legs.find(({ name }) => name === leg)?.port.switch)
      }),
    )
  t.deepEqual(
    plan.cluster.links.map((link) => [...switchesOf(link)].length),
    [1, 1],
  )
  t.not([...switchesOf(plan.cluster.links[0]!)][0], [...switchesOf(plan.cluster.links[1]!)][0])
})

test('a device on one leg is called as the plan says, a leg of a bond after its NIC and tag', (t) => {
  const { devices } = wiring.servers[0]!.machine
  const named = (name: string) => devices.find((device) => device.name === name)!
  t.is(memberName(named('eth0.31'), 'eth0'), 'eth0.31')
  t.is(memberName(named('bond0.20'), 'eth1'), 'eth1.20')
  t.is(memberName(named('bond0'), 'eth1'), 'eth1')
  t.is(portName(3, 0), 'p3')
  t.is(portName(3, 31), 'p3.31')
})

test('the desk is at the management address, at nobody else’s port', (t) => {
  const { legs, devices } = wiring.operator
  t.deepEqual(devices[0]?.addresses, ['10.77.10.250/24'])
  t.deepEqual(
    legs.map(({ port }) => port),
    [
      { switch: 'sw-a', port: 25 },
      { switch: 'sw-b', port: 25 },
    ],
  )
  const elsewhere = wiringOf(changed((copy) => (loose(copy).management.sources = ['192.0.2.0/24'])))
  t.deepEqual(elsewhere.operator.devices[0]?.addresses, ['10.77.10.254/24'])
})

test('addresses of cards are local, stable and different', (t) => {
  const macs = machinesOf(wiring).flatMap(({ legs }) => legs.map(({ mac }) => mac))
  t.is(new Set(macs).size, macs.length)
  for (const mac of macs) t.regex(mac, /^02(:[0-9a-f]{2}){5}$/)
  t.is(derivedMac('x'), derivedMac('x'))
})

test('what cannot be built is refused by name', (t) => {
  const refuse = (change: (copy: Loose<Plan>) => unknown) => () => wiringOf(changed((copy) => change(loose(copy))))
  t.throws(
    refuse((copy) => (copy.servers[0]!.bond.mode = '802.3ad')),
    { message: /gw1.*active-backup, not 802.3ad/ },
  )
  t.throws(
    refuse((copy) => (copy.servers[0]!.bond.managed = true)),
    { message: /gw1.*managed: false/ },
  )
  t.throws(
    refuse((copy) => (copy.servers[1]!.nics[0]!.link = copy.servers[0]!.nics[0]!.link)),
    {
      message: 'sw-a port 1 has two cables: gw1 and gw2',
    },
  )
  t.throws(
    refuse((copy) => (copy.servers[0]!.nics[0]!.link.switch = 'sw-x')),
    { message: /switch "sw-x"/ },
  )
  t.throws(
    refuse((copy) => copy.racks[0]!.switches[0]!.trunks.push({ port: 22, to: { switch: 'sw-b', port: 22 } })),
    { message: /close a loop at sw-a port 22/ },
  )
})

test('every part has a name of its own; an unknown one is answered with those that there are', (t) => {
  const names = partsOf(wiring).map(({ name }) => name)
  t.is(new Set(names).size, names.length)
  for (const name of ['gw1:eth0', 'gw1:bmc', 'gw1:psu1', 'sw-a', 'feed:A', 'outside:up0', 'sw-a:sw-b'])
    t.is(partOf(wiring, name).name, name)
  t.throws(() => partOf(wiring, 'gw9:eth0'), { message: /no part "gw9:eth0"; there are gw1:eth0/ })
})

test('SSH checks the servers’ keys and goes through the desk', (t) => {
  const text = sshConfig(plan)
  for (const { name, access } of plan.servers)
    t.true(text.includes(`Host ${name} ${name}.lab.internal ${access.address}\n`))
  t.regex(text, /StrictHostKeyChecking yes/)
  t.regex(text, /ProxyCommand ip netns exec milepost(\.\w+)?-operator nc %h %p/)
})
