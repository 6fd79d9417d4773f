import test from 'ava'
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { metal } from '#infra/sites/metal.ts'
import { partOf } from '../lab/parts.ts'
import { wiringOf } from '../lab/wiring.ts'
import { alertsOfFeed, differences, isNews } from './alerts.ts'
import { brokenLinks, clusterView } from './cluster.ts'
import { drills, drillsNamed } from './drills.ts'
import { compare, percentile, ratesOf, silencesOf } from './measure.ts'
import { plotOf } from './plot.ts'
import { reportText } from './report.ts'
import type { DrillResult } from './run.ts'

test('a silence is the longest pause of all, and of each connection; one that goes on counts', (t) => {
  const acknowledgements = [
    [900, 1000, 1100, 4000],
    [1050, 3000],
  ]
  t.deepEqual(silencesOf(acknowledgements, 1000, 4100), { fleet_ms: 1900, connection_ms: [2900, 1950] })
  t.deepEqual(silencesOf(acknowledgements, 1000, 9000), { fleet_ms: 5000, connection_ms: [5000, 6000] })
  t.deepEqual(silencesOf([[]], 0, 500), { fleet_ms: 500, connection_ms: [500] })
})

test('percentiles, and rates of a slice of time', (t) => {
  t.is(percentile([5, 1, 3, 2, 4], 0.5), 3)
  t.is(percentile([1, 2], 0.95), 2)
  t.is(percentile([], 0.5), 0)
  t.deepEqual(ratesOf([[0, 50, 100], [250]], 0, 300, 100), [2, 1, 1])
})

test('what was acknowledged and is not stored is lost; what is stored twice is doubled', (t) => {
  const ledger = new Set(['a 1', 'a 2', 'b 1'])
  t.deepEqual(compare(ledger, ['a 1', 'b 1', 'b 1', 'b 2']), { acknowledged: 3, stored: 3, lost: 1, doubled: 1 })
})

test('the cluster’s own words: nodes, resources, links', (t) => {
  const view = clusterView(`<pacemaker-result>
    <summary><current_dc present="true" version="2.1.5" name="gw1" id="1" with_quorum="true"/></summary>
    <nodes>
      <node name="gw1" id="1" online="true" standby="false" standby_onfail="false" maintenance="false" pending="false" unclean="false" shutdown="false" expected_up="true" is_dc="true" resources_running="5" type="member"/>
      <node name="gw2" id="2" online="false" standby="false" pending="false" unclean="true" shutdown="false" type="member"/>
    </nodes>
    <resources>
      <clone id="rules-clone" multi_state="false">
        <resource id="rules" resource_agent="ocf:milepost:gateway" role="Started" active="true" failed="false" nodes_running_on="1"><node name="gw1" id="1" cached="true"/></resource>
        <resource id="rules" resource_agent="ocf:milepost:gateway" role="Stopped" active="false" failed="false" nodes_running_on="0"/>
      </clone>
    </resources></pacemaker-result>`)
  t.true(view.quorum)
  t.deepEqual(view.nodes, [
    { name: 'gw1', online: true, well: true },
    { name: 'gw2', online: false, well: false },
  ])
  t.deepEqual(
    view.resources.map(({ id, role, nodes }) => [id, role, nodes.join()]),
    [
      ['rules', 'Started', 'gw1'],
      ['rules', 'Stopped', ''],
    ],
  )
  const text =
    'LINK ID 0 udp\n\tstatus:\n\t\tnodeid:          1:\tlocalhost\n\t\tnodeid:          2:\tconnected\n\t\tnodeid:          3:\tdisconnected\n'
  t.deepEqual(brokenLinks(text), ['3'])
})

test('every drill breaks parts that the rack has', async (t) => {
  const plan = planOf(lab)
  const wiring = wiringOf(plan)
  t.is(new Set(drills.map(({ name }) => name)).size, drills.length)
  t.deepEqual(drillsNamed(['all']), [...drills])
  t.throws(() => drillsNamed(['flood']), { message: /no drill "flood"; there are gateway, cable/ })
  for (const feed of plan.feeds) t.is(partOf(wiring, `feed:${feed.name}`).kind, 'feed')
  for (const server of plan.servers) t.is(partOf(wiring, `${server.name}:${server.bond.primary}`).kind, 'cable')
})

