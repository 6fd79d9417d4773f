/**
 * Simulates trackers against a running environment: `npm run simulate -- --devices 50 --rate 1 --duration 60`, or plays the recorded
 * packets of protocols: `npm run simulate -- --fixtures --protocol all`.
 */
import { appendFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Device, Tally } from './devices/device.ts'
import type { Transport } from './devices/fixture.ts'
import { playFixtures } from './devices/fixtures.ts'
import { encoderOf, identOf } from './devices/index.ts'
import { Progress, table } from './devices/progress.ts'
import { channelOf, siteAt } from './devices/site.ts'

const help = `usage: npm run simulate -- [options]
       npm run simulate -- --fixtures [--protocol all | --protocol A,B] [options]

Trackers along made-up trips:

  --devices N        trackers (50)
  --rate N           records a second and tracker (1)
  --duration S       seconds of driving (60)
  --protocol A,B     teltonika, wialon (teltonika,wialon); trackers are shared out among them
  --batch N          records of one packet at most (20)
  --drain S          seconds to wait for the last acknowledgements (30)
  --seed N           same seed, same trips (1)
  --url URL          front door (http://127.0.0.1:7000), to find the channels; one is made where a protocol has none
  --token-file FILE  token for it (the home environment's)
  --host HOST        where the channels listen (127.0.0.1)
  --port N           port of the channel, with one protocol: nothing is asked of the front door
  --ledger FILE      writes "ident timestamp" of each acknowledged record

Recorded packets of any protocol (pvm/protocols/NAME.session), through channels made for them and removed at the end; answers and stored
messages are compared with what the recordings say:
  --fixtures
  --protocol A,B     names, or all (all)
  --transport A,B    tcp, udp, http (all that a protocol has)
  --at-once N        so many at the same time (4)
  --keep             the channels stay, with their messages
  --seed N, --url URL, --token-file FILE, --host HOST as above

Exit code 0: all that was sent was acknowledged, all is as the recordings say; 1: something was not; 2: it could not begin.
`

const option = { type: 'string' } as const

/** A number of the command line; says which one is wrong. */
function number(name: string, text: string, least: number): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value < least) throw new Error(`--${name} ${text}: a number of at least ${least}`)
  return value
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      devices: { ...option, default: '50' },
      rate: { ...option, default: '1' },
      duration: { ...option, default: '60' },
      protocol: option,
      fixtures: { type: 'boolean', default: false },
      transport: option,
      'at-once': { ...option, default: '4' },
      keep: { type: 'boolean', default: false },
      batch: { ...option, default: '20' },
      drain: { ...option, default: '30' },
      seed: { ...option, default: '1' },
      url: { ...option, default: 'http://127.0.0.1:7000' },
      'token-file': option,
      host: { ...option, default: '127.0.0.1' },
      port: option,
      ledger: option,
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  if (values.fixtures) return fixtures(values)
  const count = number('devices', values.devices, 1)
  const rate = number('rate', values.rate, 0.001)
  const duration_ms = number('duration', values.duration, 0) * 1000
  const drain_ms = number('drain', values.drain, 0) * 1000
  const batch = number('batch', values.batch, 1)
  const seed = number('seed', values.seed, 0)
  const protocols = (values.protocol ?? 'teltonika,wialon').split(',')
  const targets = await findTargets(protocols, values)

  const { ledger } = values
  let lines = ''
  const flushLedger = () => {
    if (ledger !== undefined && lines !== '') appendFileSync(ledger, lines)
    lines = ''
  }
  if (ledger !== undefined) writeFileSync(ledger, '')
  const tallies = protocols.map(() => new Tally())
  const devices = Array.from({ length: count }, (_, i) => {
    const at = i % protocols.length
    return new Device({
      ...targets[at]!,
      host: values.host,
      ident: identOf(seed, i),
      seed: seed * 1_000_003 + i,
      tally: tallies[at]!,
      batch,
      ...(ledger === undefined
        ? {}
        : { onAcknowledged: (ident: string, timestamp: number) => (lines += `${ident} ${timestamp}\n`) }),
    })
  })

  const began = Date.now()
  let end = began + duration_ms
  process.once('SIGINT', () => (end = Date.now()))
  const progress = new Progress()
  const due = devices.map(() => began + (Math.random() * 1000) / rate)
  // A fleet comes within a second, not in one instant.
  for (const [i, device] of devices.entries()) setTimeout(() => device.connect(), (i * 1000) / count)

  for (;;) {
    await new Promise((done) => setTimeout(done, 20))
    const now = Date.now()
    if (now >= end) break
    for (const [i, device] of devices.entries()) {
      while (due[i]! <= now) {
        device.record(due[i]! / 1000)
        due[i]! += 1000 / rate
      }
      device.send()
    }
    flushLedger()
    progress.show(status(tallies, devices, (now - began) / 1000))
  }
  const latest = Date.now() + drain_ms
  while (devices.some((device) => device.pending > 0) && Date.now() < latest) {
    for (const device of devices) device.send()
    progress.show(`${status(tallies, devices, (Date.now() - began) / 1000)}  draining`)
    await new Promise((done) => setTimeout(done, 20))
  }
  const pending = devices.reduce((sum, device) => sum + device.pending, 0)
  for (const device of devices) device.stop()
  flushLedger()
  progress.clear()
  const head = ['protocol', 'sent', 'acknowledged', 'lost', 're-sent', 'reconnects', 'refused', 'ack p50 ms', 'p95 ms']
  const rows = tallies.map((tally, i) => [
    protocols[i]!,
    tally.made,
    tally.acknowledged,
    tally.made - tally.acknowledged,
    tally.resent,
    tally.reconnects,
    tally.refused,
    Math.round(tally.percentile_ms(50) * 10) / 10,
    Math.round(tally.percentile_ms(95) * 10) / 10,
  ])
  process.stdout.write(`${table(head, rows)}\n`)
  const lost = tallies.reduce((sum, tally) => sum + tally.made - tally.acknowledged, 0)
  if (lost > 0) process.stdout.write(`${lost} records were not acknowledged (${pending} still waited)\n`)
  return lost > 0 ? 1 : 0
}

