/** What must stay as it is between two deploys of a site. Pure. */
import type { Plan } from '#infra/site/plan.ts'

/** Members whose node ids are not those they had, and what to do: Corosync knows a member by its id as long as it runs. */
export function movedIds(before: Plan, now: Plan): string[] {
  const had = new Map(before.cluster.nodes.map(({ name, id }) => [name, id]))
  const moved = now.cluster.nodes.filter(({ name, id }) => had.has(name) && had.get(name) !== id)
  if (moved.length === 0) return []
  const ids = moved.map(({ name }) => `${name}: ${had.get(name)}`).join(', ')
  return [
    ...moved.map(({ name, id }) => `cluster: ${name} is member ${had.get(name)}, and would become ${id}`),
    `a member keeps its id for life: say "ids: { ${ids} }" in the site's Cluster, and put new members last`,
  ]
}
