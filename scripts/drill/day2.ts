/** What is done to a site on its second day, as drills: nothing may be lost, and nothing left behind. */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Site } from '#infra/constructs/site.ts'
import type { Plan } from '#infra/site/plan.ts'
import { planOf } from '#infra/site/plan-of.ts'
import { hardware } from '../lab/client.ts'
import { until } from '../lab/shell.ts'
import { lab_site } from '../lab/site.ts'
import { placeOf } from '../provision/compare.ts'
import { root, state } from '../state.ts'
import type { Bench, Drill } from './drills.ts'
import { nothingLeftOf } from './left.ts'

/** Where the site files and the words of the commands are. */
const folder = join(state, 'day2')
const log = join(folder, 'commands.log')

/** The server that comes and goes, as a person would write it into the site file. */
const newcomer = { name: 'srv3', line: "  { name: 'srv3', role: 'server', unit: 2, host: 33 }," }
const after_line = /^ {2}\{ name: 'srv2'.*$/m

/** Processes are told of a server more or less, and restarted one after the other. */
const roll_max_ms = 5_000
/** What only one server runs is away while that one boots or restarts it. */
const boot_max_ms = 90_000
const boot_wait_s = 120
const no_boot_wait_s = 25
const power_time_max_ms = 60_000

/** Writes the site file with one server more; gives its folder and its plan. */
async function widened(): Promise<{ sites: string; plan: Plan }> {
  const sites = join(folder, 'sites')
  const text = readFileSync(join(root, 'infra-cdk/sites/lab.ts'), 'utf8')
  const wide = text
    .replace(after_line, (line) => `${line}\n${newcomer.line}`)
    .replace("'../constructs/index.ts'", "'#infra/constructs/index.ts'")
  if (!wide.includes(newcomer.line)) throw new Error('sites/lab.ts has no line of srv2 to put another server after')
  mkdirSync(sites, { recursive: true })
  const file = join(sites, `${lab_site}.ts`)
  writeFileSync(file, wide)
  const loaded = (await import(pathToFileURL(file).href)) as Record<string, Site>
  return { sites, plan: planOf(loaded[lab_site]!) }
}

/** Runs a command of ours as a person does; gives its exit code and what it said. */
function command(script: string, args: readonly string[], sites?: string): Promise<{ code: number; said: string }> {
  mkdirSync(folder, { recursive: true })
  const from = `── ${new Date().toISOString()} ${script} ${args.join(' ')}\n`
  writeFileSync(log, from, { flag: 'a' })
  const file = openSync(log, 'a')
  const { MILEPOST_SITES: _, ...env } = process.env
  // The operator's machine is none of the rack's: here it gives way to it.
  const child = spawn('nice', ['-n', '10', process.execPath, join(root, 'scripts', `${script}.ts`), ...args], {
    cwd: root,
    env: sites === undefined ? env : { ...env, MILEPOST_SITES: sites },
    stdio: ['ignore', file, file],
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      closeSync(file)
      const text = readFileSync(log, 'utf8')
      resolve({ code: code ?? 1, said: text.slice(text.lastIndexOf(from) + from.length) })
    })
  })
}

/** As `command`; rejects with its last words when it fails. */
async function must(script: string, args: readonly string[], sites?: string): Promise<void> {
  const { code, said } = await command(script, args, sites)
  if (code !== 0)
    throw new Error(
      `${script} ${args.join(' ')} ended with ${code} (${log}): ${said.trim().split('\n').slice(-6).join(' / ')}`,
    )
}

const boots = async (name: string) =>
  (await hardware.status()).servers.find((server) => server.name === name)?.boots ?? 0
const power = async (name: string) => (await hardware.status()).servers.find((server) => server.name === name)?.power

/** The last server of services: the one without single copies. */
const lastServer = (plan: Plan) => plan.servers.findLast(({ role }) => role === 'server')!

/** A boot that never ends is told as such, with the server's place, and the next server is left alone. */
async function stopAtFirst({ plan, faults }: Bench): Promise<void> {
  const dead = lastServer(plan)
  const next = plan.servers.find(({ role }) => role === 'archive')!
  const [before, nextBefore] = [await boots(dead.name), await boots(next.name)]
  const args = ['reboot', plan.site, dead.name, next.name, '--wait', String(no_boot_wait_s)]
  const working = command('site', args)
  // Switched off in the moment in which it comes up again: it never does.
  await until(`${dead.name} boots again`, power_time_max_ms * 4, async () => (await boots(dead.name)) > before)
  await hardware.power(dead.name, 'off')
  const { code, said } = await working
  faults.push(
    ...(code === 0 ? [`a server that did not come back did not stop the others' boots`] : []),
    ...(said.includes(placeOf(dead)) ? [] : [`it was not said where ${dead.name} is: ${said.slice(-300)}`]),
    ...(said.includes(`reboot ${plan.site} ${dead.name} ${next.name}`) ? [] : ['it was not said how to go on']),
    ...((await boots(next.name)) === nextBefore
      ? []
      : [`${next.name} was booted after ${dead.name} had not come back`]),
  )
}

export const day2: readonly Drill[] = [
  {
    name: 'add-server',
    what: 'a server more: racked, entered, deployed',
    outage_max_ms: roll_max_ms,
    silence_max_ms: boot_max_ms,
    keepsConnections: false,
    strike: async ({ cluster }) => {
      const { sites, plan } = await widened()
      await must('lab', ['up'], sites)
      await must('site', ['deploy', plan.site], sites)
      cluster.plan = plan
    },
  },
  {
    name: 'remove-server',
    what: 'that server out of service, out of the site file, out of the rack',
    outage_max_ms: roll_max_ms,
    silence_max_ms: boot_max_ms,
    keepsConnections: false,
    strike: async ({ plan, cluster }) => {
      const { sites } = await widened()
      await must('site', ['remove-server', plan.site, newcomer.name, '--yes'], sites)
      await must('site', ['deploy', plan.site])
      await must('lab', ['up'])
      cluster.plan = plan
    },
    audit: async ({ plan, cluster }) => {
      const gone = (await widened()).plan.servers.find(({ name }) => name === newcomer.name)!
      return nothingLeftOf(gone, plan, cluster)
    },
  },
  {
    name: 'replace-server',
    what: 'a server switched off, another machine in its place, deployed',
    outage_max_ms: roll_max_ms,
    silence_max_ms: boot_max_ms,
    keepsConnections: false,
    strike: async ({ plan }) => {
      const { name } = lastServer(plan)
      await hardware.power(name, 'soft-off')
      await until(`${name} is off`, power_time_max_ms, async () => (await power(name)) === 'off')
      await hardware.replace(name)
      await must('site', ['deploy', plan.site])
    },
  },
  {
    name: 'reboot',
    what: 'every server is booted, one after the other',
    outage_max_ms: boot_max_ms,
    silence_max_ms: boot_max_ms,
    keepsConnections: false,
    strike: ({ plan }) => must('site', ['reboot', plan.site, '--wait', String(boot_wait_s)]),
  },
  {
    name: 'reboot-stops',
    what: 'a server does not come back from its boot: the others are left alone',
    outage_max_ms: roll_max_ms,
    silence_max_ms: roll_max_ms,
    keepsConnections: false,
    strike: stopAtFirst,
    mend: async ({ plan }) => {
      const { name } = lastServer(plan)
      await hardware.power(name, 'on')
      await until(`${name} is up`, power_time_max_ms, async () => (await power(name)) === 'on')
      await must('site', ['reboot', plan.site, name, '--wait', String(boot_wait_s)])
    },
  },
]
