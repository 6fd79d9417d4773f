/** The site that a command is about, its files and its deployment. */
import { inventoryOf, variablesOf } from '#ansible/inventory.ts'
import type { Files } from '#infra/render/difference.ts'
import { renderSite } from '#infra/render/render.ts'
import { type Deployment, deploymentOf } from '#infra/site/deployment.ts'
import { machinesFile, readMachines } from '#infra/site/machines.ts'
import type { Plan } from '#infra/site/plan.ts'
import { planOf } from '#infra/site/plan-of.ts'
import { site as homeSite } from '#infra/sites/home.ts'
import { refused, sites } from '#infra/sites/index.ts'
import { state } from '../state.ts'

/** The plan of a site by its name; throws with all its findings. */
export function planNamed(name: string): Plan {
  if (refused[name] !== undefined) throw new Error(refused[name])
  if (name === homeSite.name)
    throw new Error(`site ${name} is one machine without racks: use npm start, npm run diff, npm run destroy`)
  const site = sites[name]
  if (!site)
    throw new Error(
      `there is no site "${name}" in infra-cdk/sites/index.ts; there are ${[homeSite.name, ...Object.keys(sites)].join(', ')}`,
    )
  return planOf(site)
}

export function deploymentNamed(name: string): Deployment {
  return deploymentOf(planNamed(name), {
    machines: readMachines(machinesFile(state, name)),
    variablesOf: (plan, host) => variablesOf(plan, plan.servers.find((server) => server.name === host)!),
  })
}

/** Everything that is rendered of a plan, by path from the site's folder `rendered`. */
export function renderedFiles(plan: Plan): Files {
  return new Map([
    ['plan.json', `${JSON.stringify(plan, null, 2)}\n`],
    ...Object.entries(inventoryOf(plan)),
    ...renderSite(plan),
  ])
}
