/** Kills processes at random moments while devices send, then compares what was acknowledged with what is stored. */
import { readdirSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { ApiError } from '#services/common/errors.ts'
import { seeded } from '#services/common/random.ts'
import { Device, Tally } from './devices/device.ts'
import { encoders, identOf } from './devices/index.ts'
import { Progress, table } from './devices/progress.ts'
import { type Channel, channelOf, rest, type Site, siteAt, tokenFileOf } from './devices/site.ts'

const help = `usage: npm run crash -- [options]

  --runs N            runs (20)
  --devices N         trackers of a run, half of each protocol (200)
  --messages N        messages of all runs together (100000)
  --seconds S         how long a run's trackers drive (4)
  --kills N           kill -9 of a run, at random moments (2)
  --targets A,B       what may be killed (tg,mdb,mbus,tgctl,worker,prod,postgres)
  --seed N            same seed, same targets and moments (random, printed)
  --environment NAME  an environment that exists; else one is made and removed again
  --url URL           front door of home (http://127.0.0.1:7000)
  --token-file FILE   token for it

Exit code 0: each acknowledged message is stored exactly once; 1: one is lost or doubled; 2: it could not be found out.
`

/** Everything must be back, and each message acknowledged, within this. */
const recovery_time_max_ms = 90_000
const poll_ms = 100
const protocols = Object.keys(encoders)

interface ProcessRow {
  environment: string
  type: string
  instance: string
  pid: number | null
  status: string
}

interface Environment {
  id: number
  name: string
  status: string
  urls: { rest: string }
  token?: string
}

const option = { type: 'string' } as const
const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms))

/** Repeats a call while what it needs is away. */
async function patient<T>(work: () => Promise<T>, time_max_ms = recovery_time_max_ms): Promise<T> {
  const end = Date.now() + time_max_ms
  for (;;) {
    try {
      return await work()
    } catch (error) {
      const passes = error instanceof ApiError && ['unavailable', 'limit', 'internal'].includes(error.kind)
      if (!passes || Date.now() > end) throw error
      await pause(poll_ms)
    }
  }
}

