/** ADMIN's agent: keeps the processes of this machine alive. It needs neither ADMIN nor PostgreSQL to do so. */
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { createApi, envelope } from '#services/common/api.ts'
import { call } from '#services/common/client.ts'
import { ApiError } from '#services/common/errors.ts'
import { makeLogger } from '#services/common/process.ts'
import { readLog } from './log.ts'
import { endLeftovers, paths, Supervisor, startTime } from './supervisor.ts'
import { type Instance, offsets } from './types.ts'

const help = `usage: node services/admin/agent.ts --state DIR [--base-port 7000] [--release HASH] [--detach]
       node services/admin/agent.ts --state DIR --stop [--purge]

  --detach   start in the background and wait until ADMIN answers; one that runs already is kept
  --release  what ADMIN is told to run; another one than before restarts agent and ADMIN, not the services
  --stop     stop all processes, then the agent; with --purge remove their data, too
`
/** The first start makes PostgreSQL's data directory. */
const start_time_max_ms = 60_000
const stop_time_max_ms = 40_000

interface Secrets {
  /** Of the agent and of ADMIN's local door. */
  agent_token: string
  /** Of the home environment's services. */
  internal_token: string
  postgres_password: string
}

const { values } = parseArgs({
  options: {
    state: { type: 'string' },
    'base-port': { type: 'string', default: '7000' },
    release: { type: 'string', default: '' },
    detach: { type: 'boolean', default: false },
    stop: { type: 'boolean', default: false },
    purge: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help || !values.state) {
  process.stdout.write(help)
  process.exit(values.help ? 0 : 2)
}
const state = resolve(values.state)
const base = Number(values['base-port'])
const lock = join(state, 'agent.json')

interface Lock {
  pid: number
  start: string
  port: number
  release: string
}

/** The agent that runs now, if one does. */
function running(): Lock | undefined {
  try {
    const known = JSON.parse(readFileSync(lock, 'utf8')) as Lock
    return startTime(known.pid) === known.start ? known : undefined
  } catch {
    return undefined
  }
}

function writePrivate(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

/** Secrets are made once and stay in one file that only this user reads. */
function secrets(): Secrets {
  const file = join(state, 'secrets.json')
  if (!existsSync(file)) {
    const secret = () => randomBytes(32).toString('base64url')
    writePrivate(
      file,
      JSON.stringify({
        agent_token: secret(),
        internal_token: secret(),
        postgres_password: secret(),
      } satisfies Secrets),
    )
  }
  const known = JSON.parse(readFileSync(file, 'utf8')) as Secrets
  writePrivate(join(state, 'agent.token'), known.agent_token)
  return known
}

/** Where PostgreSQL's files are: it cannot work below a folder that its user may not pass, such as /root. */
function postgresFolder(): string {
  const usual = join(state, 'data/home/postgres-1')
  if (process.getuid?.() !== 0) return usual
  for (let at = state; at !== '/'; at = resolve(at, '..')) {
    if (existsSync(at) && (statSync(at).mode & 0o001) === 0)
      return join('/var/lib/milepost', createHash('sha256').update(state).digest('hex').slice(0, 12))
  }
  return usual
}

/** PostgreSQL and ADMIN: what must be there before anyone can be told what to run. */
function foundation({ agent_token, internal_token, postgres_password }: Secrets): Instance[] {
  const urls = { prod: '', tgctl: '', mdb: '', admin: '', mbus: '', tg: [] }
  const postgres = {
    host: '127.0.0.1',
    port: base + offsets.postgres,
    database: 'postgres',
    user: 'milepost',
    password: postgres_password,
  }
  const common = { environment: 'home', host: '127.0.0.1', internal_token, urls, postgres }
  const folder = postgresFolder()
  return [
    {
      environment: 'home',
      type: 'postgres',
      instance: 'postgres-1',
      file: 'services/admin/postgres.ts',
      config: {
        ...common,
        type: 'postgres',
        instance: 'postgres-1',
        data: join(state, 'data/home/postgres-1'),
        options: { folder },
      },
      probe: { kind: 'tcp', port: postgres.port },
      stop: 'SIGINT',
    },
    {
      environment: 'home',
      type: 'admin',
      instance: 'admin-1',
      file: 'services/admin/admin.ts',
      config: {
        ...common,
        type: 'admin',
        instance: 'admin-1',
        version: values.release,
        port: base + offsets.admin,
        data: join(state, 'data/home/admin-1'),
        options: { agent_url: `http://127.0.0.1:${base + offsets.agent}`, agent_token, state, base_port: base },
      },
      probe: { kind: 'http', port: base + offsets.admin },
      stop: 'SIGTERM',
    },
  ]
}

async function serve(): Promise<void> {
  mkdirSync(state, { recursive: true })
  // PostgreSQL's user must pass these folders; what is private in them is private by itself.
  for (const folder of ['', 'data', 'data/home']) {
    mkdirSync(join(state, folder), { recursive: true })
    chmodSync(join(state, folder), 0o711)
  }
  if (running()) throw new Error(`an agent runs already with ${state}`)
  const log = makeLogger({ environment: 'home', type: 'agent', instance: 'agent-1' })
  const known = secrets()
  const port = base + offsets.agent
  const desiredFile = join(state, 'desired.json')
  let desired: Instance[] = existsSync(desiredFile) ? JSON.parse(readFileSync(desiredFile, 'utf8')) : []
  const supervisor = new Supervisor(state, log)
  const app = await createApi({ system: 'agent', title: "ADMIN's agent", log, internalToken: known.agent_token })

  app.get('/agent/processes/all', (_request, reply) => envelope(reply, supervisor.processes()))
  app.put<{ Body: Instance[] }>('/agent/desired/all', (request, reply) => {
    desired = request.body
    writePrivate(desiredFile, JSON.stringify(desired))
    void supervisor.apply([...foundation(known), ...desired])
    return envelope(reply, [{ instances: desired.length }])
  })
  app.delete<{ Params: { name: string } }>('/agent/environments/:name', async (request, reply) => {
    const { name } = request.params
    if (!/^[a-z][a-z0-9-]*$/.test(name) || name === 'home')
      throw new ApiError('malformed', `no environment to remove: ${name}`)
    desired = desired.filter(({ environment }) => environment !== name)
    writePrivate(desiredFile, JSON.stringify(desired))
    await supervisor.apply([...foundation(known), ...desired])
    supervisor.removeFiles(name)
    return envelope(reply, [{ name }])
  })
  app.get<{
    Params: { environment: string; instance: string }
    Querystring: { count?: number; level?: number; from?: number }
  }>('/agent/logs/:environment/:instance', (request, reply) => {
    const { environment, instance } = request.params
    if (!/^[\w-]+$/.test(environment) || !/^[\w-]+$/.test(instance)) throw new ApiError('malformed', 'no such log')
    return envelope(reply, readLog(paths(state, environment, instance).log, request.query))
  })

  let stopping = false
  const stop = async (leave: boolean) => {
    if (stopping) return
    stopping = true
    log.info({ leave }, 'stopping')
    if (leave) supervisor.release()
    else await supervisor.stop()
    await app.close()
    rmSync(lock, { force: true })
    process.exit(0)
  }
  process.on('SIGTERM', () => void stop(false))
  process.on('SIGINT', () => void stop(false))
  process.on('SIGUSR2', () => void stop(true))
  process.on('uncaughtException', (error) => log.error({ err: error }, 'uncaught error'))

  await app.listen({ host: '127.0.0.1', port })
  writePrivate(
    lock,
    JSON.stringify({
      pid: process.pid,
      start: startTime(process.pid) ?? '',
      port,
      release: values.release,
    } satisfies Lock),
  )
  log.info({ state, port }, 'the agent watches')
  await supervisor.apply([...foundation(known), ...desired])
}

async function until(what: string, time_ms: number, condition: () => Promise<boolean> | boolean): Promise<void> {
  const began = Date.now()
  let said = 0
  while (!(await condition())) {
    const elapsed = Date.now() - began
    if (elapsed > time_ms) throw new Error(`${what}: not within ${time_ms / 1000} s; see ${join(state, 'log')}`)
    if (elapsed - said > 2_000) {
      said = elapsed
      process.stdout.write(`${what} … ${Math.round(elapsed / 1000)} s\n`)
    }
    await new Promise((done) => setTimeout(done, 50))
  }
}

async function detach(): Promise<void> {
  const before = running()
  if (before && before.release !== values.release) {
    process.stdout.write('another release: the agent is renewed, its processes go on\n')
    process.kill(before.pid, 'SIGUSR2')
    await until('the old agent goes', stop_time_max_ms, () => running() === undefined)
  } else if (before) process.stdout.write(`the agent runs (pid ${before.pid})\n`)
  if (!running()) {
    mkdirSync(join(state, 'log'), { recursive: true })
    const output = openSync(join(state, 'log/agent.log'), 'a', 0o600)
    const args = [import.meta.filename, '--state', state, '--base-port', String(base), '--release', values.release]
    const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', output, output] })
    closeSync(output)
    let ended = false
    child.on('exit', () => (ended = true))
    await until('the agent starts', start_time_max_ms, () => {
      if (ended) throw new Error(`the agent ended at once; see ${join(state, 'log/agent.log')}`)
      return running() !== undefined
    })
    child.unref()
    process.stdout.write(`the agent was started (pid ${child.pid})\n`)
  }
  const token = readFileSync(join(state, 'agent.token'), 'utf8')
  await until('ADMIN starts', start_time_max_ms, async () => {
    const answer = await call('GET', `http://127.0.0.1:${base + offsets.admin}/readyz`, { token }).catch(
      () => undefined,
    )
    return answer?.status === 200
  })
  process.stdout.write('ADMIN answers\n')
  process.exit(0)
}

async function stopAgent(): Promise<void> {
  const agent = running()
  if (agent) {
    process.kill(agent.pid, 'SIGTERM')
    await until('the processes stop', stop_time_max_ms, () => running() === undefined)
    process.stdout.write('all processes were stopped\n')
  } else {
    const count = await endLeftovers(state)
    process.stdout.write(count > 0 ? `no agent ran; ${count} processes that it left were stopped\n` : 'nothing runs\n')
  }
  if (!values.purge) return
  rmSync(postgresFolder(), { recursive: true, force: true })
  for (const name of [
    'data',
    'log',
    'run',
    'environments',
    'desired.json',
    'secrets.json',
    'agent.token',
    'agent.json',
    'admin-token',
  ])
    rmSync(join(state, name), { recursive: true, force: true })
  process.stdout.write('their data was removed\n')
}

try {
  if (values.stop) await stopAgent()
  else if (values.detach) await detach()
  else await serve()
} catch (error) {
  process.stderr.write(`agent: ${(error as Error).message}\n`)
  process.exit(1)
}
