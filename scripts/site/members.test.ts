import test from 'ava'
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { movedIds } from './members.ts'

const plan = planOf(lab)
const withIds = (ids: Record<string, number>) => ({
  ...plan,
  cluster: {
    ...plan.cluster,
    nodes: plan.cluster.nodes.filter(({ name }) => name in ids).map((node) => ({ ...node, id: ids[node.name]! })),
  },
})

test('members come and go, those that stay keep their ids', (t) => {
  const before = withIds({ gw1: 1, gw2: 2, arc1: 3, srv1: 4 })
  t.deepEqual(movedIds(before, plan), [])
  t.deepEqual(movedIds(plan, before), [])
  t.deepEqual(movedIds(plan, withIds({ gw1: 1, gw2: 2, arc1: 3, srv2: 4 })), [
    'cluster: srv2 is member 5, and would become 4',
    'a member keeps its id for life: say "ids: { srv2: 5 }" in the site\'s Cluster, and put new members last',
  ])
})