async function fixtures(values: {
  protocol?: string
  transport?: string
  'at-once': string
  seed: string
  url: string
  'token-file'?: string
  host: string
  keep: boolean
}): Promise<number> {
  const transports = values.transport?.split(',')
  for (const name of transports ?? [])
    if (!['tcp', 'udp', 'http'].includes(name)) throw new Error(`--transport ${name}: tcp, udp or http`)
  const wrong = await playFixtures({
    site: siteAt(values.url, values['token-file']),
    host: values.host,
    protocols: (values.protocol ?? 'all').split(','),
    ...(transports ? { transports: transports as Transport[] } : {}),
    at_once: number('at-once', values['at-once'], 1),
    seed: number('seed', values.seed, 0),
    keep: values.keep,
  })
  return wrong > 0 ? 1 : 0
}

async function findTargets(
  protocols: string[],
  values: { port?: string; url: string; 'token-file'?: string },
): Promise<{ encoder: ReturnType<typeof encoderOf>; port: number }[]> {
  const found = protocols.map((protocol) => ({ encoder: encoderOf(protocol), port: 0 }))
  if (values.port !== undefined) {
    if (protocols.length !== 1) throw new Error('--port goes with one --protocol')
    found[0]!.port = number('port', values.port, 1)
    return found
  }
  const site = siteAt(values.url, values['token-file'])
  for (const [i, protocol] of protocols.entries()) {
    const channel = await channelOf(site, protocol)
    found[i]!.port = channel.port
    process.stdout.write(`${protocol}: channel ${channel.id} "${channel.name}" on port ${channel.port}\n`)
  }
  return found
}

function status(tallies: Tally[], devices: Device[], seconds: number): string {
  const sum = (pick: (tally: Tally) => number) => tallies.reduce((total, tally) => total + pick(tally), 0)
  const most = (percentile: number) => Math.max(...tallies.map((tally) => tally.percentile_ms(percentile))).toFixed(1)
  const pending = devices.reduce((total, device) => total + device.pending, 0)
  return (
    `${seconds.toFixed(0)} s  sent ${sum((t) => t.made)}  acknowledged ${sum((t) => t.acknowledged)}  waiting ${pending}` +
    `  re-sent ${sum((t) => t.resent)}  reconnects ${sum((t) => t.reconnects)}  ack p50 ${most(50)} p95 ${most(95)} ms`
  )
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 2
}
