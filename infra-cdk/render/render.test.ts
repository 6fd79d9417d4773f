import test from 'ava'
import { parse } from 'yaml'
import { planOf } from '../site/plan-of.ts'
import { lab } from '../sites/lab.ts'
import { renderInventory, variablesOf } from './inventory.ts'
import { renderSite } from './render.ts'
import { slotsOf } from './slots.ts'

const plan = planOf(lab)

test('rendering twice gives the same bytes', (t) => {
  t.deepEqual([...renderSite(plan)], [...renderSite(planOf(lab))])
})

test('a host finds each of its variables in its own file or a group of its', (t) => {
  const files = renderInventory(plan)
  const read = (path: string) => (parse(files.get(path) ?? '{}') ?? {}) as Record<string, unknown>
  const { all } = read('inventory.yml') as { all: { children: Record<string, { hosts: Record<string, null> }> } }
  for (const server of plan.servers) {
    const groups = Object.keys(all.children).filter((group) => server.name in all.children[group]!.hosts)
    const found = Object.assign(
      {},
      read('group_vars/all.yml'),
      ...groups.map((group) => read(`group_vars/${group}.yml`)),
    )
    const variables = Object.assign(found, read(`host_vars/${server.name}.yml`)) as Record<string, unknown>
    for (const [role, wanted] of Object.entries(variablesOf(plan, server)))
      for (const [name, value] of Object.entries(wanted)) {
        t.true(name.startsWith(`${role}_`))
        t.deepEqual(variables[name], value, `${server.name}: ${name}`)
      }
    t.is(Object.keys(variables).filter((name) => name.startsWith('firewall_')).length > 0, server.role === 'gateway')
  }
})

test('a target that goes moves its own slots alone; one that comes back gets the same ones', (t) => {
  const targets = ['one', 'two', 'three', 'four'].map((host, n) => ({
    host,
    address: `10.0.0.${n + 1}`,
    instances: [host],
    probe_ports: [1],
  }))
  const service = { ...plan.distribution.services[0]!, targets }
  const [found] = slotsOf({ ...plan.distribution, slots: 256, services: [service] }).services
  const share = (address: string) => found!.slots.filter(([first]) => first === address).length
  for (const { address } of targets) t.true(share(address) > 40 && share(address) < 90, `${address}: ${share(address)}`)
  const living = (gone: string) => found!.slots.map((order) => order.find((address) => address !== gone))
  for (const [slot, address] of living('10.0.0.2').entries())
    if (found!.slots[slot]![0] !== '10.0.0.2') t.is(address, found!.slots[slot]![0])
  t.is(new Set(living('10.0.0.2')).size, 3)
})
