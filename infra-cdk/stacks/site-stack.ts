import { type App, LocalBackend, NullProvider, NullResource, TerraformStack } from '../cdk.ts'
import { type StackName, type Step, stackNames } from './steps.ts'

export interface SiteStackProps {
  readonly site: string
  readonly stack: StackName
  /** All steps of the site; the stack takes its own. */
  readonly steps: readonly Step[]
  /** Per host (or `site`) a hash over exactly what the step applies there. */
  readonly hashes: (step: Step) => Readonly<Record<string, string>>
  /** The stack that is deployed before this one. */
  readonly after?: TerraformStack
}

/** From cdktf.out/stacks/NAME to the top of the tree: no path of a machine gets into the plan. */
export const top = '../../..'

/** `lab-hardware`. */
export const stackId = (site: string, stack: StackName | 'install') => `${site}-${stack}`

/**
 * A part of a site's deploy: a resource a step, whose triggers are hashes of exactly what it applies to each host. So a
 * deploy without a change touches nothing, a change runs the steps it is about alone, and one that was interrupted is
 * finished by the next: what did not succeed is not in the state. No secret is in it.
 */
export class SiteStack extends TerraformStack {
  constructor(scope: App, { site, stack, steps, hashes, after }: SiteStackProps) {
    super(scope, stackId(site, stack))
    new LocalBackend(this, { path: `${top}/.milepost/terraform.${stackId(site, stack)}.tfstate` })
    new NullProvider(this, 'null')
    this.addOverride('terraform.required_providers.null.version', '>= 2.1')
    if (after) this.addDependency(after)

    const command = (verb: string, name: string) =>
      `cd ${top} && node_modules/.bin/node scripts/site.ts ${verb} ${site} ${name}`
    // Made first and taken away last: what it does on destroy, all steps of this stack are there for.
    const begin = new NullResource(this, 'begin', {
      triggers: { site },
      provisioners: [
        { type: 'local-exec', command: command('begin', stack) },
        { type: 'local-exec', command: command('remove', stack), when: 'destroy' },
      ],
    })
    const made = new Map<string, NullResource>()
    for (const step of steps.filter((other) => other.stack === stack)) {
      const before = step.after.map((name) => {
        const resource = made.get(name)
        if (!resource) throw new Error(`step ${step.name}: ${name}, which is to come before it, does not`)
        return resource
      })
      made.set(
        step.name,
        new NullResource(this, step.name, {
          triggers: { ...hashes(step) },
          dependsOn: [begin, ...before],
          provisioners: [{ type: 'local-exec', command: command('apply', step.name) }],
        }),
      )
    }
  }
}

/** The stacks of a site in their order: hardware, cluster, services. */
export function siteStacks(scope: App, props: Omit<SiteStackProps, 'stack' | 'after'>): SiteStack[] {
  const stacks: SiteStack[] = []
  for (const stack of stackNames) {
    const after = stacks.at(-1)
    stacks.push(new SiteStack(scope, { ...props, stack, ...(after ? { after } : {}) }))
  }
  return stacks
}