const result = (silence_ms: number, faults: string[] = []): DrillResult => ({
  drill: drills[0]!,
  active: 'gw1',
  outage_ms: silence_ms - 500,
  silence_ms,
  rest_ms: silence_ms + 250,
  connection_p50_ms: silence_ms,
  connection_max_ms: silence_ms * 2,
  devices: 2,
  kept: 2,
  comparison: { acknowledged: 10, stored: 10, lost: 0, doubled: 0 },
  redundant_ms: 9_000,
  faults,
  acknowledgements: [
    [1000, 1500, 5000],
    [1200, 4900],
  ],
  from: 1000,
  to: 6000,
  marks: [{ at: 1600, label: 'strike <1>' }],
})

test('the report has a line a drill, and the distribution of what was repeated', (t) => {
  const text = reportText([result(1_000), result(3_500, ['3.50 s of silence, 3 s are allowed'])])
  t.regex(text, /gateway +ok +0\.50 +1\.00 +1\.25 +1\.00 +2\.00 +2\/2 +10 +0 +0 +9\.00/)
  t.regex(text, /gateway +FAILED +3\.00 +3\.50.*3\.50 s of silence/)
  t.regex(text, /gateway +2 +1 +0\.50 +3\.00 +3\.00 +1\.00 +3\.50 +3\.50 +1\.25 +3\.75 +20 +0/)
  t.false(reportText([result(1_000)]).includes('p95'))
})

test('the plot draws each silence of a connection and names what happened', (t) => {
  const svg = plotOf({ ...result(1_000), title: 'a & b' })
  t.true(svg.includes('a &amp; b'))
  t.true(svg.includes('strike &lt;1&gt;'))
  // Two pauses of more than a second of the first device, two of the second with its end.
  t.is([...svg.matchAll(/<line x1="[\d.]+" x2="[\d.]+" y1="[\d.]+" y2="[\d.]+"\/>/g)].length - 1, 4)
})

test('a feed takes its supplies, its switch, and what is plugged into that; each is told of with its place', (t) => {
  const wanted = alertsOfFeed(planOf(lab), 'A')
  t.deepEqual(wanted.slice(0, 4), [
    'gw1 eth0 down, port 1 of switch sw-a',
    'gw1 psu1 no-input, outlet 1 of pdu-a, feed A (the first circuit)',
    'gw2 eth0 down, port 2 of switch sw-a',
    'gw2 bmc silent, port 12 of switch sw-a, address 10.77.40.112',
  ])
  t.is(wanted.length, 10)
  // Switches with a supply on either feed go on.
  const metals = alertsOfFeed(planOf(metal), 'A')
  t.deepEqual(
    metals.map((words) => words.split(',')[0]!.replace(/^\S+ /, '')),
    Array(5).fill('psu1 no-input'),
  )
})

test('an event that comes again is no news, nor is what is told of an alert that began before', (t) => {
  const event = (kind: 'raised' | 'cleared', since: number) => {
    const id = `s/a/down/${since.toFixed(3)}/${kind}`
    return { id, since, event: kind, server: 's', part: 'a', fault: 'down', where: 'w' }
  }
  const heard = [event('raised', 2)]
  t.false(isNews(event('raised', 2), heard, 1_500))
  t.false(isNews(event('cleared', 1), heard, 1_500))
  t.true(isNews(event('cleared', 2), heard, 1_500))
  t.true(isNews(event('raised', 3), heard, 1_500))
})

test('an alert that is missing, told twice, or of something else is named', (t) => {
  const heard = (event: 'raised' | 'cleared', part: string) => {
    return { id: `s/${part}/down/1.000/${event}`, since: 1, event, server: 's', part, fault: 'down', where: 'w' }
  }
  const both = [heard('raised', 'a'), heard('cleared', 'a')]
  t.deepEqual(differences(['s a down, w'], both), [])
  t.deepEqual(differences(['s a down, w'], [heard('raised', 'a'), heard('raised', 'a'), heard('raised', 'b')]), [
    'nobody was told: cleared s a down, w',
    'told 2 times: raised s a down, w',
    'told and not wanted: raised s b down, w',
  ])
})
