/** What the archive's tests share: a real MDB, a real archive, records of all kinds. */

import type { ExecutionContext } from 'ava'
import { call } from '#services/common/client.ts'
import { seeded } from '#services/common/random.ts'
import { freePort, startProcess, type TestProcess, temporaryFolder, until } from '#services/common/testing.ts'
import type { MessageRecord } from './columns.ts'
import { beginOf, dayBefore, dayOf } from './days.ts'
import type { Job, Wanted } from './jobs.ts'

const token = 'internal'

export const yesterday = dayBefore(dayOf(Date.now() / 1000))
export const two_days_ago = dayBefore(yesterday)

/** Values that are easily lost on the way through columns. */
const awkward: unknown[] = [
  null,
  0.1 + 0.2,
  5e-324,
  1.7976931348623157e308,
  Number.MAX_SAFE_INTEGER,
  1e21,
  '',
  'ünïcödé 🚚 \u0000\n"\\',
  '\ud800 half a pair',
  '{"not":"an object"}',
  [1, 'two', null, { three: [] }],
  { b: 1, a: { '': null } },
  [],
  {},
  true,
  'true',
  '17',
]
const names = [
  'ident',
  'position.latitude',
  'position.satellites',
  'position.valid',
  'ain.3',
  'gsm.cellid',
  'io.239',
  'rest',
  'container',
  'constructor',
  'a"b',
  'ünïcödé',
  '1',
]

/** Records of a day, as trackers send them and as nobody would; the same for the same seed. `more`: names that some have, too. */
export function records(seed: number, count: number, day: string, more: string[] = []): MessageRecord[] {
  const next = seeded(seed)
  const pick = <T>(list: readonly T[]) => list[Math.floor(next() * list.length)]!
  return Array.from({ length: count }, (_, i) => {
    const entries: [string, unknown][] = [
      // Many of one second, and some of one microsecond.
      ['timestamp', beginOf(day) + Math.floor(next() * 40_000) / 2 + (next() < 0.2 ? 1e-6 : 0)],
      ['server.timestamp', beginOf(day) + 90_000 + i / 1e3],
      ['peer', `10.0.0.1:${1_000 + i}`],
      ['position.latitude', Math.round(next() * 1e7) / 1e5],
      ['position.longitude', Math.round(next() * 1e7) / 1e5],
      ['position.satellites', Math.floor(next() * 20)],
      ['position.valid', next() < 0.9],
      ['external.powersource.voltage', Math.round(next() * 1_400) / 100],
      [`io.${Math.floor(next() * 50)}`, Math.floor(next() * 3)],
    ]
    if (next() < 0.3) entries.push([pick(names), pick(awkward)])
    if (next() < 0.1) entries.push([pick([...names, ...more]), pick(awkward)])
    return Object.fromEntries(entries) as MessageRecord
  })
}

export interface Rig {
  mdb: TestProcess
  archive: TestProcess
  mdb_port: number
  archive_port: number
  /** The archive's folder of days. */
  days: string
  /** A call of MDB or the archive, told by its path. */
  rest<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    account?: number,
  ): ReturnType<typeof call<T>>
  /** Texts as they come. */
  text(path: string, accept?: string): Promise<{ status: number; headers: Headers; text: string }>
  /** Runs a job to its end. */
  job(wanted: Wanted): Promise<Job>
  startMdb(name?: string): Promise<void>
  startArchive(): Promise<void>
  stop(): Promise<void>
}

/** Both processes with folders of their own; they end with the test. */
export async function startRig(t: ExecutionContext, options: Record<string, unknown> = {}): Promise<Rig> {
  const folder = temporaryFolder()
  const [mdb_port, archive_port] = [await freePort(), await freePort()]
  const urls = {
    prod: '',
    tgctl: '',
    mdb: `http://127.0.0.1:${mdb_port}`,
    admin: '',
    mbus: '',
    tg: [],
    archive: `http://127.0.0.1:${archive_port}`,
  }
  const at = (path: string) => `http://127.0.0.1:${path.startsWith('/mdb') ? mdb_port : archive_port}${path}`
  const rig: Rig = {
    mdb_port,
    archive_port,
    days: `${folder.path}/archive/days`,
    rest: (method, path, body, account) =>
      call(method, at(path), { token, body, timeout_ms: 60_000, ...(account === undefined ? {} : { account }) }),
    async text(path, accept = 'application/json') {
      const answer = await fetch(at(path), { headers: { authorization: `Bearer ${token}`, accept } })
      return { status: answer.status, headers: answer.headers, text: await answer.text() }
    },
    async job(wanted) {
      const made = await rig.rest<Job>('POST', '/archive/jobs', [wanted])
      if (made.status !== 200) throw new Error(JSON.stringify(made.errors))
      let job = made.result[0] as Job
      await until(
        `job ${wanted.kind} ends`,
        async () => {
          job = (await rig.rest<Job>('GET', `/archive/jobs/${job.id}`)).result[0] as Job
          return job.ended !== null
        },
        60_000,
      )
      return job
    },
    async startMdb(name = 'mdb') {
      rig.mdb = await startProcess('services/mdb/mdb.ts', { data: `${folder.path}/${name}`, port: mdb_port })
    },
    async startArchive() {
      const data = `${folder.path}/archive`
      // Not by itself: the tests say when.
      rig.archive = await startProcess('services/archive/archive.ts', {
        data,
        port: archive_port,
        urls,
        options: { at: '23:59', ...options },
      })
    },
    async stop() {
      await Promise.all([rig.mdb?.stop(), rig.archive?.stop()])
      folder.remove()
    },
  } as Rig
  t.teardown(() => rig.stop())
  await Promise.all([rig.startMdb(), rig.startArchive()])
  return rig
}
