/**
 * `npm run hostile`: bad input against the running home environment while a good device is timed.
 * Each attack must end in a clear error or a closed connection, with memory bounded and the good device answered.
 */
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { parseArgs } from 'node:util'
import { Device, Tally } from './devices/device.ts'
import { encoderOf, identOf } from './devices/index.ts'
import { table } from './devices/progress.ts'
import { type Channel, rest, siteAt } from './devices/site.ts'
import { teltonika } from './devices/teltonika.ts'
import { Trip } from './devices/trip.ts'

const help = `usage: npm run hostile -- [--connections N] [--url URL] [--token-file FILE]

  --connections N  silent connections of the largest attack (10000)

Exit code 0: all held; 1: something did not.
`

/** The good device waits for an answer at most so long, whatever goes on beside it. */
const good_ack_max_ms = 2_000
/** All tg's together may grow by so much at most. */
const growth_bytes_max = 400 * 1024 * 1024
const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms))

/** A connection of an attacker: what came back, and whether it was closed. */
class Attacker {
  readonly socket: Socket
  closed = false
  received = 0

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1' })
    this.socket.on('data', (chunk) => (this.received += chunk.length))
    this.socket.on('error', () => {})
    this.socket.on('close', () => (this.closed = true))
  }

  async closes(time_max_ms: number): Promise<boolean> {
    for (const end = Date.now() + time_max_ms; !this.closed && Date.now() < end; ) await pause(20)
    return this.closed
  }
}

/** Bytes that a process holds in memory. */
const rss = (pid: number) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '10000' },
    url: { type: 'string', default: 'http://127.0.0.1:7000' },
    'token-file': { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  },
})
if (values.help) {
  process.stdout.write(help)
  process.exit(0)
}
const site = siteAt(values.url, values['token-file'])
const [channel] = await rest<Channel>(site, 'POST', '/gw/channels', [
  { name: `hostile ${Date.now()}`, protocol: 'teltonika', idle_timeout: 8, login_timeout: 8 },
])
if (!channel) throw new Error('no channel could be made')
const tgs = (await rest<{ pid: number }>(site, 'GET', '/admin/processes/environment=home,type=tg')).map(
  ({ pid }) => pid,
)
const memory = () => tgs.reduce((sum, pid) => sum + rss(pid), 0)
await pause(1_000)

const tally = new Tally()
const encoder = encoderOf('teltonika')
const good = new Device({
  encoder,
  ident: identOf(7, 1),
  host: '127.0.0.1',
  port: channel.port,
  seed: 7,
  tally,
  batch: 5,
})
good.connect()
const beat = setInterval(() => {
  good.record(Date.now() / 1000)
  good.send()
}, 50)

const imei = encoder.login(identOf(7, 2))
const trip = new Trip(8)
const packet = encoder.packet([trip.next(Date.now() / 1000)])
const rows: (string | number)[][] = []
let failed = 0

/** Runs one attack; what it returns says how it ended, `undefined` that it did not end as it must. */
async function attack(what: string, work: () => Promise<string | undefined>): Promise<void> {
  const before = memory()
  let most = before
  const watch = setInterval(() => (most = Math.max(most, memory())), 100)
  const answered = tally.acknowledged
  tally.latency.reset()
  const outcome = await work()
  await pause(300)
  clearInterval(watch)
  const worst = tally.percentile_ms(100)
  const held =
    outcome !== undefined &&
    tally.acknowledged > answered &&
    worst < good_ack_max_ms &&
    most - before < growth_bytes_max
  if (!held) failed++
  rows.push([
    what,
    outcome ?? 'NOT HELD',
    Math.round(worst * 10) / 10,
    Math.round((most - before) / 2 ** 20),
    held ? 'yes' : 'NO',
  ])
}

const closedOr = async (attacker: Attacker, ms: number) => ((await attacker.closes(ms)) ? 'closed' : undefined)

