import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { parse } from 'yaml'
import { fetchJars, jars, parseJars } from '#ansible/cassandra/jars.ts'
import { type CassandraNode, cassandra_ports, cassandraYaml, javaArguments } from '#infra/render/cassandra.ts'
import { findJava } from './java.ts'

const work = mkdtempSync(join(tmpdir(), 'milepost-cassandra-'))
test.after.always(() => rmSync(work, { recursive: true, force: true }))

test('the list of libraries is whole, and a broken line is named', (t) => {
  const list = jars()
  t.true(list.some(({ path }) => path.endsWith('/cassandra-all-5.0.9.jar')))
  t.is(new Set(list.map(({ path }) => path)).size, list.length)
  for (const line of ['abc 1 a/b.jar', `${'0'.repeat(64)} x a.jar`, `${'0'.repeat(64)} 1 ../a.jar`])
    t.throws(() => parseJars(`# comment\n${line}\n`), { message: /entry 1: not "sha256 bytes path"/ })
})

test('a library comes once, and one that is not what was pinned never', async (t) => {
  const content = Buffer.from('a library')
  const sha256 = createHash('sha256').update(content).digest('hex')
  let asked = 0
  const server = createServer((request, answer) => {
    asked++
    if (request.url === '/m2/a/b.jar') answer.end(content)
    else answer.writeHead(404).end()
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.teardown(() => server.close())
  const repository = `http://127.0.0.1:${(server.address() as AddressInfo).port}/m2/`
  const folder = join(work, 'libraries')
  const jar = { sha256, size: content.length, path: 'a/b.jar' }
  await fetchJars(() => {}, folder, repository, [jar])
  await fetchJars(() => {}, folder, repository, [jar])
  t.is(asked, 1)
  t.deepEqual(readFileSync(join(folder, 'a/b.jar')), content)
  const wrong = { ...jar, sha256: '0'.repeat(64), size: 1 }
  await t.throwsAsync(
    fetchJars(() => {}, folder, repository, [wrong]),
    { message: /SHA-256 is .*not 0000/ },
  )
  await t.throwsAsync(
    fetchJars(() => {}, folder, repository, [{ ...jar, path: 'a/c.jar' }]),
    {
      message: /answers 404; check the network, or name a mirror/,
    },
  )
  await t.throwsAsync(
    fetchJars(() => {}, folder, 'http://example.org', [jar]),
    { message: /must begin with https/ },
  )
})

test('Java 17 is found, or its lack is named with the remedy', (t) => {
  const java = (name: string, version: string) => {
    const home = join(work, name)
    mkdirSync(join(home, 'bin'), { recursive: true })
    writeFileSync(join(home, 'bin/java'), `#!/bin/sh\necho 'openjdk version "${version}" 2025-04-15' >&2\n`)
    chmodSync(join(home, 'bin/java'), 0o755)
    return home
  }
  const [old, right] = [java('old', '1.8.0_372'), java('right', '17.0.15')]
  t.is(findJava({ JAVA_HOME: right, PATH: '' }, work), join(right, 'bin/java'))
  t.is(findJava({ JAVA_HOME: old, PATH: '' }, work), join(right, 'bin/java'))
  t.throws(() => findJava({ JAVA_HOME: old, PATH: '' }, '/nonexistent'), {
    message: /needs Java 17 \(.*old\/bin\/java is 8\): apt-get install openjdk-17-jre-headless/,
  })
})

test('a node is told to be durable, private and small', (t) => {
  const node: CassandraNode = {
    cluster: 'it\'s "ours"',
    datacenter: 'site',
    rack: 'rack1',
    address: '10.0.0.1',
    seeds: ['10.0.0.1', '10.0.0.2'],
    ports: cassandra_ports,
    memory_mb: 600,
    data: '/data',
    etc: '/etc/c',
    libraries: '/lib/c',
  }
  const settings = parse(cassandraYaml(node))
  t.is(settings.cluster_name, node.cluster)
  t.is(settings.commitlog_sync, 'batch')
  t.is(settings.authenticator, 'PasswordAuthenticator')
  t.is(settings.authorizer, 'CassandraAuthorizer')
  t.is(settings.seed_provider[0].parameters[0].seeds, '10.0.0.1,10.0.0.2')
  t.is(settings.rpc_address, '10.0.0.1')
  const args = javaArguments({ ...node, replaces: '10.0.0.9' }, ['a/jamm-1.jar', 'b.jar']).split('\n')
  t.true(args.includes('-Xmx240m'))
  t.true(args.includes('-javaagent:/lib/c/a/jamm-1.jar'))
  t.true(args.includes('-Dcassandra.replace_address_first_boot=10.0.0.9'))
  t.true(args.includes('/lib/c/a/jamm-1.jar:/lib/c/b.jar'))
  t.false(args.some((arg) => arg.includes('jmx.remote.port')))
})
