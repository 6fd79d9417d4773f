import test from 'ava'
import { cibXml, corosyncConf } from './index.ts'
import { configurationOf } from './resources.ts'
import { smallest } from './testing.ts'

const configuration = configurationOf(smallest)

test('the same input gives the same bytes', (t) => {
  t.is(cibXml(smallest), cibXml(structuredClone(smallest)))
  t.is(corosyncConf(smallest), corosyncConf(structuredClone(smallest)))
})

test('ids are unique, and each id that is named exists', (t) => {
  const xml = cibXml(smallest)
  const ids = [...xml.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id)
  // Nodes are numbered, all else is named.
  t.is(new Set(ids).size, ids.length)
  for (const [, named] of xml.matchAll(/ (?:rsc|with-rsc|first|then)="([^"]+)"/g)) t.true(ids.includes(named!), named)
})

test('fencing is on, and no node is fenced by itself', (t) => {
  t.is(configuration.properties['stonith-enabled'], true)
  for (const { name, node } of smallest.cluster.fencing.devices)
    t.true(
      configuration.constraints.some(
        (one) =>
          one.kind === 'location' &&
          one.resource === name &&
          one.score === '-INFINITY' &&
          'node' in one.where &&
          one.where.node === node,
      ),
    )
})

test('no password stands in the configuration', (t) => {
  t.regex(cibXml(smallest), /name="password_script" value="cat \/etc\/milepost\/secrets\/bmc\/gw1"/)
  t.notRegex(cibXml(smallest), /name="passw(or)?d"/)
})

test('what the archive node runs is managed there, the archive itself and what servers run are not', (t) => {
  const ids = configuration.resources.map(({ id }) => id)
  t.true(ids.includes('archive-mdb-2'))
  t.false(ids.includes('archive-tg-1'))
  t.false(ids.includes('archive-archive-1'))
})

test('a site without a router outside needs no watch of it', (t) => {
  const without = { ...smallest, networks: smallest.networks.map((network) => ({ ...network, router: null })) }
  t.notRegex(cibXml(without), /router/)
})

test('text is escaped', (t) => {
  const named = { ...smallest, cluster: { ...smallest.cluster, name: 'a<b>&"c"' } }
  t.regex(cibXml(named), /value="a&lt;b&gt;&amp;&quot;c&quot;"/)
})

test('corosync.conf names both links of every member', (t) => {
  const text = corosyncConf(smallest)
  for (const { name, addresses } of smallest.cluster.nodes) {
    t.true(text.includes(`name: ${name}`))
    for (const address of addresses) t.true(text.includes(address))
  }
  t.is([...text.matchAll(/linknumber/g)].length, 2)
})
