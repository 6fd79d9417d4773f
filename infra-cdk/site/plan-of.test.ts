import test from 'ava'
import { lab } from '../sites/lab.ts'
import { planOf } from './plan-of.ts'

test('the lab has a plan, the same each time', (t) => {
  const plan = planOf(lab)
  t.is(JSON.stringify(planOf(lab)), JSON.stringify(plan))
  t.deepEqual(
    plan.servers.map(({ name, role }) => `${name} ${role}`),
    ['gw1 gateway', 'gw2 gateway', 'arc1 archive', 'srv1 server', 'srv2 server'],
  )
  t.is(plan.cluster.quorum.majority, 3)
  t.deepEqual(
    plan.virtual_addresses.map(({ name, device }) => [name, device]),
    [
      ['external', 'bond0.20'],
      ['internal', 'bond0'],
    ],
  )
})

test('services find each other at the internal address where that is distributed, else at their host', (t) => {
  const { urls } = planOf(lab).environment
  t.is(urls.prod, 'http://10.77.10.1:7000')
  t.is(urls.mdb, 'http://10.77.10.31:7005')
  t.is(urls.archive, 'http://10.77.10.21:7008')
  t.is(urls.tg.length, 4)
})
