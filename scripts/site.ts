/** `npm run site -- check|show|render|diff|drift|deploy|reboot|remove-server|destroy SITE`: a site, from its description to running servers. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { renderSummary } from '#infra/render/summary.ts'
import { machinePlanOf } from '#infra/site/machine.ts'
import type { Plan } from '#infra/site/plan.ts'
import { releaseHash } from '#infra/site/release.ts'
import { site as homeSite } from '#infra/sites/home.ts'
import { sites } from '#infra/sites/index.ts'
import { stackId } from '#infra/stacks/site-stack.ts'
import { type StackName, stackNames } from '#infra/stacks/steps.ts'
import { cdktf } from './cdktf.ts'
import { statesOf, tableOf } from './provision/table.ts'
import { runAnsible } from './site/ansible.ts'
import { apply, begin, forgetServers, prepare, remove } from './site/apply.ts'
import { diffText } from './site/diff.ts'
import { renderedFolder, writeFiles } from './site/folders.ts'
import { askAll, overviewOf, seen } from './site/hardware.ts'
import { install, installServers, orderReinstalls, type Reinstalls } from './site/install.ts'
import { lookAtMachines } from './site/machines.ts'
import { movedIds } from './site/members.ts'
import { reboot } from './site/reboot.ts'
import { removeServer } from './site/remove-server.ts'
import { realHands, replaceDrive, replacementOf } from './site/replace-drive.ts'
import { deploymentNamed, planNamed, renderedFiles } from './site/site.ts'

const help = `usage: npm run site -- COMMAND SITE      sites: ${[homeSite.name, ...Object.keys(sites)].join(', ')}

  check    says whether the site can be, or all that is wrong with it
  show     prints the plan, and draws the racks: --svg FILE, --json for the plan as it is
  render   writes what is rendered of the plan: --to FOLDER
  diff     per host what a deploy would change since the last one; exit code 3 when there is anything
  drift    asks the servers whether they still are as they were deployed; exit code 3 when one is not
  deploy   blank servers, then hardware, cluster, services; again: what changed or was left undone
           --reinstall SERVER: what is on its drives goes (asks; in scripts --yes-reinstall SERVER)
           --until install|hardware|cluster: ends after this part; the next deploy goes on
  reboot   SITE [SERVER…]: one server after the other, the site whole before each; --wait SECONDS until one answers (900)
  remove-server  SITE SERVER: out of service, before it leaves the site file (asks; in scripts --yes)
  servers  how far each server is from blank to ready
  hardware all parts of all servers with their state; exit code 1 when one is broken
           --seen SERVER: entries of its event log, and resets, were looked at
  replace-drive  SITE SERVER --old SERIAL --new SERIAL: a drive of a mirror, without a stop (asks; in scripts --yes)
  destroy  takes away what deploy made
  apply    SITE STEP: one step of a deploy, whatever the state says
`

const say = (text: string) => void process.stdout.write(`${text}\n`)

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      svg: { type: 'string' },
      to: { type: 'string' },
      wait: { type: 'string' },
      reinstall: { type: 'string', multiple: true, default: [] },
      'yes-reinstall': { type: 'string', multiple: true, default: [] },
      until: { type: 'string' },
      seen: { type: 'string' },
      old: { type: 'string' },
      new: { type: 'string' },
      yes: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const [command, name, what, ...others] = positionals
  if (values.help || command === undefined || name === undefined) {
    process.stdout.write(help)
    return values.help ? 0 : 2
  }
  switch (command) {
    case 'check': {
      if (name === homeSite.name) machinePlanOf(homeSite)
      else planNamed(name)
      say(`site ${name}: nothing is wrong with it`)
      return 0
    }
    case 'show': {
      const plan = planNamed(name)
      if (values.svg !== undefined) {
        const { drawRacks } = await import('#infra/render/drawing.ts')
        writeFileSync(values.svg, drawRacks(plan))
      }
      say(values.json ? JSON.stringify(plan, null, 2) : renderSummary(plan))
      if (values.svg !== undefined) say(`\nThe racks are drawn in ${values.svg}`)
      return 0
    }
    case 'render': {
      const folder = values.to ?? renderedFolder(name)
      const files = renderedFiles(planNamed(name))
      writeFiles(folder, files)
      say(`${files.size} files in ${folder}`)
      return 0
    }
    case 'diff': {
      const text = diffText(name)
      say(text === '' ? `site ${name}: nothing to change` : text)
      return text === '' ? 0 : 3
    }
    case 'drift':
      return drift(name)
    case 'deploy':
      return deploy(name, { ask: values.reinstall, yes: values['yes-reinstall'] }, values.until)
    case 'reboot':
      await reboot(planNamed(name), {
        names: what === undefined ? [] : [what, ...others],
        ...(values.wait === undefined ? {} : { wait_s: Number(values.wait) }),
      })
      return 0
    case 'remove-server':
      await removeServer(planNamed(name), what ?? '', values.yes)
      return 0
    case 'servers': {
      const plan = planNamed(name)
      say(tableOf(plan.servers, statesOf(plan), Date.now()).join('\n'))
      return 0
    }
    case 'hardware': {
      const plan = planNamed(name)
      if (values.seen !== undefined) {
        say(await seen(plan, values.seen))
        return 0
      }
      const { lines, wrong } = overviewOf(plan.servers, await askAll(plan), Date.now())
      say(lines.join('\n'))
      return wrong === 0 ? 0 : 1
    }
    case 'replace-drive': {
      const replacement = replacementOf(planNamed(name), what ?? '', { old: values.old, new: values.new })
      await replaceDrive(replacement, realHands(name, replacement.server, values.yes))
      return 0
    }
    case 'install':
      return install(planNamed(name))
    case 'destroy': {
      // Servers stay installed; that they are is forgotten by the stack alone.
      await cdktf(
        'destroy',
        partsOf(planNamed(name)).map((part) => stackId(name, part)),
      )
      return 0
    }
    case 'begin':
      await begin(name, what as StackName)
      return 0
    case 'apply':
      await apply(name, what ?? '')
      return 0
    case 'remove':
      await remove(name, what as StackName)
      return 0
    default:
      process.stderr.write(`there is no command "${command}"\n${help}`)
      return 2
  }
}

/** Whether somebody changed a server by hand since the deploy. */
async function drift(name: string): Promise<number> {
  const { steps } = deploymentNamed(name)
  prepare(name)
  let differing = 0
  for (const playbook of new Set(steps.flatMap(({ playbooks }) => playbooks))) {
    const recap = await runAnsible({
      site: name,
      playbooks: [playbook],
      hosts: [],
      variables: { node_service_release: releaseHash() },
      check: true,
    })
    for (const { host, changed } of recap) if (changed > 0) say(`${host}: ${changed} differ (${playbook})`)
    differing += recap.reduce((sum, { changed }) => sum + changed, 0)
  }
  say(
    differing === 0
      ? `site ${name}: its servers are as they were deployed`
      : `${differing} differ: deploy, or apply a step`,
  )
  return differing === 0 ? 0 : 3
}

