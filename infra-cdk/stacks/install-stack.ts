import { createHash } from 'node:crypto'
import { type App, LocalBackend, NullProvider, NullResource, TerraformStack } from '../cdk.ts'
import type { Plan } from '../site/plan.ts'
import { stackId, top } from './site-stack.ts'

export interface InstallStackProps {
  readonly plan: Plan
  /** By server, how often the operator asked for it to be installed again. */
  readonly reinstalled: Readonly<Record<string, number>>
}

/**
 * The step before all others where servers come blank: one resource, since one service installs them all. It is done again when
 * a server comes, or is to be installed again; which of them are ready, the state on disk knows. It is a stack of its own
 * because the others' triggers hold which system each server runs, and that is not known before.
 */
export class InstallStack extends TerraformStack {
  constructor(scope: App, { plan, reinstalled }: InstallStackProps) {
    super(scope, stackId(plan.site, 'install'))
    new LocalBackend(this, { path: `${top}/.milepost/terraform.${stackId(plan.site, 'install')}.tfstate` })
    new NullProvider(this, 'null')
    this.addOverride('terraform.required_providers.null.version', '>= 2.1')
    new NullResource(this, 'install', {
      triggers: Object.fromEntries(
        plan.servers.map(({ name, nics, drives }) => [
          name,
          // A card or a drive that was replaced is the running system's matter.
          createHash('sha256')
            .update(JSON.stringify([name, nics.length, drives.length, reinstalled[name] ?? 0]))
            .digest('hex')
            .slice(0, 16),
        ]),
      ),
      provisioners: [
        { type: 'local-exec', command: `cd ${top} && node_modules/.bin/node scripts/site.ts install ${plan.site}` },
      ],
    })
  }
}
