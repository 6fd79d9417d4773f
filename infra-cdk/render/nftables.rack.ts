/** The gateways' rules, checked by nft and by traffic through a gateway in a network namespace. Needs root, nftables, conntrack. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import type { Plan } from '../site/plan.ts'
import { planOf } from '../site/plan-of.ts'
import { siteWith } from '../site/testing.ts'
import { sites } from '../sites/index.ts'
import { distributeTable, filterTable, mapName, renderDistribution, renderFilter } from './nftables.ts'
import { slotsOf } from './slots.ts'

/** A development dependency brings a command `nft` of its own. */
const env = { ...process.env, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }
const run = promisify(execFile)
const folder = mkdtempSync(join(tmpdir(), 'milepost-nft-'))
const space = (name: string) => `nft${process.pid}-${name}`
const inside = async (name: string, ...command: string[]) =>
  (await run('ip', ['netns', 'exec', space(name), ...command], { env })).stdout
const children: ChildProcess[] = []

const plan = planOf(siteWith())
const front = plan.virtual_addresses.find(({ name }) => name === 'external')!.address
const own = plan.servers
  .find(({ role }) => role === 'gateway')!
  .interfaces.find(({ network }) => network === 'lan')!.address
const back = plan.virtual_addresses.find(({ name }) => name === 'internal')!.address
const workers = plan.servers.filter(({ role }) => role === 'server')
const lanOf = (host: string) =>
  plan.servers.find(({ name }) => name === host)!.interfaces.find(({ network }) => network === 'lan')!.address
const client = { good: '192.0.2.50', bad: '192.0.2.51', greedy: '192.0.2.52', flooding: '192.0.2.53' }

/** Answers each connection with its name, and echoes; answers each datagram with its name; told ports as arguments. */
const server = `const [name, ...ports] = process.argv.slice(1)
for (const port of ports) require('net').createServer((socket) => {
  socket.on('error', () => {})
  socket.write(name + '\\n')
  socket.pipe(socket)
}).listen(Number(port), '0.0.0.0', () => {
  const datagrams = require('dgram').createSocket('udp4')
  datagrams.on('message', (_bytes, { port: to, address }) => datagrams.send(name, to, address))
  datagrams.bind(Number(port), () => console.log('listening'))
})`

/** Opens connections at once and holds them; prints what each heard, or the error. */
const caller = `const [host, port, source, count] = process.argv.slice(1)
const net = require('net')
Promise.all(Array.from({ length: Number(count) }, () => new Promise((resolve) => {
  const socket = net.connect({ host, port: Number(port), localAddress: source })
  const end = (text) => { clearTimeout(timer); resolve(text) }
  const timer = setTimeout(() => end('silence'), 2_000)
  socket.on('data', (data) => end(String(data).trim()))
  socket.on('error', (error) => end(error.code))
}))).then((heard) => { console.log(JSON.stringify(heard)); process.exit() })`

async function call(from: string, port: number, count = 1, host = front, name = 'out'): Promise<string[]> {
  return JSON.parse(await inside(name, process.execPath, '-e', caller, host, String(port), from, String(count)))
}

/** Sends a datagram each of so many ports; prints what each heard. */
const datagramCaller = `const [host, port, source, count] = process.argv.slice(1)
Promise.all(Array.from({ length: Number(count) }, () => new Promise((resolve) => {
  const socket = require('dgram').createSocket('udp4')
  const timer = setTimeout(() => resolve('silence'), 2_000)
  socket.on('message', (data) => { clearTimeout(timer); resolve(String(data)) })
  socket.bind(0, source, () => socket.send('x', Number(port), host))
}))).then((heard) => { console.log(JSON.stringify(heard)); process.exit() })`

async function datagrams(from: string, port: number, count = 1): Promise<string[]> {
  return JSON.parse(
    await inside('out', process.execPath, '-e', datagramCaller, front, String(port), from, String(count)),
  )
}

async function load(...files: string[]): Promise<void> {
  for (const [index, text] of files.entries()) {
    const path = join(folder, `load-${index}.nft`)
    writeFileSync(path, text)
    await inside('gw', 'nft', '-f', path)
  }
}