await attack('garbage (an HTTP request)', () => {
  const a = new Attacker(channel.port)
  a.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  return closedOr(a, 2_000)
})
await attack('64 MB of random bytes', () => {
  const a = new Attacker(channel.port)
  const noise = Buffer.alloc(1024 * 1024)
  for (let i = 0; i < noise.length; i++) noise[i] = (i * 2654435761) >>> 24
  for (let i = 0; i < 64; i++) a.socket.write(noise)
  return closedOr(a, 5_000)
})
await attack('a length field of 2 GB', () => {
  const a = new Attacker(channel.port)
  a.socket.write(Buffer.concat([imei, Buffer.from('000000007fffffff08', 'hex')]))
  return closedOr(a, 2_000)
})
await attack('a wrong CRC, 30 times', async () => {
  const a = new Attacker(channel.port)
  const wrong = Buffer.from(packet)
  wrong[wrong.length - 1]! ^= 1
  a.socket.write(Buffer.concat([imei, ...Array.from({ length: 30 }, () => wrong)]))
  // Answered with 0 records each time, and closed when it goes on.
  return (await a.closes(3_000)) && a.received > 1 ? 'answered 0, then closed' : undefined
})
await attack('half a packet, then silence', () => {
  const a = new Attacker(channel.port)
  a.socket.write(Buffer.concat([imei, packet.subarray(0, 20)]))
  return closedOr(a, 15_000)
})
await attack('a byte a second for ever', () => {
  const a = new Attacker(channel.port)
  const drip = setInterval(() => a.socket.write('\0'), 1_000)
  return closedOr(a, 20_000).finally(() => clearInterval(drip))
})
await attack('10,000 packets, no answer read', async () => {
  const a = new Attacker(channel.port)
  a.socket.pause()
  const login = encoder.login(identOf(7, 3))
  a.socket.write(login)
  for (let i = 0; i < 10_000; i++) a.socket.write(teltonika.packet([trip.next(Date.now() / 1000 + i)]))
  await pause(3_000)
  a.socket.destroy()
  return 'went on; memory in bounds'
})
const count = Number(values.connections)
await attack(`${count.toLocaleString('en-US')} connections that say nothing`, async () => {
  const silent: Attacker[] = []
  for (let i = 0; i < count; i++) {
    silent.push(new Attacker(channel.port))
    if (i % 500 === 499) await pause(20)
  }
  const end = Date.now() + 30_000
  while (silent.some(({ closed }) => !closed) && Date.now() < end) await pause(100)
  const open = silent.filter(({ closed }) => !closed).length
  return open === 0 ? 'all closed' : undefined
})

async function refused(path: string, init: RequestInit, status: number, reason: RegExp): Promise<string | undefined> {
  const response = await fetch(`${site.url}${path}`, init)
  const { errors } = (await response.json()) as { errors?: { reason: string }[] }
  const text = errors?.[0]?.reason ?? ''
  return response.status === status && reason.test(text) ? `${status} ${text.slice(0, 60)}` : undefined
}
const json = { authorization: `Bearer ${site.token}`, 'content-type': 'application/json' }
await attack('REST: malformed JSON', () =>
  refused('/gw/channels', { method: 'POST', headers: json, body: '[{"name": ' }, 400, /JSON/i),
)
await attack('REST: an unknown field', () =>
  refused('/gw/channels', { method: 'POST', headers: json, body: '[{"protocol":"wialon","prot":1}]' }, 400, /"prot"/),
)
await attack('REST: a wrong token', () =>
  refused('/gw/channels/all', { headers: { authorization: 'Bearer nothing' } }, 401, /token/),
)
await attack('REST: a body of 40 MB', () =>
  refused('/gw/channels', { method: 'POST', headers: json, body: `["${'x'.repeat(40 * 2 ** 20)}"]` }, 413, /larger/),
)
await attack('REST: an object nested 10,000 deep', () =>
  refused('/gw/channels', { method: 'POST', headers: json, body: '['.repeat(10_000) + ']'.repeat(10_000) }, 400, /./),
)

clearInterval(beat)
const end = Date.now() + 5_000
while (good.pending > 0 && Date.now() < end) {
  good.send()
  await pause(20)
}
const lost = tally.made - tally.acknowledged
good.stop()
await rest(site, 'DELETE', `/gw/channels/${channel.id}`)
process.stdout.write(`${table(['attack', 'how it ended', 'good device: longest ms', 'tg grew by MB', 'held'], rows)}\n`)
process.stdout.write(
  `the good device: ${tally.made} sent, ${tally.acknowledged} acknowledged, ${tally.reconnects} reconnects\n`,
)
process.exitCode = failed > 0 || lost > 0 || tally.reconnects > 0 ? 1 : 0
process.exit()
