import test from 'ava'
import { planOf } from '../site/plan-of.ts'
import { metal } from '../sites/metal.ts'
import { drawRacks } from './drawing.ts'

const plan = planOf(metal)

test('every part of the racks is drawn, once', (t) => {
  const picture = drawRacks(plan)
  const times = (text: string) => picture.split(`>${text}<`).length - 1
  for (const { name } of plan.servers) t.is(times(name), 1, name)
  for (const { name, switches, pdus } of plan.racks) {
    t.is(times(`Rack ${name}`), 1)
    for (const device of switches) t.is(times(device.name), 1)
    for (const pdu of pdus) t.is(times(`${pdu.name} · feed ${pdu.feed}`), 1)
  }
  // A dashed cable a BMC's path, and one in the legend.
  const paths = plan.servers.reduce((sum, { bmc }) => sum + bmc.paths.length, 0)
  t.is(picture.split('stroke-dasharray').length - 1, paths + 1)
})

test('names are text, whatever is in them', (t) => {
  const odd = structuredClone(plan) as unknown as { racks: { position: string }[] }
  odd.racks[0]!.position = 'room <1> & "2"'
  const picture = drawRacks(odd as unknown as typeof plan)
  t.true(picture.includes('room &#60;1&#62; &#38; &#34;2&#34;'))
})