/** What the distribution daemon does: each slot to its first living target. */
async function fill(living: (address: string) => boolean = () => true): Promise<void> {
  const commands = slotsOf(plan).services.flatMap(({ map, slots }) => {
    const elements = slots.flatMap((order, slot) => {
      const address = order.find(living)
      return address === undefined ? [] : [`${slot} : ${address}`]
    })
    return [
      `flush map ip ${distributeTable} ${map}`,
      ...(elements.length > 0 ? [`add element ip ${distributeTable} ${map} { ${elements.join(', ')} }`] : []),
    ]
  })
  await load(`${commands.join('\n')}\n`)
}

const counter = async (name: string) =>
  Number(/packets (\d+)/.exec(await inside('gw', 'nft', 'list', 'counter', 'inet', filterTable, name))![1])

test.before(async () => {
  const commands = [
    ...['gw', 'out', ...workers.map(({ name }) => name)].map((name) => `netns add ${space(name)}`),
    `link add o0 netns ${space('out')} type veth peer name bond0.20 netns ${space('gw')}`,
    `-n ${space('gw')} link add bond0 type bridge`,
    ...workers.map(
      ({ name }, index) => `link add bond0 netns ${space(name)} type veth peer name port${index} netns ${space('gw')}`,
    ),
    ...workers.map((_, index) => `-n ${space('gw')} link set port${index} master bond0 up`),
    ...['bond0', 'bond0.20', 'lo'].map((device) => `-n ${space('gw')} link set ${device} up`),
    `-n ${space('gw')} addr add ${front}/24 dev bond0.20`,
    `-n ${space('gw')} addr add ${own}/24 dev bond0`,
    `-n ${space('gw')} addr add ${back}/24 dev bond0`,
    `-n ${space('out')} link set o0 up`,
    ...Object.values(client).map((address) => `-n ${space('out')} addr add ${address}/24 dev o0`),
    ...workers.flatMap(({ name }) => [
      `-n ${space(name)} addr add ${lanOf(name)}/24 dev bond0`,
      `-n ${space(name)} link set bond0 up`,
      `-n ${space(name)} route add default via ${back}`,
    ]),
  ]
  for (const command of commands) await run('ip', command.split(' '), { env })
  const settings = ['net.ipv4.ip_forward=1', 'net.netfilter.nf_conntrack_acct=1', 'net.ipv4.conf.all.rp_filter=2']
  await inside('gw', 'sysctl', '-qw', ...settings)
  // The lan of this test is a bridge on the gateway itself.
  await inside('gw', 'sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=0').catch(() => undefined)
  for (const { name } of workers) {
    const child = spawn(
      'ip',
      ['netns', 'exec', space(name), process.execPath, '-e', server, name, '7000', '7100', '9999'],
      { env },
    )
    children.push(child)
    await new Promise((resolve) => child.stdout.once('data', resolve))
  }
  await load(renderFilter(plan), renderDistribution(plan))
  await fill()
})

test.after.always(async () => {
  for (const child of children) child.kill()
  for (const name of ['gw', 'out', ...workers.map((worker) => worker.name)])
    await run('ip', ['netns', 'del', space(name)], { env }).catch(() => undefined)
  rmSync(folder, { recursive: true, force: true })
})

test('nft takes the rules of every site', async (t) => {
  for (const [name, site] of Object.entries(sites))
    for (const [what, text] of Object.entries({
      filter: renderFilter(planOf(site)),
      distribute: renderDistribution(planOf(site)),
    })) {
      const path = join(folder, `${name}-${what}.nft`)
      writeFileSync(path, text)
      await t.notThrowsAsync(inside('out', 'nft', '-c', '-f', path), `${name} ${what}`)
    }
})

test.serial('published ports are served by a living target, the same for the same source', async (t) => {
  const heard = await call(client.good, 7_100, 5)
  t.true(workers.some(({ name }) => name === heard[0]))
  t.is(new Set(heard).size, 1)
  t.regex((await call(client.good, 7_000))[0]!, /^srv[12]$/)
})

test.serial('datagrams go the same way, by the same slot; a new flow follows the map', async (t) => {
  const heard = await datagrams(client.good, 7_100, 5)
  t.deepEqual(new Set(heard), new Set(await call(client.good, 7_100)))
  t.deepEqual(await datagrams(client.good, 7_000), ['silence'], 'where the service is of TCP alone')
  t.deepEqual(await datagrams(client.good, 9_999), ['silence'])
  await fill((address) => address !== lanOf(heard[0]!))
  t.deepEqual(
    await datagrams(client.good, 7_100),
    workers.map(({ name }) => name).filter((name) => name !== heard[0]),
  )
  await fill()
})

