/**
 * `npm run smoke`: the whole way on the running home environment: a packet in, messages out over REST and MQTT,
 * a second environment made and removed. Prints a line a check; exit code 1 when one fails.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import mqtt from 'mqtt'
import { home } from '#infra/sites/home.ts'
import { call } from '#services/common/client.ts'
import { state, tokenFile } from './state.ts'

if (process.argv.includes('--help')) {
  process.stdout.write(
    'usage: npm run smoke      a line a check on the running home environment; exit code 1 when one fails\n',
  )
  process.exit(0)
}
let token = ''
try {
  token = readFileSync(tokenFile('home'), 'utf8').trim()
} catch {
  process.stderr.write('the home environment does not run: npm start\n')
  process.exit(2)
}
const rest = `http://127.0.0.1:${home.base_port}`
const run = Date.now() % 1_000_000_000
let failed = 0

async function check(what: string, work: () => Promise<string>): Promise<void> {
  const began = Date.now()
  try {
    const figure = await work()
    process.stdout.write(`fine    ${what}${figure === '' ? '' : `: ${figure}`} (${Date.now() - began} ms)\n`)
  } catch (error) {
    failed++
    process.stdout.write(`FAILED  ${what}: ${(error as Error).message}\n`)
  }
}

async function get<T = Record<string, unknown>>(path: string): Promise<T[]> {
  const { status, result, errors } = await call<T>('GET', `${rest}${path}`, { token })
  if (status !== 200) throw new Error(`${path}: ${status} ${errors[0]?.reason ?? ''}`)
  return result
}

async function until<T>(what: string, time_max_ms: number, work: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + time_max_ms
  for (;;) {
    const value = await work()
    if (value !== undefined) return value
    if (Date.now() > end) throw new Error(`${what}: not within ${time_max_ms} ms`)
    await new Promise((done) => setTimeout(done, 50))
  }
}

/** Sends lines of a device one after another, each after the answer to the one before. */
function device(port: number, packets: Buffer[]): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const answers: string[] = []
    const socket = connect(port, '127.0.0.1', () => socket.write(packets[0] as Buffer))
    socket.setTimeout(10_000, () => socket.destroy(new Error(`no answer to packet ${answers.length + 1}`)))
    socket.on('error', reject)
    socket.on('data', (data) => {
      answers.push(data.toString('latin1').trim())
      const next = packets[answers.length]
      if (next) return socket.write(next)
      socket.end()
      resolve(answers)
    })
    socket.on('close', () => reject(new Error(`closed after ${answers.length} answers`)))
  })
}

const ident = `9${String(run).padStart(14, '0')}`
const record = (second: number) =>
  `#SD#010124;0000${String(second).padStart(2, '0')};5544.6025;N;03739.6834;E;18;99;170;10\r\n`
const lines = [`#L#${ident};NA\r\n`, record(1), record(2), record(2)].map((line) => Buffer.from(line))

