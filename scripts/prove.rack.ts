/** The proof finds what is wrong with models that are broken on purpose. Needs crm_simulate. */
import test from 'ava'
import type { Plan } from '#infra/site/plan.ts'
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { type PromiseName, promises } from '#pacemaker/proof/promises.ts'
import { judgeSets, type Proof, prove } from '#pacemaker/proof/proof.ts'
import { brokenSingles } from '#pacemaker/proof/report.ts'

type Mutable<T> = { -readonly [K in keyof T]: Mutable<T[K]> }

/** The lab's plan with a change. */
function changed(change: (plan: Mutable<Plan>) => void): Plan {
  const plan = structuredClone(planOf(lab)) as Mutable<Plan>
  change(plan)
  return plan as Plan
}

const single = { double: false }
const server = (plan: Mutable<Plan>, name: string) => plan.servers.find((one) => one.name === name)!

/** Reasons of what one fault breaks: `feed A: other servers: …`. */
const broken = (proof: Proof): string[] =>
  brokenSingles(proof).flatMap(({ failed, judgements }) =>
    promises.flatMap((name: PromiseName) =>
      judgements[name].state === 'broken' ? [`${failed[0]!.id}: ${name}: ${judgements[name].reason}`] : [],
    ),
  )

test.serial('both power supplies on one feed are found', async (t) => {
  const proof = await prove(
    changed((plan) => {
      const { power } = server(plan, 'gw1')
      power[1] = { ...power[1]!, pdu: 'pdu-a', outlet: 7, feed: 'A' }
    }),
    single,
  )
  t.true(broken(proof).includes('feed A: servers: gw1 has no power: psu1 and psu2 both hang on feed A'))
})

test.serial('both cables on one switch are found', async (t) => {
  const proof = await prove(
    changed((plan) => {
      server(plan, 'srv2').nics[1]!.link = { switch: 'sw-a', port: 20 }
    }),
    single,
  )
  t.deepEqual(broken(proof).slice(0, 1), ['feed A: servers: srv2 is cut off: eth0 and eth1 both go to switch sw-a'])
  t.true(broken(proof).includes('switch sw-a: servers: srv2 is cut off: eth0 and eth1 both go to switch sw-a'))
})

test.serial('fencing that is not there is found', async (t) => {
  const proof = await prove(
    changed(({ cluster: { fencing } }) => {
      fencing.devices = fencing.devices.filter(({ node }) => node !== 'gw1')
      fencing.levels = fencing.levels.filter(({ node }) => node !== 'gw1')
    }),
    single,
  )
  t.true(
    broken(proof).includes(
      'server gw1: devices in: gw1 has failed and cannot be fenced (gw1 has no fencing device): its addresses wait',
    ),
  )
})

test.serial('one vote too few is found', async (t) => {
  const proof = await prove(
    changed(({ cluster }) => {
      // Two gateways that vote and nobody else.
      cluster.nodes = cluster.nodes.filter(({ role }) => role !== 'server')
      for (const node of cluster.nodes) node.votes = node.role === 'gateway' ? 1 : 0
      cluster.quorum = { ...cluster.quorum, expected_votes: 2, majority: 2 }
      cluster.fencing.devices = cluster.fencing.devices.filter(({ node }) => !node.startsWith('srv'))
      cluster.fencing.levels = cluster.fencing.levels.filter(({ node }) => !node.startsWith('srv'))
    }),
    single,
  )
  t.true(broken(proof).includes('server gw2: devices in: no quorum: 1 of 2 votes see each other, 2 are needed'))
})

test.serial('a process that runs once is found', async (t) => {
  const proof = await prove(
    changed(({ environment, distribution }) => {
      environment.instances = environment.instances.filter(({ instance }) => instance !== 'prod-2')
      for (const service of distribution.services)
        service.targets = service.targets.filter(({ instances }) => !instances.includes('prod-2'))
    }),
    single,
  )
  t.true(broken(proof).some((line) => line.startsWith('process prod-1: REST in: no prod is left')))
})

test.serial('pairs tell their reasons', async (t) => {
  const pairs = [
    ['supply gw1/psu1', 'supply gw1/psu2'],
    ['server gw1', 'BMC gw1'],
    ['server gw1', 'server gw2'],
    ['server srv1', 'server srv2'],
    ['drive gw1/0', 'drive gw2/0'],
    ['process mdb-1', 'switch sw-a'],
  ]
  const { cases } = await judgeSets(planOf(lab), undefined, (elements) =>
    pairs.map((ids) => ids.map((id) => elements.find((one) => one.id === id)!)),
  )
  t.deepEqual(
    cases.map(({ judgements }) => judgements['devices in'].reason),
    [
      "gw1 has no power: psu1 and psu2 are dead and cannot be fenced (gw1's BMC has no power either): its addresses wait",
      "gw1 has failed and cannot be fenced (gw1's BMC has failed): its addresses wait",
      'no gateway serves: gw1 has failed; gw2 has failed',
      'no tg is left: srv1 has failed, srv2 has failed',
      '',
      '',
    ],
  )
  t.is(
    cases.at(-1)!.judgements['messages stored'].reason,
    "waits for MDB's own high availability: it runs on srv1 alone, and mdb-1 has failed",
  )
})
