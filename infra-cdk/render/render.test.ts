import test from 'ava'
import { planOf } from '../site/plan-of.ts'
import { lab } from '../sites/lab.ts'
import { renderSite } from './render.ts'
import { slotsOf } from './slots.ts'

const plan = planOf(lab)

test('rendering twice gives the same bytes', (t) => {
  t.deepEqual([...renderSite(plan)], [...renderSite(planOf(lab))])
})

test('a target that goes moves its own slots alone; one that comes back gets the same ones', (t) => {
  const targets = ['one', 'two', 'three', 'four'].map((host, n) => ({
    host,
    address: `10.0.0.${n + 1}`,
    instances: [host],
    probe_ports: [1],
  }))
  const service = { ...plan.distribution.services[0]!, targets }
  const [found] = slotsOf({ ...plan, distribution: { ...plan.distribution, slots: 256, services: [service] } }).services
  const share = (address: string) => found!.slots.filter(([first]) => first === address).length
  for (const { address } of targets) t.true(share(address) > 40 && share(address) < 90, `${address}: ${share(address)}`)
  const living = (gone: string) => found!.slots.map((order) => order.find((address) => address !== gone))
  for (const [slot, address] of living('10.0.0.2').entries())
    if (found!.slots[slot]![0] !== '10.0.0.2') t.is(address, found!.slots[slot]![0])
  t.is(new Set(living('10.0.0.2')).size, 3)
})