await check('a device is answered and its messages are read over REST once, and come over MQTT', async () => {
  const [channel] = await get<{ id: number; port: number }>('/gw/channels/name=wialon')
  if (!channel) throw new Error('there is no channel wialon')
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${home.base_port + 1}`, {
    username: 'smoke',
    password: token,
  })
  const came: string[] = []
  client.on('message', (topic) => came.push(topic))
  await client.subscribeAsync(`milepost/message/gw/channels/${channel.id}/${ident}`, { qos: 1 })
  const answers = await device(channel.port, lines)
  if (answers.join() !== '#AL#1,#ASD#1,#ASD#1,#ASD#1') throw new Error(`answers ${answers.join()}`)
  const all = await get<{ ident: string }>(
    `/gw/channels/${channel.id}/messages?from=1704067200&to=1704067300&count=100000`,
  )
  const mine = all.filter((message) => message.ident === ident)
  if (mine.length !== 2) throw new Error(`${mine.length} messages instead of 2 (one was sent twice)`)
  await until('MQTT', 5_000, async () => (came.length >= 2 ? true : undefined))
  await client.endAsync()
  return `${mine.length} messages`
})

await check('a channel made over REST listens within a second', async () => {
  const { result, status, errors } = await call<{ id: number; port: number }>('POST', `${rest}/gw/channels`, {
    token,
    body: [{ name: `smoke ${run}`, protocol: 'wialon' }],
  })
  const [channel] = result
  if (status !== 200 || !channel) throw new Error(errors[0]?.reason ?? String(status))
  const began = Date.now()
  await until('it listens', 1_000, () => device(channel.port, lines.slice(0, 1)).catch(() => undefined))
  const took = Date.now() - began
  await call('DELETE', `${rest}/gw/channels/${channel.id}`, { token })
  return `${took} ms`
})

await check('what is wrong is refused in words', async () => {
  const wrong: [path: string, body: unknown, bearer: string, status: number, reason: RegExp][] = [
    ['/gw/channels', [{ name: 'x', protocol: 'teltonica' }], token, 400, /teltonica/],
    ['/gw/channels', [{ name: 'x', protocol: 'teltonika', colour: 1 }], token, 400, /unknown field "colour"/],
    ['/gw/channels', [], 'wrong', 401, /token/],
  ]
  for (const [path, body, bearer, expected, reason] of wrong) {
    const { status, errors } = await call('POST', `${rest}${path}`, { token: bearer, body })
    if (status !== expected || !reason.test(errors[0]?.reason ?? ''))
      throw new Error(`${path}: ${status} ${errors[0]?.reason}`)
  }
  return `${wrong.length} refusals`
})

await check('a second environment by one POST, and all of it gone after DELETE', async () => {
  const name = `smoke-${run}`
  const began = Date.now()
  const { result, status, errors } = await call<{ base_port: number; token: string }>(
    'POST',
    `${rest}/admin/environments`,
    { token, body: [{ name }], timeout_ms: 60_000 },
  )
  const [made] = result
  if (status !== 200 || !made) throw new Error(errors[0]?.reason ?? String(status))
  const processes = await until('it runs', 60_000, async () => {
    const [environment] = await get<{ status: string; instances: { pid: number }[] }>(
      `/admin/environments/name=${name}`,
    )
    return environment?.status === 'running' ? environment.instances : undefined
  })
  const running_s = (Date.now() - began) / 1_000
  const other = await call('GET', `http://127.0.0.1:${made.base_port}/gw/channels/all`, { token: made.token })
  if (other.status !== 200) throw new Error(`its REST answers ${other.status}`)
  if ((await call('GET', `${rest}/gw/channels/all`, { token: made.token })).status !== 401)
    throw new Error('its token opens another environment')
  const removing = Date.now()
  const gone = await call('DELETE', `${rest}/admin/environments/name=${name}`, { token, timeout_ms: 60_000 })
  if (gone.status !== 200) throw new Error(gone.errors[0]?.reason ?? String(gone.status))
  const left = processes.filter(({ pid }) => existsSync(`/proc/${pid}`))
  if (left.length > 0) throw new Error(`processes are left: ${left.map(({ pid }) => pid).join()}`)
  const files = readdirSync(state, { recursive: true }).filter((file) => String(file).includes(name))
  if (files.length > 0) throw new Error(`files are left: ${files.slice(0, 3).join()}`)
  const closed = await call('GET', `http://127.0.0.1:${made.base_port}/healthz`, { token }).then(
    () => false,
    () => true,
  )
  if (!closed) throw new Error('its port still answers')
  return `runs after ${running_s.toFixed(1)} s, gone after ${((Date.now() - removing) / 1_000).toFixed(1)} s`
})

process.stdout.write(failed === 0 ? 'all fine\n' : `${failed} failed\n`)
process.exit(failed === 0 ? 0 : 1)
