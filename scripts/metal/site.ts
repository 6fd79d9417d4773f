/** The site that is emulated: a site file with real servers in it. */
import { planOf } from '#infra/site/plan-of.ts'
import { sites } from '#infra/sites/index.ts'
import { type Topology, topologyOf } from './topology.ts'

/** Throws when there is no such site, or none that can be emulated. */
export function emulated(name: string): Topology {
  const site = sites[name]
  if (!site) throw new Error(`there is no site "${name}"; there are ${Object.keys(sites).join(', ')}`)
  return topologyOf(planOf(site))
}
