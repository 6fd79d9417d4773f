/** The distribution daemon against real nftables maps, in a network namespace of its own. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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
`

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

/** Flows of datagrams that a target answers. */
const flowsTo = (address: string) =>
  inside('conntrack', '-L', '-p', 'udp', '--reply-src', address).split('\n').filter(Boolean).length

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
  writeFileSync(join(work, 'distribution.json'), JSON.stringify({ table, check, services }))
})

test.after.always(() => {
  for (const child of children) child.kill('SIGKILL')
  execFileSync('ip', ['netns', 'del', space], system)
  rmSync(work, { recursive: true, force: true })
})

test.serial('a dead target leaves the map and comes back, its own slots alone; nothing else is touched', async (t) => {
  const [, second] = await Promise.all(addresses.map(target))
  const file = join(folder, 'roles/gateway/files/milepost-distribute')
  const metrics = join(work, 'gateway.prom')
  const daemon = start('/usr/bin/python3', '-I', file, join(work, 'distribution.json'), '--metrics', metrics)
  daemon.stdout!.on('data', (said) => t.log(String(said).trim()))
  const even = [...Array(slots / 2).fill(addresses[0]), ...Array(slots / 2).fill(addresses[1])]
  await until(t, even, 10_000)
  const before = map('to_devices')

  // Flows of datagrams to each of them, as DNAT makes them.
  for (const [index, address] of addresses.entries()) {
    const [client, front, port] = ['192.0.2.9', '192.0.2.1', String(5_000 + index)]
    const there = ['-s', client, '-d', front, '--sport', port, '--dport', '7100']
    const back = ['-r', address, '-q', client, '--reply-port-src', '7100', '--reply-port-dst', port]
    inside('conntrack', '-I', '-p', 'udp', '-t', '600', ...there, ...back)
  }
  second?.kill('SIGKILL')
  const out_ms = await until(t, Array(slots).fill(addresses[0]), 10_000)
  t.log(`out of the map after ${Math.round(out_ms)} ms`)
  await gone(t, addresses[1], 5_000)
  t.is(flowsTo(addresses[0]), 1, 'flows to the other stay')

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
