/**
 * The fleet of a drill: devices that send through the external address, a client that reads back what they sent. Runs where
 * devices are; started and asked by `Fleet` (fleet-client.ts) over the channel between the two processes.
 */
import { connect } from 'node:net'
import { Device, Tally } from '../devices/device.ts'
import { encoderOf, identOf } from '../devices/index.ts'
import { type Channel, rest, type Site } from '../devices/site.ts'
import { type Comparison, compare } from './measure.ts'

export interface FleetOptions {
  /** The external address. */
  host: string
  channels: { protocol: string; port: number }[]
  devices: number
  /** Records a second and device. */
  rate: number
  /** Devices come from addresses of this network, `198.51.100`. */
  network: string
  /** Keeps fleets apart: part of the idents. */
  kind: number
  site: Site
}

/** A moment's count of a device's connection. */
export interface FleetReport {
  /** Per device. */
  acknowledgements: number[][]
  reconnects: number[]
  pending: number
  made: number
  /** When each connection was begun that came about; ms since 1970. */
  reached: number[]
  /** When each answer of REST came to a client that keeps its connection; ms since 1970. */
  answered: number[]
}

export type Question =
  | { ask: 'start'; options: FleetOptions }
  | { ask: 'report' }
  | { ask: 'pending' }
  | { ask: 'hush' }
  | { ask: 'compare' }
  | { ask: 'forget' }
export type Answer = { ok: unknown } | { error: string }

const batch = 20
/** A record that is acknowledged in one drill may be this much older than the drill. */
const waiting_s_max = 300
const tick_ms = 10
/** A new connection this often, given up after so long: what a device that just comes would find. */
const probe_every_ms = 50
const probe_time_max_ms = 250
/** A call of REST this often, or when the one before is over; given up after so long, as an impatient client would. */
const call_every_ms = 250
const call_time_max_ms = 10_000
const read_time_max_ms = 60_000
const read_count_max = 10_000_000

let options: FleetOptions
let devices: Device[] = []
let tallies: Tally[] = []
let acknowledgements: number[][] = []
let ledger = new Set<string>()
let from_s = 0
let reached: number[] = []
let answered: number[] = []
let driving = false
/** When each device makes its next record. */
let due: number[] = []

function start(wanted: FleetOptions): void {
  options = wanted
  from_s = Date.now() / 1000 - 1
  tallies = Array.from({ length: wanted.devices }, () => new Tally())
  acknowledgements = tallies.map(() => [])
  devices = tallies.map((tally, i) => {
    const { protocol, port } = wanted.channels[i % wanted.channels.length]!
    return new Device({
      encoder: encoderOf(protocol),
      ident: identOf(wanted.kind, i),
      host: wanted.host,
      port,
      source: `${wanted.network}.${1 + (i % 250)}`,
      seed: wanted.kind + i,
      tally,
      batch,
      onAcknowledged: (ident, timestamp) => {
        ledger.add(`${ident} ${timestamp}`)
        const times = acknowledgements[i]!
        const now = Date.now()
        // Records of one packet are answered together.
        if (times.at(-1) !== now) times.push(now)
      },
    })
  })
  for (const [i, device] of devices.entries()) setTimeout(() => device.connect(), (i * 1000) / wanted.devices)
  driving = true
  due = devices.map((_, i) => Date.now() + (i * 1000) / wanted.rate / wanted.devices)
  setInterval(() => {
    const now = Date.now()
    for (const [i, device] of devices.entries()) {
      while (driving && due[i]! <= now) {
        device.record(due[i]! / 1000)
        due[i]! += 1000 / wanted.rate
      }
      device.send()
    }
  }, tick_ms)
  probe(0)
  void callOn()
}

/** Looks all the time whether the external address takes connections. */
function probe(turn: number): void {
  const { host, network, channels } = options
  const began = Date.now()
  const socket = connect({
    host,
    port: channels[turn % channels.length]!.port,
    localAddress: `${network}.${1 + (turn % 250)}`,
  })
  const timer = setTimeout(() => socket.destroy(), probe_time_max_ms)
  socket.on('connect', () => {
    reached.push(began)
    socket.destroy()
  })
  socket.on('error', () => {})
  socket.on('close', () => clearTimeout(timer))
  setTimeout(() => probe(turn + 1), probe_every_ms)
}

/** A client of REST, on a connection that it keeps: what it asks goes through the front door to the database. */
async function callOn(): Promise<void> {
  for (;;) {
    const began = Date.now()
    try {
      await rest(options.site, 'GET', '/gw/channels/all?fields=id', undefined, call_time_max_ms)
      answered.push(Date.now())
    } catch {
      // No answer is what is measured.
    }
    await new Promise((done) => setTimeout(done, Math.max(20, began + call_every_ms - Date.now())))
  }
}

const pending = () => devices.reduce((sum, device) => sum + device.pending, 0)

function report(): FleetReport {
  return {
    acknowledgements,
    reconnects: tallies.map((tally) => tally.reconnects),
    pending: pending(),
    made: tallies.reduce((sum, tally) => sum + tally.made, 0),
    reached: reached.toSorted((a, b) => a - b),
    answered,
  }
}

/** Reads everything back through the front door. */
async function readBack(): Promise<Comparison> {
  const channels = await rest<Channel>(options.site, 'GET', '/gw/channels/all')
  const ports = new Set(options.channels.map(({ port }) => port))
  const prefix = identOf(options.kind, 0).slice(0, 8)
  const stored: string[] = []
  for (const { id } of channels.filter(({ port }) => ports.has(port))) {
    const path = `/gw/channels/${id}/messages?from=${from_s}&count=${read_count_max}&fields=ident,timestamp`
    const messages = await rest<{ ident: string; timestamp: number }>(
      options.site,
      'GET',
      path,
      undefined,
      read_time_max_ms,
    )
    for (const { ident, timestamp } of messages) if (ident.startsWith(prefix)) stored.push(`${ident} ${timestamp}`)
  }
  return compare(ledger, stored)
}

/** The next drill counts anew, and drives on from now; connections stay. */
function forget(): void {
  due = due.map((_, i) => Date.now() + (i * 1000) / options.rate / devices.length)
  driving = true
  ledger = new Set()
  reached = []
  answered = []
  acknowledgements = acknowledgements.map(() => [])
  from_s = Date.now() / 1000 - waiting_s_max
}

async function answer(question: Question): Promise<unknown> {
  switch (question.ask) {
    case 'start':
      return start(question.options)
    case 'report':
      return report()
    case 'pending':
      return pending()
    case 'hush':
      driving = false
      return undefined
    case 'compare':
      return readBack()
    case 'forget':
      return forget()
  }
}

process.on('message', (message: { id: number; question: Question }) => {
  answer(message.question).then(
    (ok) => process.send?.({ id: message.id, answer: { ok } }),
    (error) => process.send?.({ id: message.id, answer: { error: (error as Error).message } }),
  )
})
// The drill is gone: so are its devices.
process.on('disconnect', () => process.exit(0))
