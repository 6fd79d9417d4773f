/** The CDKTF app. `MILEPOST_SITE=lab` makes the stacks of that site alone; without it all sites' are made. */
import { join, resolve } from 'node:path'
import { variablesOf } from '#ansible/inventory.ts'
import { App } from './cdk.ts'
import { deploymentOf } from './site/deployment.ts'
import { machinesFile, readMachines, readReinstalled } from './site/machines.ts'
import { planOf } from './site/plan-of.ts'
import { releaseHash } from './site/release.ts'
import { home } from './sites/home.ts'
import { refused, sites } from './sites/index.ts'
import { InstallStack } from './stacks/install-stack.ts'
import { MachineStack } from './stacks/machine.ts'
import { siteStacks } from './stacks/site-stack.ts'

const state = resolve(process.env.MILEPOST_STATE ?? join(import.meta.dirname, '../.milepost'))
const wanted = (name: string) => [undefined, '', name].includes(process.env.MILEPOST_SITE)
const app = new App()
try {
  if (wanted(home.name)) new MachineStack(app, { machine: home, release: releaseHash() })
  const asked = refused[process.env.MILEPOST_SITE ?? '']
  if (asked !== undefined) throw new Error(asked)
  for (const [name, site] of Object.entries(sites)) {
    if (!wanted(name)) continue
    const plan = planOf(site)
    if (plan.install) new InstallStack(app, { plan, reinstalled: readReinstalled(state, name) })
    const { steps, hashes } = deploymentOf(plan, {
      machines: readMachines(machinesFile(state, name)),
      variablesOf: (plan, host) => variablesOf(plan, plan.servers.find((server) => server.name === host)!),
    })
    siteStacks(app, { site: name, steps, hashes })
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exit(1)
}
app.synth()
