/** `npm run site -- check|show|render|diff|drift|deploy|destroy SITE`: a site, from its description to running servers. */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { renderSummary } from '#infra/render/summary.ts'
import { machinePlanOf } from '#infra/site/machine.ts'
import { releaseHash } from '#infra/site/release.ts'
import { site as homeSite } from '#infra/sites/home.ts'
import { sites } from '#infra/sites/index.ts'
import { stackId } from '#infra/stacks/site-stack.ts'
import { type StackName, stackNames } from '#infra/stacks/steps.ts'
import { cdktf } from './cdktf.ts'
import { runAnsible } from './site/ansible.ts'
import { apply, begin, prepare, remove } from './site/apply.ts'
import { diffText } from './site/diff.ts'
import { renderedFolder, writeFiles } from './site/folders.ts'

import { lookAtMachines } from './site/machines.ts'
import { deploymentNamed, planNamed, renderedFiles } from './site/site.ts'

const help = `usage: npm run site -- COMMAND SITE      sites: ${[homeSite.name, ...Object.keys(sites)].join(', ')}

  check    says whether the site can be, or all that is wrong with it
  show     prints the plan, and draws the racks: --svg FILE, --json for the plan as it is
  render   writes what is rendered of the plan: --to FOLDER
  diff     per host what a deploy would change since the last one; exit code 3 when there is anything
  drift    asks the servers whether they still are as they were deployed; exit code 3 when one is not
  deploy   hardware, then cluster, then services; again: what changed or was left undone
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
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const [command, name, what] = positionals
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
      return deploy(name)
    case 'destroy': {
      planNamed(name)
      await cdktf(
        'destroy',
        stackNames.map((stack) => stackId(name, stack)),
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

async function deploy(name: string): Promise<number> {
  const began = Date.now()
  // All that is wrong with the site is said before anything is touched.
  prepare(name)
  await lookAtMachines(planNamed(name))
  const changed = await cdktf(
    'deploy',
    stackNames.map((stack) => stackId(name, stack)),
  )
  say(
    `\nSite ${name} ${changed ? 'is deployed' : 'is as it should be: 0 changed'}, ${((Date.now() - began) / 1_000).toFixed(1)} s`,
  )
  return 0
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 1
}