test.serial('one source begins so many flows of datagrams and no more', async (t) => {
  const heard = await datagrams(client.flooding, 7_100, 60)
  const served = heard.filter((text) => /^srv/.test(text)).length
  t.true(served >= 20 && served < 60, `${served} of 60 were served`)
  t.true((await counter('devices_rate_limited')) > 0)
  t.regex((await datagrams(client.good, 7_100))[0]!, /^srv/, 'others notice nothing')
})

test.serial('everything else is dropped', async (t) => {
  const before = await counter('input_dropped')
  for (const port of [22, 5_405, 7_001, 8_000, 9_100, 9_999]) t.deepEqual(await call(client.good, port), ['silence'])
  t.true((await counter('input_dropped')) > before)
})

test.serial('a server reaches another, and itself, at the internal address', async (t) => {
  for (const { name } of workers) t.regex((await call(lanOf(name), 7_000, 1, back, name))[0]!, /^srv[12]$/)
  // What it seems to come from goes over to the other gateway in a fail-over; a gateway's own address does not.
  const flows = await inside('gw', 'conntrack', '-L', '-p', 'tcp', '--orig-dst', back)
  t.regex(flows, new RegExp(`dst=${back.replaceAll('.', '\\.')} sport=7000`))
})

test.serial('one source has so many connections and no more; an allowed one has no limit', async (t) => {
  // The burst of this site's limits is 20; what is over it is dropped.
  const heard = await call(client.greedy, 7_000, 60)
  const served = heard.filter((text) => /^srv/.test(text)).length
  t.true(served >= 20 && served < 60, `${served} of 60 were served`)
  t.true((await counter('rest_rate_limited')) + (await counter('syn_source_limited')) > 0)
  t.regex((await call(client.good, 7_000))[0]!, /^srv/, 'others notice nothing')
  await inside('gw', 'nft', 'add', 'element', 'inet', filterTable, 'allow', `{ ${client.greedy} }`)
  t.is((await call(client.greedy, 7_000, 60)).filter((text) => /^srv/.test(text)).length, 60)
})

test.serial('what is fed at run time and what is established survive a reload', async (t) => {
  await inside('gw', 'nft', 'add', 'element', 'inet', filterTable, 'block', `{ ${client.bad} }`)
  t.deepEqual(await call(client.bad, 7_100), ['silence'])
  const talk = `const socket = require('net').connect({ host: '${front}', port: 7100, localAddress: '${client.good}' })
socket.on('data', (data) => console.log(String(data).trim()))
process.stdin.on('data', (data) => socket.write(data))`
  const child = spawn('ip', ['netns', 'exec', space('out'), process.execPath, '-e', talk], { env })
  children.push(child)
  const next = () => new Promise<string>((resolve) => child.stdout.once('data', (data) => resolve(String(data).trim())))
  t.regex(await next(), /^srv/)
  await load(renderFilter(plan), renderDistribution(plan))
  child.stdin.write('still there?\n')
  t.is(await next(), 'still there?')
  t.deepEqual(await call(client.bad, 7_100), ['silence'], 'the block list is as it was')
  t.regex((await call(client.good, 7_100))[0]!, /^srv/, 'the map is as it was')
  t.regex(await inside('gw', 'nft', 'list', 'map', 'ip', distributeTable, mapName('devices')), /elements = /)
})

test.serial('a target that is taken out is not given to anyone', async (t) => {
  const [gone, left] = workers
  await fill((address) => address !== lanOf(gone!.name))
  t.deepEqual(new Set(await call(client.good, 7_100, 3)), new Set([left!.name]))
  await fill(() => false)
  t.deepEqual(await call(client.good, 7_100), ['silence'])
  await fill()
})

test.serial('a change of a limit is a reload', async (t) => {
  const stricter = structuredClone(plan) as Plan & { firewall: { services: { connections_per_source_max: number }[] } }
  for (const service of stricter.firewall.services) service.connections_per_source_max = 2
  await load(renderFilter(stricter))
  t.is((await call(client.good, 7_100, 6)).filter((text) => /^srv/.test(text)).length, 2)
  t.true((await counter('devices_count_limited')) > 0)
})
