/**
 * The steps of a deploy, called by its provisioners: node scripts/apply.ts machine|runtime|environment|channels|remove
 * What to configure is JSON in MILEPOST_APPLY. Every step can be repeated.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readLog } from '#services/admin/log.ts'
import { paths } from '#services/admin/supervisor.ts'
import { call, mustCall } from '#services/common/client.ts'
import { root, state, tokenFile } from './state.ts'

const ready_time_max_ms = 90_000
/** A process that ended so often will not come up by waiting on. */
const restarts_max = 8

const say = (text: string) => process.stdout.write(`${text}\n`)

function agent(...args: string[]): void {
  const run = spawnSync(process.execPath, [join(root, 'services/admin/agent.ts'), '--state', state, ...args], {
    stdio: 'inherit',
  })
  if (run.status !== 0)
    throw new Error(`the agent could not do it (${args.join(' ')}); its log is ${join(state, 'log/agent.log')}`)
}

interface EnvironmentStatus {
  status: string
  instances: { instance: string; status: string; restarts: number }[]
}

/** What a process logged last as an error. */
function lastError(environment: string, instance: string): string {
  const lines = readLog(paths(state, environment, instance).log, { level: 50, count: 1 }) as {
    msg?: string
    err?: { message: string }
  }[]
  return lines[0]?.err?.message ?? lines[0]?.msg ?? 'it logged no error'
}

/** The one PUT, then progress until all processes serve. */
async function environment(wanted: { name: string; base_port: number } & Record<string, unknown>): Promise<void> {
  const token = readFileSync(join(state, 'agent.token'), 'utf8')
  const url = `http://127.0.0.1:${wanted.base_port + 3}/admin/environments/name=${wanted.name}`
  const { name: _name, ...body } = wanted
  await mustCall('PUT', url, { token, body, timeout_ms: 60_000 })
  const began = Date.now()
  let said = ''
  for (;;) {
    const [found] = await mustCall<EnvironmentStatus & Record<string, unknown>>('GET', url, { token }).catch(() => [])
    const waiting = (found?.instances ?? [])
      .filter(({ status }) => status !== 'running')
      .map(({ instance }) => instance)
    if (found?.status === 'running') break
    const text = waiting.length > 0 ? `waiting for ${waiting.join(', ')}` : 'waiting for ADMIN'
    const elapsed = Date.now() - began
    if (text !== said && elapsed > 1_000) say((said = text))
    const broken = (found?.instances ?? []).filter((p) => p.status !== 'running' && p.restarts >= restarts_max)
    if (broken.length > 0 || elapsed > ready_time_max_ms) {
      const names = broken.length > 0 ? broken.map(({ instance }) => instance) : waiting
      const reasons = names.map((name) => `${name}: ${lastError(wanted.name, name)}`)
      throw new Error(
        `not all processes serve after ${Math.round(elapsed / 1000)} s: ${reasons.join('; ')}. Their logs are in ${join(state, 'log', wanted.name)}`,
      )
    }
    await new Promise((done) => setTimeout(done, 100))
  }
  say(`all processes of ${wanted.name} serve after ${((Date.now() - began) / 1000).toFixed(1)} s`)
}

/** Makes the channels that are missing and edits those that differ; others are the users' own. */
async function channels(wanted: { base_port: number; channels: { name: string; port: number }[] }): Promise<void> {
  const token = readFileSync(tokenFile('home'), 'utf8').trim()
  const url = `http://127.0.0.1:${wanted.base_port}/gw/channels`
  for (const channel of wanted.channels) {
    const found = await call<{ id: number } & Record<string, unknown>>(
      'GET',
      `${url}/${encodeURIComponent(`name=${channel.name}`)}`,
      { token },
    )
    const [known] = found.result
    if (found.status !== 200 && found.status !== 404)
      throw new Error(found.errors[0]?.reason ?? `PROD answered ${found.status}`)
    if (!known) {
      await mustCall('POST', url, { token, body: [channel] })
      say(`channel ${channel.name} listens on port ${channel.port}`)
    } else if (Object.entries(channel).some(([name, value]) => known[name] !== value)) {
      await mustCall('PUT', `${url}/${known.id}`, { token, body: channel })
      say(`channel ${channel.name} was changed`)
    }
  }
}

const [step] = process.argv.slice(2)
try {
  const wanted = JSON.parse(process.env.MILEPOST_APPLY ?? '{}')
  if (step === 'machine') say(`the processes' folder is ${state}`)
  else if (step === 'runtime') agent('--base-port', String(wanted.base_port), '--release', wanted.release, '--detach')
  else if (step === 'environment') await environment(wanted)
  else if (step === 'channels') await channels(wanted)
  else if (step === 'remove') agent('--stop', '--purge')
  else throw new Error('usage: node scripts/apply.ts machine|runtime|environment|channels|remove')
} catch (error) {
  process.stderr.write(`${step}: ${(error as Error).message}\n`)
  process.exit(1)
}
