import test from 'ava'
import { partsOf } from '#ansible/inventory-hardware.ts'
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { metal } from '#infra/sites/metal.ts'
import { type Alert, type Answer, answerOf, overviewOf, type Told } from './hardware.ts'

const plan = planOf(metal)
const now = 1_800_000_000
const told = (index: number, alerts: readonly Alert[] = [], more: Partial<Told> = {}): Told => ({
  parts: Object.fromEntries(
    Object.entries(partsOf(plan, plan.servers[index]!)).map(([name, part]) => [
      name,
      { ...part, is: 'well', alerts: alerts.filter((alert) => alert.part === name) },
    ]),
  ),
  waiting: 0,
  running: true,
  ...more,
})
const answers = (...changed: (readonly [number, Answer])[]) =>
  new Map(plan.servers.map(({ name }, index) => [name, changed.find(([at]) => at === index)?.[1] ?? told(index)]))
const look = (all: ReadonlyMap<string, Answer>) => overviewOf(plan.servers, all, now * 1_000)

test('every part has its place, as the site says', (t) => {
  const parts = partsOf(plan, plan.servers[0]!)
  const [drive] = plan.servers[0]!.drives
  t.deepEqual(parts[drive!.serial], { kind: 'drive', where: 'bay 0', place: { bay: 0 } })
  t.regex(parts.psu2!.where, /^outlet \d+ of \S+, feed B/)
  t.regex(parts['bmc-2']!.where, /^port \d+ of switch \S+, address /)
  t.truthy(parts.watchdog)
  // What the machine delivers ready-made has no parts of ours.
  const own = partsOf(planOf(lab), planOf(lab).servers[0]!)
  t.deepEqual(Object.keys(own), ['psu1', 'psu2', 'bond0', 'eth0', 'eth1', 'bmc', 'system'])
})

test('nothing is wrong: one line a server', (t) => {
  const { lines, wrong } = look(answers())
  t.is(wrong, 0)
  t.is(lines.length, plan.servers.length + 5)
  t.regex(lines[1]!, /^gw1 +r1 \d+ +●psu1 ●psu2 +●eth0 ●eth1 +●0 ●1 +● +● ● +● +●$/)
  t.true(lines.includes('nothing is wrong'))
  t.true(Math.max(...lines.map(({ length }) => length)) <= 80)
})

test('what is wrong is marked, and said with its place, the worst first', (t) => {
  const alert = (part: string, severity: Alert['severity'], ago_s: number): Alert => ({
    ...{ part, severity, since: now - ago_s },
    words: `${part} is broken`,
    where: part === 'psu2' ? 'outlet 3 of r1-pdu-b, feed B' : '',
  })
  const alerts = [alert('system', 'warning', 60), alert('psu2', 'critical', 7_200)]
  const silent = told(2, [], { running: false, waiting: 3 })
  const { lines, wrong } = look(answers([0, told(0, alerts)], [1, 'it does not answer: timed out'], [2, silent]))
  t.is(wrong, 5)
  t.regex(lines[1]!, /●psu1 ✕psu2 +●eth0 ●eth1 .* ! +●$/)
  t.regex(lines[2]!, /^srv1 +r1 \d+ +\? +\? +\?/)
  const said = lines.filter((line) => line.includes('(rack')).map((line) => line.replace(/ \(rack.*?\)/, ''))
  t.deepEqual(said.slice(0, 3), [
    'gw1: psu2 is broken, since 2.0 h; look at outlet 3 of r1-pdu-b, feed B',
    'gw1: system is broken, since 1 min',
    'srv1: it does not answer: timed out',
  ])
  t.regex(said[3]!, /nobody tells of alerts/)
  t.regex(said[4]!, /3 events wait for MBUS/)
})

test('a server that is not reached, or not deployed, says why', (t) => {
  t.is(
    answerOf({ code: 255, out: '', error: 'ssh: connect: No route to host' }),
    'it does not answer: ssh: connect: No route to host',
  )
  const missing = { code: 127, out: 'inactive', error: 'sh: milepost-alerts: not found' }
  t.is(answerOf(missing), 'it does not know how it is: sh: milepost-alerts: not found; is it deployed?')
  const answer = answerOf({ code: 1, out: 'failed\n{"parts":{},"waiting":2}', error: '' })
  t.deepEqual(answer, { parts: {}, waiting: 2, running: false })
})