/** Parts of a deploy in their order, a stack each. */
const partsOf = ({ install }: Plan) => [...(install ? (['install'] as const) : []), ...stackNames]

async function deploy(name: string, reinstalls: Reinstalls, until?: string): Promise<number> {
  const began = Date.now()
  // All that is wrong with the site is said before anything is touched.
  const plan = planNamed(name)
  const parts = partsOf(plan)
  const last = until === undefined ? parts.length - 1 : parts.indexOf(until as StackName)
  if (last < 0) throw new Error(`--until ${until}: site ${name} has ${parts.join(', ')}`)
  const file = join(renderedFolder(name), 'plan.json')
  const moved = existsSync(file) ? movedIds(JSON.parse(readFileSync(file, 'utf8')) as Plan, plan) : []
  if (moved.length > 0) throw new Error(moved.join('\n'))
  prepare(name)
  await orderReinstalls(plan, reinstalls)
  const installed = plan.install !== null && (await installServers(plan))
  await lookAtMachines(plan)
  const stacks = parts.slice(0, last + 1).flatMap((part) => (part === 'install' ? [] : [stackId(name, part)]))
  const configured = stacks.length > 0 && (await cdktf('deploy', stacks))
  forgetServers(plan)
  const changed = installed || configured
  const what = `${changed ? 'is deployed' : 'is as it should be: 0 changed'}${until === undefined ? '' : ` as far as ${until}`}`
  say(`\nSite ${name} ${what}, ${((Date.now() - began) / 1_000).toFixed(1)} s`)
  return 0
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 1
}
