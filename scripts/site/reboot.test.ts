import test from 'ava'
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { rebootOrder, stoppedText } from './reboot.ts'

const plan = planOf(lab)

test('the archive node first, then servers, the active gateway last', (t) => {
  t.deepEqual(rebootOrder(plan.servers, 'gw1'), ['arc1', 'srv1', 'srv2', 'gw2', 'gw1'])
  t.deepEqual(rebootOrder(plan.servers, 'gw2'), ['arc1', 'srv1', 'srv2', 'gw1', 'gw2'])
  t.deepEqual(rebootOrder(plan.servers, undefined), ['arc1', 'srv1', 'srv2', 'gw1', 'gw2'])
})

test('one that does not come back is named with its place, and how to go on', (t) => {
  const order = rebootOrder(plan.servers, 'gw1')
  const text = stoppedText(plan, order, 2, 'srv2: Boot: no answer\nfor 900 s')
  t.is(
    text,
    `srv2 (rack rack1, unit 3) was not booted, or is not well after it:
  srv2: Boot: no answer
  for 900 s
Left as they were: gw2, gw1. If srv2 is in standby, nothing that the cluster moves runs there until it is well.
Look at its console, power and cables (BMC 10.77.40.132), mend it, switch it on, then go on with
  npm run site -- reboot lab srv2 gw2 gw1`,
  )
  t.regex(stoppedText(plan, order, 4, 'no'), /^Left as they were: none\./m)
})
