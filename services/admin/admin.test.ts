import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import pg from 'pg'
import { type Answer, call } from '#services/common/client.ts'
import { departures } from '#services/common/guideline.ts'
import { freePort, temporaryFolder, until } from '#services/common/testing.ts'
import { offsets, port_step } from './types.ts'

interface Row {
  name: string
  status: string
  base_port: number
  token?: string
  instances: { instance: string; type: string; pid: number; restarts: number }[]
}

const folder = temporaryFolder()
const state = join(folder.path, 'state')
let base = 0

function agent(...args: string[]): string {
  const file = join(import.meta.dirname, 'agent.ts')
  const run = spawnSync(process.execPath, [file, '--state', state, '--base-port', String(base), ...args], {
    encoding: 'utf8',
  })
  if (run.status !== 0) throw new Error(run.stdout + run.stderr)
  return run.stdout
}

const admin = <T = Row>(method: string, path: string, body?: unknown): Promise<Answer<T>> =>
  call<T>(method, `http://127.0.0.1:${base + offsets.admin}${path}`, {
    token: readFileSync(join(state, 'agent.token'), 'utf8'),
    timeout_ms: 30_000,
    ...(body === undefined ? {} : { body }),
  })

const environment = async (name: string): Promise<Row | undefined> =>
  (await admin('GET', `/admin/environments/name=${name}`)).result[0]

const running = (name: string) =>
  until(`${name} runs`, async () => (await environment(name))?.status === 'running', 30_000)

const alive = (pid: number) => existsSync(`/proc/${pid}`)

test.before(async (t) => {
  t.timeout(90_000)
  // Two environments' worth of ports, one after the other.
  base = await freePort(port_step + offsets.device_first)
  agent('--release', 'r1', '--detach')
})
test.after.always(() => {
  agent('--stop', '--purge')
  folder.remove()
})

test.serial('one PUT brings up an environment; a PUT without a change changes nothing', async (t) => {
  t.timeout(60_000)
  const wanted = { base_port: base, release: 'r1', processes: { mbus: 1, mdb: 1, prod: 1, tgctl: 1, tg: 1 } }
  t.is((await admin('PUT', '/admin/environments/name=home', wanted)).status, 200)
  await running('home')
  const before = (await environment('home'))?.instances.map(({ pid }) => pid)
  t.is((await admin('PUT', '/admin/environments/name=home', wanted)).status, 200)
  t.deepEqual(
    (await environment('home'))?.instances.map(({ pid }) => pid),
    before,
  )
  t.deepEqual(departures(await (await fetch(`http://127.0.0.1:${base + offsets.admin}/openapi.json`)).json()), [])
})

test.serial('a killed process comes back; its log tells; a killed agent finds its processes again', async (t) => {
  t.timeout(60_000)
  const mdb = (await environment('home'))?.instances.find(({ type }) => type === 'mdb')
  process.kill(mdb?.pid ?? 0, 'SIGKILL')
  await until('it is started again', async () => {
    const now = (await environment('home'))?.instances.find(({ type }) => type === 'mdb')
    return now !== undefined && now.pid !== mdb?.pid && now.restarts === 1
  })
  await running('home')
  const logs = await admin<{ msg: string }>('GET', '/admin/processes/type=mdb/logs?count=50')
  t.is(logs.result.filter(({ msg }) => msg === 'started').length, 2)
  const before = (await environment('home'))?.instances.map(({ pid }) => pid)
  const { pid } = JSON.parse(readFileSync(join(state, 'agent.json'), 'utf8')) as { pid: number }
  process.kill(pid, 'SIGKILL')
  await until('the agent is gone', () => !alive(pid))
  t.regex(agent('--release', 'r1', '--detach'), /was started/)
  await running('home')
  t.deepEqual(
    (await environment('home'))?.instances.map((i) => i.pid),
    before,
  )
})

test.serial('a second environment by one POST; DELETE leaves no process, port, file or database', async (t) => {
  t.timeout(60_000)
  const [made] = (await admin('POST', '/admin/environments', [{ name: 'second', processes: { tg: 1 } }])).result
  await running('second')
  const door = `http://127.0.0.1:${made?.base_port}`
  t.is((await call('GET', `${door}/gw/channels/all`, { token: made?.token ?? '' })).status, 200)
  t.is((await admin('POST', '/admin/environments', [{ name: 'second' }])).status, 409)
  const { instances } = (await environment('second')) as Row
  t.is(instances.length, 5)
  t.is((await admin('DELETE', '/admin/environments/name=second')).status, 200)
  t.deepEqual(
    instances.filter(({ pid }) => alive(pid)),
    [],
  )
  await t.throwsAsync(call('GET', `${door}/healthz`, { token: '' }))
  t.deepEqual(
    readdirSync(state, { recursive: true }).filter((file) => String(file).includes('second')),
    [],
  )
  const { postgres_password: password } = JSON.parse(readFileSync(join(state, 'secrets.json'), 'utf8'))
  const client = new pg.Client({
    host: '127.0.0.1',
    port: base + offsets.postgres,
    user: 'milepost',
    password,
    database: 'postgres',
  })
  await client.connect()
  const left = await client.query('select datname as name from pg_database union select rolname from pg_roles')
  await client.end()
  t.deepEqual(
    left.rows.filter(({ name }) => name.includes('second')),
    [],
  )
  t.is((await admin('GET', '/admin/environments/1,9999')).errors[0]?.id, 9999)
})

test.serial('what cannot be is refused by name', async (t) => {
  const refused = async (status: number, reason: RegExp, method: string, path: string, body?: unknown) => {
    const answer = await admin(method, path, body)
    t.is(answer.status, status)
    t.regex(answer.errors[0]?.reason ?? '', reason)
  }
  await refused(400, /unknown field "nmae"/, 'POST', '/admin/environments', [{ name: 'x', nmae: 'y' }])
  await refused(400, /name/, 'POST', '/admin/environments', [{ name: 'Not This' }])
  await refused(400, /tg must be <= 16/, 'POST', '/admin/environments', [{ name: 'x', processes: { tg: 17 } }])
  await refused(409, /within 1000 of another/, 'POST', '/admin/environments', [{ name: 'x', base_port: base + 5 }])
  await refused(409, /stays/, 'PUT', '/admin/environments/name=home', { base_port: base + 1 })
  await refused(409, /npm run destroy/, 'DELETE', '/admin/environments/name=home')
})
