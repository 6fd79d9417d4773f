/** `npm run drill -- all | NAME…`: breaks the laboratory's rack for real while devices send, measures, and mends it. */
import { spawn } from 'node:child_process'
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Progress } from './devices/progress.ts'
import { ClusterWatch } from './drill/cluster.ts'
import { day2 } from './drill/day2.ts'
import { type Drill, drills, drillsNamed } from './drill/drills.ts'
import { Fleet } from './drill/fleet-client.ts'
import { plotOf } from './drill/plot.ts'
import { reportRow, reportText } from './drill/report.ts'
import { type DrillResult, runDrill, type Say } from './drill/run.ts'
import { hardware, isRunning } from './lab/client.ts'
import { down, up } from './lab/lifecycle.ts'
import { labPlan } from './lab/site.ts'
import { device_sources } from './lab/wiring.ts'
import { readSecret } from './secrets.ts'
import { root, state } from './state.ts'

const list = (some: readonly Drill[]) => some.map(({ name, what }) => `  ${name.padEnd(16)}${what}`).join('\n')

const help = `usage: npm run drill -- all | day2 | NAME… [options]

Runs on the laboratory that is up; where none is, one is built and taken down again at the end. The site is deployed first.

${list(drills)}

day2, what is done to a site later:
${list(day2)}

  --repeat N     each drill N times (1)
  --devices N    simulated devices (60)
  --rate N       records a second and device (4)
  --no-deploy    the site is deployed as it is to be
  --slack N      the limits of times are N times as long (1): a machine that does much else at the same time
  --to FOLDER    where report and plots go (.milepost/drills/TIME)

Exit code 0: every drill is green; 1: one is not; 2: they could not begin.
`

const option = { type: 'string' } as const

function number(name: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`--${name} ${text}: a number above 0`)
  return value
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      repeat: { ...option, default: '1' },
      slack: { ...option, default: '1' },
      devices: { ...option, default: '60' },
      rate: { ...option, default: '4' },
      to: option,
      'no-deploy': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help || positionals.length === 0) {
    process.stdout.write(help)
    return values.help ? 0 : 2
  }
  const chosen = drillsNamed(positionals)
  const repeat = number('repeat', values.repeat)
  const plan = labPlan()
  const own = !isRunning()
  // Interrupted, it takes down what it built.
  process.once('SIGINT', () => {
    process.stdout.write('\ninterrupted\n')
    void (own ? down(write) : hardware.restore()).finally(() => process.exit(130))
  })
  try {
    if (own) await up(write)
    if (!values['no-deploy']) await deploy(plan.site)
    return await drillAll(chosen, repeat, values)
  } finally {
    if (own) await down(write)
  }
}

/** A rack that cannot be mended is not drilled on. */
const broken_max = 3

const write = (text: string) => void process.stdout.write(`${text}\n`)

/** The same deploy as a person's. */
async function deploy(site: string): Promise<void> {
  const child = spawn(process.execPath, [join(root, 'scripts/site.ts'), 'deploy', site], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const code = await new Promise((done) => child.on('close', done))
  if (code !== 0) throw new Error(`site ${site} could not be deployed`)
}

async function drillAll(
  chosen: readonly Drill[],
  repeat: number,
  values: { to?: string | undefined; devices: string; rate: string; slack: string },
): Promise<number> {
  const plan = labPlan()
  const slack = number('slack', values.slack)
  const folder = values.to ?? join(state, 'drills', new Date().toISOString().slice(0, 19).replaceAll(':', ''))
  mkdirSync(folder, { recursive: true })
  const external = plan.virtual_addresses.find(({ purpose }) => purpose === 'external')!.address
  const channels = plan.environment.channels.map(({ protocol, port }) => ({ protocol, port }))
  const fleet = new Fleet()
  try {
    await fleet.start({
      host: external,
      channels,
      devices: number('devices', values.devices),
      rate: number('rate', values.rate),
      network: device_sources.split('.').slice(0, 3).join('.'),
      kind: Math.floor(Math.random() * 1e6),
      site: {
        url: `http://${external}:${new URL(plan.environment.urls.prod).port}`,
        token: readSecret(plan.site, 'services/admin-token'),
      },
    })
    const { results, broken } = await series(
      Array.from({ length: repeat }, () => chosen).flat(),
      (drill, say) => runDrill(drill, { plan, cluster: new ClusterWatch(plan), slack }, fleet, say),
      folder,
    )
    const text = [reportText(results), ...broken].join('\n')
    writeFileSync(join(folder, 'report.txt'), `${text}\n`)
    const failed = results.filter(({ faults }) => faults.length > 0).length + broken.length
    process.stdout.write(
      `\n${text}\n\nreport and plots: ${folder}\n${results.length + broken.length - failed} passed, ${failed} failed\n`,
    )
    return failed === 0 ? 0 : 1
  } finally {
    fleet.stop()
  }
}

const seconds_since = (began: number) => ((Date.now() - began) / 1000).toFixed(0)

/** Drills one after the other; each leaves a line and a plot at once. After one that could not be carried out all is restored. */
async function series(
  list: readonly Drill[],
  work: (drill: Drill, say: Say) => Promise<DrillResult>,
  folder: string,
): Promise<{ results: DrillResult[]; broken: string[] }> {
  const progress = new Progress()
  const results: DrillResult[] = []
  const broken: string[] = []
  for (const [i, drill] of list.entries()) {
    const began = Date.now()
    const say = (text: string, every_ms = 0) =>
      progress.show(`${i + 1}/${list.length} ${drill.name} ${seconds_since(began)} s: ${text}`, every_ms)
    let result: DrillResult
    try {
      result = await work(drill, say)
    } catch (error) {
      const words = `${drill.name} was not finished: ${(error as Error).message}`
      progress.clear()
      write(words)
      broken.push(words)
      if (broken.length >= broken_max) break
      await hardware.restore()
      continue
    }
    results.push(result)
    const title = `${drill.name}: ${drill.what}`
    writeFileSync(join(folder, `${String(i + 1).padStart(3, '0')}-${drill.name}.svg`), plotOf({ ...result, title }))
    const line = reportRow(result).join('  ')
    appendFileSync(join(folder, 'lines.txt'), `${new Date().toISOString()}  ${line}\n`)
    progress.clear()
    process.stdout.write(`${line}\n`)
  }
  return { results, broken }
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`drill: ${(error as Error).message}\n`)
  process.exitCode = 2
}
