/** The distribution daemon against real nftables maps, in a network namespace of its own. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { folder } from './rack.ts'

const space = `mp-distribute-${process.pid}`
const work = mkdtempSync(join(tmpdir(), 'milepost-distribute-'))
const table = 'milepost_distribute'
const check = { interval_ms: 200, timeout_ms: 300, fall: 2, rise: 1 }
const addresses = ['127.0.0.11', '127.0.0.12'] as const
const slots = 8
const children: ChildProcess[] = []

const system = { encoding: 'utf8', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } } as const
const inside = (...words: string[]) => execFileSync('ip', ['netns', 'exec', space, ...words], system)

function start(...words: string[]): ChildProcess {
  const child = spawn('/usr/sbin/ip', ['netns', 'exec', space, ...words], {
    env: system.env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  return child
}

const rules = `table ip ${table} {
  map to_devices { type mark : ipv4_addr; }
  map others { type mark : ipv4_addr; elements = { 1 : 192.0.2.1 } }
  counter devices_new { }
}
table inet milepost_filter {
  set fed_block { type ipv4_addr; flags interval; }
  set fed_allow { type ipv4_addr; flags interval; }
}
`
/** The first teller is always dead. */
const tellers = [7_020, 7_021].map((port) => `http://127.0.0.1:${port}/lists`)

/** A target: answers /readyz with 200 while it runs. */
function target(address: string): Promise<ChildProcess> {
  const code = `import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == '/readyz' else 404); self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(('${address}', 7010), Handler)
print('ready', flush=True)
server.serve_forever()`
  const child = start('/usr/bin/python3', '-I', '-c', code)
  return new Promise((done) => child.stdout!.once('data', () => done(child)))
}

/** Slot → address as the kernel has it. */
function map(name: string): Record<string, string> {
  const entries = JSON.parse(inside('nft', '--json', 'list', 'map', 'ip', table, name)).nftables
  return Object.fromEntries(entries.find((entry: { map?: unknown }) => entry.map).map.elem ?? [])
}

/** Connections and flows of datagrams that a target answers. */
const flowsTo = (address: string) =>
  inside('conntrack', '-L', '--reply-src', address).split('\n').filter(Boolean).length

async function gone(t: import('ava').ExecutionContext, address: string, max_ms: number): Promise<void> {
  const end = performance.now() + max_ms
  while (flowsTo(address) > 0) {
    if (performance.now() > end) return t.fail(`after ${max_ms} ms there is a flow to ${address}`)
    await new Promise((done) => setTimeout(done, 20))
  }
  t.pass()
}

/** Polls until the map is as wanted; gives the ms it took. */
async function until(t: import('ava').ExecutionContext, wanted: readonly string[], max_ms: number): Promise<number> {
  const began = performance.now()
  for (;;) {
    const have = Object.values(map('to_devices'))
    if (JSON.stringify(have.toSorted()) === JSON.stringify(wanted.toSorted())) return performance.now() - began
    if (performance.now() - began > max_ms) {
      t.fail(`after ${max_ms} ms the map is ${have}`)
      return max_ms
    }
    await new Promise((done) => setTimeout(done, 20))
  }
}

test.before(() => {
  execFileSync('ip', ['netns', 'add', space], system)
  inside('ip', 'link', 'set', 'lo', 'up')
  writeFileSync(join(work, 'rules.nft'), rules)
  inside('nft', '-f', join(work, 'rules.nft'))
  const preference = Array.from({ length: slots }, (_, slot) => (slot % 2 === 0 ? addresses : addresses.toReversed()))
  const targets = addresses.map((address, n) => ({ host: `srv${n + 1}`, address, probe_ports: [7_010] }))
  const services = [{ name: 'devices', protocols: ['tcp', 'udp'], map: 'to_devices', targets, slots: preference }]
  writeFileSync(
    join(work, 'distribution.json'),
    JSON.stringify({ table, check, services, lists: { table: 'milepost_filter', urls: tellers } }),
  )
})

test.after.always(() => {
  for (const child of children) child.kill('SIGKILL')
  execFileSync('ip', ['netns', 'del', space], system)
  rmSync(work, { recursive: true, force: true })
})

/** Tells lists that a test changes. */
function teller(lists: string): Promise<ChildProcess> {
  const code = `import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(open('${lists}', 'rb').read())
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 7021), Handler)
print('ready', flush=True)
server.serve_forever()`
  const child = start('/usr/bin/python3', '-I', '-c', code)
  return new Promise((done) => child.stdout!.once('data', () => done(child)))
}

/** Entries of a set as text. */
function entries(name: string): string[] {
  const found = JSON.parse(inside('nft', '--json', 'list', 'set', 'inet', 'milepost_filter', name)).nftables
  const { elem = [] } = found.find((entry: { set?: unknown }) => entry.set).set
  return elem.map((one: string | { prefix?: { addr: string; len: number } }) => {
    if (typeof one === 'string') return one
    return one.prefix ? `${one.prefix.addr}/${one.prefix.len}` : JSON.stringify(one)
  })
}

