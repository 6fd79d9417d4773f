/** One tg and one MDB in an environment of their own, a fleet that sends as fast as it is answered; PostgreSQL as the measure. */
import { type ChildProcess, fork } from 'node:child_process'
import { closeSync, fsyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { startPostgres } from '#services/common/testing.ts'
import { channelOf, rest, siteAt } from '../devices/site.ts'
import { Trip } from '../devices/trip.ts'
import { state } from '../state.ts'
import type { FleetOptions, FleetResult } from './fleet.ts'
import type { Bench } from './main.ts'

const fleets: { connections: number; batch: number; window: number }[] = [
  { connections: 1, batch: 1, window: 1 },
  { connections: 1, batch: 1, window: 1_000 },
  { connections: 200, batch: 1, window: 4 },
  { connections: 200, batch: 20, window: 2 },
  { connections: 1_000, batch: 20, window: 1 },
]
/** What Traccar's users have: a row a position, a transaction each, as many connections as its pool. */
const postgres_connections = 10
const postgres_batch = 1_000

function fleet(options: FleetOptions): Promise<FleetResult> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = fork(join(import.meta.dirname, 'fleet.ts'))
    child.once('message', (result) => resolve(result as FleetResult))
    child.once('exit', (code) => reject(new Error(`the fleet ended with code ${code}`)))
    child.send(options)
  })
}

/** CPU time of a process in s, user and system. */
function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** How often a second the disk takes 4 KiB and syncs them. */
function syncsPerSecond(seconds: number): number {
  const folder = mkdtempSync(join(state, 'bench-'))
  const file = openSync(join(folder, 'sync'), 'w')
  const page = Buffer.alloc(4096, 1)
  let count = 0
  const end = Date.now() + seconds * 1000
  while (Date.now() < end) {
    writeSync(file, page, 0, page.length, 0)
    fsyncSync(file)
    count++
  }
  closeSync(file)
  rmSync(folder, { recursive: true })
  return count / seconds
}

/** Messages a second that PostgreSQL stores durably, `rows` of them in a transaction on each connection. */
async function postgresRate(url: pg.ClientConfig, connections: number, rows: number, seconds: number): Promise<number> {
  const clients = await Promise.all(
    Array.from({ length: connections }, async () => {
      const client = new pg.Client(url)
      await client.connect()
      return client
    }),
  )
  await clients[0]?.query('drop table if exists positions')
  await clients[0]?.query(
    'create table positions (id bigserial primary key, device int not null, time timestamptz not null, message jsonb not null)',
  )
  await clients[0]?.query('create index on positions (device, time)')
  let stored = 0
  const end = Date.now() + seconds * 1000
  await Promise.all(
    clients.map(async (client, device) => {
      const trip = new Trip(device)
      let time = Math.floor(Date.now() / 1000) - 86_400
      while (Date.now() < end) {
        const texts = Array.from({ length: rows }, () => JSON.stringify(trip.next((time += 1))))
        await client.query(
          `insert into positions (device, time, message)
           select $1, to_timestamp((m->>'timestamp')::float8), m from unnest($2::jsonb[]) as m`,
          [device, texts],
        )
        stored += rows
      }
      await client.end()
    }),
  )
  return stored / seconds
}

export const bench: Bench = async ({ seconds, say }) => {
  const home = siteAt()
  const name = `bench-${Date.now().toString(36)}`
  const [made] = await rest<{ urls: { rest: string }; token: string }>(home, 'POST', '/admin/environments', [
    { name, processes: { mbus: 1, mdb: 1, prod: 1, tgctl: 1, tg: 1 } },
  ])
  if (!made) throw new Error('no environment could be made')
  const rows: (string | number)[][] = []
  try {
    const at = `/admin/environments/name=${name}`
    type Row = { status: string; instances: { type: string; pid: number }[] }
    let environment: Row | undefined
    for (const end = Date.now() + 60_000; environment?.status !== 'running'; ) {
      if (Date.now() > end) throw new Error(`environment ${name} does not run`)
      await new Promise((done) => setTimeout(done, 200))
      ;[environment] = await rest<Row>(home, 'GET', at)
    }
    const pidOf = (type: string) => environment?.instances.find((i) => i.type === type)?.pid ?? 0
    const channel = await channelOf({ url: made.urls.rest, token: made.token }, 'teltonika', 'bench')
    await new Promise((done) => setTimeout(done, 1_000))
    for (const [seed, shape] of fleets.entries()) {
      say(`gw: ${shape.connections} connections, ${shape.batch} records a packet, ${shape.window} packets under way`)
      const before = [cpuOf(pidOf('tg')), cpuOf(pidOf('mdb'))]
      const result = await fleet({ port: channel.port, ...shape, seconds, seed: seed + 1 })
      const used = [cpuOf(pidOf('tg')), cpuOf(pidOf('mdb'))].map((s, i) => s - (before[i] ?? 0))
      rows.push([
        shape.connections,
        shape.batch,
        shape.window,
        Math.round(result.acknowledged / result.seconds),
        result.p50_ms,
        result.p99_ms,
        `${Math.round(((used[0] ?? 0) / result.seconds) * 100)} %`,
        `${Math.round(((used[1] ?? 0) / result.seconds) * 100)} %`,
      ])
    }
  } finally {
    await rest(home, 'DELETE', `/admin/environments/name=${name}`, undefined, 60_000)
  }
  say('gw: PostgreSQL, the same messages')
  const postgres = await startPostgres({ fsync: 'on' })
  const best = Math.max(...rows.map((row) => Number(row[3])))
  const peers: (string | number)[][] = []
  try {
    for (const [text, connections, batch] of [
      ['PostgreSQL, a transaction a message', postgres_connections, 1],
      ['PostgreSQL, a transaction for 1,000', 2, postgres_batch],
    ] as const) {
      const rate = await postgresRate(postgres.config, connections, batch, seconds)
      peers.push([text, Math.round(rate), best / rate])
    }
  } finally {
    await postgres.stop()
  }
  return [
    {
      title: 'Durable messages a second of one tg',
      head: [
        'connections',
        'records a packet',
        'packets under way',
        'messages/s',
        'ack p50 ms',
        'ack p99 ms',
        'CPU tg',
        'CPU mdb',
      ],
      rows,
      notes: [
        'Teltonika codec 8E, 6 IO elements a record; each packet is acknowledged only after MDB synced it to disk.',
        'The fleet is one more process on the same cores.',
        `The disk takes ${Math.round(syncsPerSecond(2))} synced writes of 4 KiB a second, one after another.`,
      ],
    },
    {
      title: 'The same messages stored in PostgreSQL, without any gateway',
      head: ['how', 'messages/s', 'best of tg ÷ it'],
      rows: peers,
      notes: [
        `fsync on, a jsonb column and one index; ${postgres_connections} connections in the first row, 2 in the second.`,
      ],
    },
  ]
}
