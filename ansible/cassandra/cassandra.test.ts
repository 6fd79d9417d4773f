import test from 'ava'
import { parse } from 'yaml'
import { blueprintOf } from '#infra/render/blueprint.ts'
import { renderHost } from '#infra/render/render.ts'
import { findingsOf } from '#infra/site/findings.ts'
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { stepsOf } from '#infra/stacks/steps.ts'
import { inventoryOf, variablesOf } from '../inventory.ts'
import type { Accepted } from '../inventory-firewall.ts'
import type { NodeInstance } from '../inventory-services.ts'
import { siteOn } from './testing.ts'

const hosts = ['srv1', 'srv2', 'arc1']
const plan = planOf(siteOn(hosts))
const of = (name: string) => variablesOf(plan, plan.servers.find((server) => server.name === name)!)
const { cassandra } = plan.environment

test('a site without it knows nothing of it', (t) => {
  const without = planOf(lab)
  t.is(without.environment.cassandra, undefined)
  t.false(JSON.stringify(inventoryOf(without)).includes('cassandra'))
  t.false(stepsOf(without).some(({ name }) => name.includes('cassandra')))
})

test('three nodes or none', (t) => {
  t.deepEqual(findingsOf(siteOn(['srv1', 'srv2'])), [
    'cassandra: 1 on each of 2 servers; three copies need one on each of 3 servers or more',
  ])
})

test('each node has its settings, and MDB is told where they are', (t) => {
  t.deepEqual(cassandra?.nodes.map(({ host }) => host).toSorted(), hosts.toSorted())
  for (const { host, address } of cassandra!.nodes) {
    const files = renderHost(plan, host)
    const settings = parse(files.get('cassandra/cassandra.yaml')!)
    t.is(settings.listen_address, address)
    t.is(settings.native_transport_port, cassandra!.port)
    t.is(settings.seed_provider[0].parameters[0].seeds.split(',').length, 3)
    t.true(files.get('cassandra/java.args')!.includes('-Xmx410m'))
    t.true(blueprintOf(plan, host, () => of(host)).has('cassandra/variables.yml'))
  }
  t.false(renderHost(plan, 'gw1').has('cassandra/cassandra.yaml'))
  const mdb = (of('srv1').node_service_instances as NodeInstance[]).find(({ type }) => type === 'mdb')!
  t.is(mdb.options.store, 'cassandra')
  t.like(of('srv1').node_service_cassandra, { port: cassandra!.port, user: 'mdb', secret: 'services/cassandra' })
  t.false((of('srv1').node_service_instances as NodeInstance[]).some(({ type }) => type === 'cassandra'))
})

test('nodes hear each other, the servers of the site their clients, and nobody else any of it', (t) => {
  const rules = (of('srv1').firewall_accept as Accepted[]).filter(({ name }) => name.startsWith('cassandra'))
  const addresses = (names: (name: string) => boolean) =>
    plan.servers
      .filter(({ name }) => names(name))
      .map(({ interfaces }) => interfaces.find(({ network }) => network === 'lan')!.address)
  t.deepEqual(
    rules.map(({ first, last, sources }) => [first, last, sources.toSorted()]),
    [
      [cassandra!.port, cassandra!.port, addresses(() => true).toSorted()],
      [
        cassandra!.nodes_port,
        cassandra!.nodes_port,
        addresses((name) => name === 'srv2' || name === 'arc1').toSorted(),
      ],
    ],
  )
})

test('nodes come one after the other, then the accounts, then the services', (t) => {
  const steps = stepsOf(plan)
  const step = (name: string) => steps.find((one) => one.name === name)!
  const nodes = steps.filter(({ playbooks }) => playbooks.includes('cassandra'))
  t.is(nodes.length, 3)
  t.deepEqual(nodes[1]!.after, [nodes[0]!.name])
  t.deepEqual(step('cassandra-accounts').after, [nodes[2]!.name])
  t.true(step('services-srv1').after.includes('cassandra-accounts'))
})

test('the passwords are secrets, and the operator is known to the nodes alone', (t) => {
  const secret = (name: string) => plan.secrets.find((one) => one.name === name)!
  t.deepEqual(secret('cassandra/operator').hosts.toSorted(), hosts.toSorted())
  t.true(secret('services/cassandra').hosts.includes('srv1'))
})