async function untilBlocked(t: import('ava').ExecutionContext, wanted: readonly string[]): Promise<void> {
  const end = performance.now() + 15_000
  while (JSON.stringify(entries('fed_block').toSorted()) !== JSON.stringify(wanted.toSorted())) {
    if (performance.now() > end) return t.fail(`blocked are ${entries('fed_block')}, not ${wanted}`)
    await new Promise((done) => setTimeout(done, 20))
  }
  t.pass()
}

test.serial('a dead target leaves the map and comes back, its own slots alone; nothing else is touched', async (t) => {
  const [, second] = await Promise.all(addresses.map(target))
  const file = join(folder, 'roles/gateway/files/milepost-distribute')
  const metrics = join(work, 'gateway.prom')
  const options = ['--metrics', metrics, '--keep', join(work, 'lists.json')]
  const daemon = start('/usr/bin/python3', '-I', file, join(work, 'distribution.json'), ...options)
  daemon.stdout!.on('data', (said) => t.log(String(said).trim()))
  const even = [...Array(slots / 2).fill(addresses[0]), ...Array(slots / 2).fill(addresses[1])]
  await until(t, even, 10_000)
  const before = map('to_devices')

  // A connection and a flow of datagrams to each of them, as DNAT makes them.
  for (const [index, address] of addresses.entries()) {
    const [client, front, port] = ['192.0.2.9', '192.0.2.1', String(5_000 + index)]
    const there = ['-s', client, '-d', front, '--sport', port, '--dport', '7100']
    const back = ['-r', address, '-q', client, '--reply-port-src', '7100', '--reply-port-dst', port]
    for (const protocol of ['udp', 'tcp'])
      inside(
        'conntrack',
        '-I',
        '-p',
        protocol,
        '-t',
        '600',
        ...(protocol === 'tcp' ? ['--state', 'ESTABLISHED'] : []),
        ...there,
        ...back,
      )
  }
  second?.kill('SIGKILL')
  const out_ms = await until(t, Array(slots).fill(addresses[0]), 10_000)
  t.log(`out of the map after ${Math.round(out_ms)} ms`)
  await gone(t, addresses[1], 5_000)
  t.is(flowsTo(addresses[0]), 2, 'those to the other stay')

  await target(addresses[1])
  const back_ms = await until(t, even, 10_000)
  t.log(`back after ${Math.round(back_ms)} ms`)
  t.deepEqual(map('to_devices'), before)
  t.deepEqual(map('others'), { 1: '192.0.2.1' })

  // Rules that are loaded anew lose the map's elements; they are put back.
  inside('nft', 'flush', 'map', 'ip', table, 'to_devices')
  await until(t, even, 10_000)
  inside('nft', 'delete', 'table', 'ip', table)
  inside('nft', '-f', join(work, 'rules.nft'))
  await until(t, even, 10_000)
  t.regex(readFileSync(metrics, 'utf8'), /milepost_target_up\{service="devices",host="srv1"\} [01]/)
})

test.serial('lists of sources are loaded, changed, put back, and kept while nobody tells them', async (t) => {
  const told = join(work, 'told.json')
  const kept = join(work, 'kept.json')
  const tell = (lists: unknown) => {
    writeFileSync(`${told}.new`, JSON.stringify(lists))
    renameSync(`${told}.new`, told)
  }
  const file = join(folder, 'roles/gateway/files/milepost-distribute')
  const daemonOf = () => {
    const child = start('/usr/bin/python3', '-I', file, join(work, 'distribution.json'), '--keep', kept)
    child.stdout!.on('data', (said) => t.log(String(said).trim()))
    return child
  }
  tell({ block: ['192.0.2.0/24', '192.0.2.7', '198.51.100.1'], allow: ['203.0.113.5'] })
  const server = await teller(told)
  const daemon = daemonOf()
  // The address inside the network is part of it.
  await untilBlocked(t, ['192.0.2.0/24', '198.51.100.1'])
  t.deepEqual(entries('fed_allow'), ['203.0.113.5'])
  tell({ block: ['198.51.100.1'], allow: [] })
  await untilBlocked(t, ['198.51.100.1'])
  t.deepEqual(entries('fed_allow'), [])
  inside('nft', 'add', 'element', 'inet', 'milepost_filter', 'fed_block', '{ 192.0.2.55-192.0.2.60 }')
  await untilBlocked(t, ['198.51.100.1'])

  // What is no list changes nothing; nor does silence; and a boot begins with what was known.
  tell({ block: ['everybody'], allow: [] })
  await new Promise((done) => setTimeout(done, 2_500))
  t.deepEqual(entries('fed_block'), ['198.51.100.1'])
  server.kill('SIGKILL')
  daemon.kill('SIGKILL')
  inside('nft', 'flush', 'set', 'inet', 'milepost_filter', 'fed_block')
  daemonOf()
  await untilBlocked(t, ['198.51.100.1'])
})