/** Direct children of a process whose command line contains `text`. */
function childrenOf(pid: number, text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => {
      try {
        const parent = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${child}/status`, 'utf8'))?.[1]
        return Number(parent) === pid && readFileSync(`/proc/${child}/cmdline`, 'utf8').includes(text)
      } catch {
        // It ended between the two looks.
        return false
      }
    })
}

class Crash {
  readonly #home: Site
  readonly #site: Site
  readonly #environment: string
  readonly #channels: Channel[]
  readonly #random: () => number
  /** Each acknowledged message of all runs: `ident timestamp`. */
  readonly ledger = new Set<string>()

  constructor(home: Site, site: Site, environment: string, channels: Channel[], seed: number) {
    this.#home = home
    this.#site = site
    this.#environment = environment
    this.#channels = channels
    this.#random = seeded(seed)
  }

  /** Kills one process of this kind; returns its name, or undefined when it is just down. */
  async kill(target: string): Promise<string | undefined> {
    const environment = target === 'postgres' ? 'home' : this.#environment
    const type = target === 'worker' ? 'tgctl' : target
    const rows = await rest<ProcessRow>(this.#home, 'GET', `/admin/processes/environment=${environment},type=${type}`)
    const alive = rows.filter((row) => row.pid)
    const chosen = alive[Math.floor(this.#random() * alive.length)]
    if (!chosen?.pid) return undefined
    let { pid } = chosen
    if (target === 'worker') pid = this.#pick(childrenOf(pid, 'tgctl-worker')) ?? 0
    // The process that ADMIN starts guards the server proper.
    if (target === 'postgres') pid = this.#pick(childrenOf(pid, 'postgres')) ?? pid
    if (pid === 0) return undefined
    process.kill(pid, 'SIGKILL')
    return target === 'worker' ? `${chosen.instance} worker` : chosen.instance
  }

  #pick(list: number[]): number | undefined {
    return list[Math.floor(this.#random() * list.length)]
  }

  /** One run; the row of its table. */
  async run(
    number: number,
    options: { devices: number; messages: number; seconds: number; kills: number; targets: string[] },
    progress: Progress,
  ) {
    const tally = new Tally()
    const acknowledged = new Set<string>()
    let lastAnswer = Date.now()
    let silence_ms = 0
    const onAcknowledged = (ident: string, timestamp: number) => {
      acknowledged.add(`${ident} ${timestamp}`)
      silence_ms = Math.max(silence_ms, Date.now() - lastAnswer)
      lastAnswer = Date.now()
    }
    const kind = Math.floor(this.#random() * 1_000_000)
    const devices = Array.from({ length: options.devices }, (_, i) => {
      const { protocol, port } = this.#channels[i % this.#channels.length]!
      const encoder = encoders[protocol]!
      const ident = identOf(kind, i)
      const device = new Device({
        encoder,
        ident,
        host: '127.0.0.1',
        port,
        seed: kind + i,
        tally,
        batch: 10,
        onAcknowledged,
      })
      device.connect()
      return device
    })
    const began = Date.now()
    const kills = Array.from({ length: options.kills }, () => ({
      at: began + (0.1 + this.#random() * 0.7) * options.seconds * 1000,
      target: options.targets[Math.floor(this.#random() * options.targets.length)]!,
    }))
    const killed = kills.map(async ({ at, target }) => {
      await pause(at - Date.now())
      return (await patient(() => this.kill(target))) ?? `(${target} was down)`
    })
    const each = Math.ceil(options.messages / options.devices)
    let made = 0
    while (made < each) {
      await pause(20)
      const due = Math.min(each, Math.floor((each * (Date.now() - began)) / (options.seconds * 1000)))
      for (; made < due; made++) for (const device of devices) device.record(Date.now() / 1000)
      for (const device of devices) device.send()
      progress.show(`run ${number}: sent ${tally.made}, acknowledged ${tally.acknowledged}`)
    }
    const end = Date.now() + recovery_time_max_ms
    while (devices.some((device) => device.pending > 0) && Date.now() < end) {
      for (const device of devices) device.send()
      progress.show(`run ${number}: sent ${tally.made}, acknowledged ${tally.acknowledged}, recovering`)
      await pause(20)
    }
    for (const device of devices) device.stop()
    const names = await Promise.all(killed)
    for (const key of acknowledged) this.ledger.add(key)
    const { lost, doubled, stored } = await this.compare(acknowledged, began / 1000 - 1, kind)
    return { names, tally, silence_ms, stored, lost, doubled }
  }

  /** Reads back over REST. `kind`: only messages of that run's trackers are looked at. */
  async compare(acknowledged: Set<string>, from: number, kind?: number) {
    const times = new Map<string, number>()
    const prefix = kind === undefined ? '' : identOf(kind, 0).slice(0, 8)
    for (const { id } of this.#channels) {
      const path = `/gw/channels/${id}/messages?from=${from}&count=10000000&fields=ident,timestamp`
      const messages = await patient(() =>
        rest<{ ident: string; timestamp: number }>(this.#site, 'GET', path, undefined, 120_000),
      )
      for (const { ident, timestamp } of messages) {
        if (!ident.startsWith(prefix)) continue
        const key = `${ident} ${timestamp}`
        times.set(key, (times.get(key) ?? 0) + 1)
      }
    }
    const lost = [...acknowledged].filter((key) => !times.has(key))
    const doubled = [...times].filter(([, n]) => n > 1)
    return { lost: lost.length, doubled: doubled.length, stored: times.size }
  }
}

async function makeEnvironment(home: Site, progress: Progress): Promise<{ made: Environment; site: Site }> {
  const name = `crash-${Date.now().toString(36)}`
  const [made] = await rest<Environment>(home, 'POST', '/admin/environments', [{ name }], 60_000)
  if (!made?.token) throw new Error('the environment was made without a token')
  const end = Date.now() + recovery_time_max_ms
  for (;;) {
    const [now] = await patient(() => rest<Environment>(home, 'GET', `/admin/environments/${made.id}`))
    if (now?.status === 'running') break
    if (Date.now() > end) throw new Error(`environment ${name} is still ${now?.status}`)
    progress.show(`environment ${name}: ${now?.status}`)
    await pause(200)
  }
  return { made, site: { url: made.urls.rest, token: made.token } }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      runs: { ...option, default: '20' },
      devices: { ...option, default: '200' },
      messages: { ...option, default: '100000' },
      seconds: { ...option, default: '4' },
      kills: { ...option, default: '2' },
      targets: { ...option, default: 'tg,mdb,mbus,tgctl,worker,prod,postgres' },
      seed: { ...option, default: String(Math.floor(Math.random() * 1e9)) },
      environment: option,
      url: { ...option, default: 'http://127.0.0.1:7000' },
      'token-file': option,
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  const [runs, devices, messages, seconds, kills, seed] = (
    ['runs', 'devices', 'messages', 'seconds', 'kills', 'seed'] as const
  ).map((name) => {
    const value = Number(values[name])
    if (!(value >= 0)) throw new Error(`--${name} ${values[name]}: expected a number`)
    return value
  }) as [number, number, number, number, number, number]
  const progress = new Progress()
  const home = siteAt(values.url, values['token-file'])
  let name = values.environment
  let made: Environment | undefined
  let site = home
  if (name === undefined) {
    ;({ made, site } = await makeEnvironment(home, progress))
    ;({ name } = made)
  } else if (name !== 'home') {
    const [found] = await rest<Environment>(home, 'GET', `/admin/environments/name=${name}`)
    if (!found) throw new Error(`there is no environment "${name}"`)
    site = siteAt(found.urls.rest, tokenFileOf(name, values['token-file']))
  }
  const label = Date.now().toString(36)
  const channels: Channel[] = []
  const started = Date.now() / 1000
  try {
    for (const protocol of protocols) {
      channels.push(await patient(() => channelOf(site, protocol, `crash ${protocol} ${label}`)))
    }
    process.stdout.write(`environment ${name}, seed ${seed}, ${runs} runs of ${Math.ceil(messages / runs)} messages\n`)
    const crash = new Crash(home, site, name, channels, seed)
    const rows: (string | number)[][] = []
    const settings = {
      devices,
      messages: Math.ceil(messages / runs),
      seconds,
      kills,
      targets: values.targets.split(','),
    }
    let bad = 0
    let sent = 0
    for (let number = 1; number <= runs; number++) {
      const { names, tally, silence_ms, stored, lost, doubled } = await crash.run(number, settings, progress)
      sent += tally.made
      const open = tally.made - tally.acknowledged
      bad += lost + doubled + open
      rows.push([
        number,
        names.join(', '),
        tally.made,
        tally.acknowledged,
        stored,
        lost,
        doubled,
        tally.resent,
        silence_ms,
      ])
      progress.show(
        `run ${number}: killed ${names.join(', ')}; lost ${lost}, doubled ${doubled}, silence ${silence_ms} ms`,
        0,
      )
    }
    progress.clear()
    const total = await crash.compare(crash.ledger, started - 1)
    rows.push(['all', '', sent, crash.ledger.size, total.stored, total.lost, total.doubled, '', ''])
    const head = ['run', 'killed', 'sent', 'acknowledged', 'stored', 'lost', 'doubled', 're-sent', 'silence ms']
    process.stdout.write(`${table(head, rows)}\n`)
    return bad + total.lost + total.doubled > 0 ? 1 : 0
  } finally {
    if (made) {
      const { id } = made
      await patient(() => rest(home, 'DELETE', `/admin/environments/${id}`, undefined, 90_000))
    } else if (channels.length > 0) {
      await patient(() => rest(site, 'DELETE', `/gw/channels/${channels.map((channel) => channel.id).join(',')}`))
    }
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 2
}
