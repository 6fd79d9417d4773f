import { Environment, ProcessGroup } from '../constructs/index.ts'
import { all, type Site } from '../constructs/site.ts'
import { findingsOf, SiteError } from './findings.ts'
import type { MachinePlan } from './plan.ts'

/** The plan of a site of one machine without racks. Throws SiteError with every finding. */
export function machinePlanOf(site: Site): MachinePlan {
  const findings = findingsOf(site)
  if (findings.length > 0) throw new SiteError(site.name, findings)
  const [environment] = all(site, Environment)
  if (!environment) throw new SiteError(site.name, [`site ${site.name}: it has no environment; add an Environment`])
  const groups = all(environment, ProcessGroup)
  return {
    name: site.name,
    base_port: environment.basePort,
    processes: Object.fromEntries(groups.map(({ type, each }) => [type, each])),
    options: Object.fromEntries(
      groups
        .filter(({ options }) => Object.keys(options).length > 0)
        .map(({ type, options }) => [type, { ...options }]),
    ),
    channels: environment.channels.map((channel) => ({ ...channel })),
  }
}
