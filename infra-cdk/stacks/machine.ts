import { createHash } from 'node:crypto'
import { type App, LocalBackend, NullProvider, NullResource, TerraformStack } from '../cdk.ts'
import type { MachinePlan } from '../site/plan.ts'

export interface MachineStackProps {
  readonly machine: MachinePlan
  /** Content hash of the code to run. */
  readonly release: string
}

/** From cdktf.out/stacks/NAME to the top of the tree: no path of a machine gets into the plan. */
const top = '../../..'
const apply = (what: string) => `cd ${top} && node_modules/.bin/node scripts/apply.ts ${what}`

/**
 * The services of a plan. Each resource's triggers are the content of exactly what it configures,
 * so that a deploy without a change touches nothing. No secret is in them.
 */
export class MachineStack extends TerraformStack {
  constructor(scope: App, { machine: plan, release }: MachineStackProps) {
    super(scope, plan.name)
    new LocalBackend(this, { path: `${top}/.milepost/terraform.${plan.name}.tfstate` })
    new NullProvider(this, 'null')
    this.addOverride('terraform.required_providers.null.version', '>= 2.1')

    const step = (id: string, configuration: unknown, dependsOn: NullResource[], destroy?: string) => {
      const content = JSON.stringify(configuration)
      const environment = { MILEPOST_APPLY: content }
      return new NullResource(this, id, {
        triggers: { content: createHash('sha256').update(content).digest('hex') },
        dependsOn,
        provisioners: [
          { type: 'local-exec', command: apply(id), environment },
          ...(destroy === undefined ? [] : [{ type: 'local-exec', command: apply(destroy), when: 'destroy' } as const]),
        ],
      })
    }
    const machine = step('machine', { base_port: plan.base_port }, [], 'remove')
    const runtime = step('runtime', { base_port: plan.base_port, release }, [machine])
    const environment = step(
      'environment',
      { name: plan.name, base_port: plan.base_port, release, processes: plan.processes, options: plan.options },
      [runtime],
    )
    step('channels', { base_port: plan.base_port, channels: plan.channels }, [environment])
  }
}
