/** What physically remains of site lab, and who still sees whom: the part of the proof that needs no scheduler. */
import test from 'ava'
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { elementsOf } from '#pacemaker/proof/elements.ts'
import { membershipsOf } from '#pacemaker/proof/membership.ts'
import { Remains } from '#pacemaker/proof/physics.ts'

const plan = planOf(lab)
const without = (...ids: string[]) => {
  const known = new Set(elementsOf(plan, 'gw1').map(({ id }) => id))
  for (const id of ids) if (!known.has(id)) throw new Error(`there is no element "${id}"`)
  return new Remains(plan, new Set(ids))
}
const members = (...ids: string[]) => membershipsOf(plan, without(...ids), []).map((one) => one.members.join(' '))

test('a feed takes its switch along, and no server', (t) => {
  const remains = without('feed A')
  t.false(remains.switchUp('sw-a'))
  t.true(plan.servers.every(({ name }) => remains.serverUp(name)))
  t.true(remains.reach('lan', 'gw1', 'srv2'))
  t.true(remains.outside('gw1'))
})

test('a server without power tells why', (t) => {
  t.is(without('supply gw1/psu1', 'PDU pdu-b').whyDown('gw1'), 'gw1 has no power: psu1 and psu2 are dead')
  t.is(without('drive gw1/0', 'drive gw1/1').whyDown('gw1'), 'gw1 has lost both drives of its mirror')
  t.is(without('drive gw1/0').whyDown('gw1'), null)
})

test('a bond uses its other leg, over the trunk', (t) => {
  t.true(without('cable gw1/eth0').reach('lan', 'gw1', 'srv1'))
  t.false(without('cable gw1/eth0', 'trunk sw-a–sw-b').reach('lan', 'gw1', 'srv1'))
})

test('a BMC answers while the server has power and its cable lies', (t) => {
  const address = '10.77.40.111'
  t.is(without('server gw1').whyNoBmc('gw2', 'gw1', address), null)
  t.is(without('switch sw-b').whyNoBmc('gw2', 'gw1', address), "gw1's BMC hangs on sw-b alone")
  t.is(without('supply gw1/psu1', 'supply gw1/psu2').whyNoBmc('gw2', 'gw1', address), "gw1's BMC has no power either")
})

test('two nodes that see each other on no link are never members together', (t) => {
  t.deepEqual(members(), ['gw1 gw2 arc1 srv1 srv2'])
  t.deepEqual(members('switch sw-a'), ['gw1 gw2 arc1 srv1 srv2'])
  t.deepEqual(members('cable gw1/eth0', 'cable gw2/eth1'), ['gw2 arc1 srv1 srv2', 'gw1 arc1 srv1 srv2'])
  t.deepEqual(members('cable gw1/eth0', 'cable gw1/eth1'), ['gw2 arc1 srv1 srv2'])
  t.deepEqual(members('switch sw-a', 'switch sw-b'), [''])
})
