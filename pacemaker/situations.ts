/**
 * Situations that a cluster may get into, with what it does then in words. The words are kept in `situations/SITE.txt`,
 * read by people and compared by a test: a change of the configuration shows what it changes.
 */
import type { ClusterInput } from './input.ts'
import { gatewayResourceIds } from './resources.ts'
import type { FailedResource, Faults, Outcome, Scheduler } from './scheduler/scheduler.ts'

export interface Situation {
  readonly title: string
  readonly faults: Faults
}

const afterwards: Readonly<Record<FailedResource['after'], string>> = {
  restarts: 'dies once',
  stays: 'dies and cannot be started there again',
  'cannot stop': 'dies and cannot even be stopped',
}

/** Every situation of a site. `active` and `standby` are its gateways when nothing has happened. */
export function situationsOf(input: ClusterInput, active: string, standby: string): Situation[] {
  const nodes = input.cluster.nodes.map(({ name }) => name)
  const others = nodes.filter((name) => name !== active && name !== standby)
  const archive = input.cluster.nodes.find(({ role }) => role === 'archive')!.name
  const minority = nodes.length - input.cluster.quorum.majority
  const fails = (node: string, all: readonly string[], afters: readonly FailedResource['after'][]): Situation[] =>
    all.flatMap((resource) =>
      afters.map((after) => ({
        title: `${resource} on ${node} ${afterwards[after]}`,
        faults: { failed: [{ resource, node, after }] },
      })),
    )
  const pairs = nodes.flatMap((one, index) => nodes.slice(index + 1).map((other) => [one, other]))
  return [
    { title: 'nothing happens', faults: {} },
    ...nodes.map((name) => ({ title: `${name} is lost`, faults: { lost: [name] } })),
    ...pairs.map((lost) => ({ title: `${lost.join(' and ')} are lost together`, faults: { lost } })),
    {
      title: `so many are lost that ${active} is in the minority`,
      faults: { lost: nodes.filter((name) => name !== active).slice(0, minority + 1) },
    },
    { title: `${active} alone remains`, faults: { lost: nodes.filter((name) => name !== active) } },
    ...nodes.map((name) => ({
      title: `${name} is lost and its fencing fails`,
      faults: { lost: [name], unfenceable: [name] },
    })),
    ...others.slice(0, 1).map((other) => ({
      title: `${active} and ${other} are lost, and only the fencing of ${other} fails`,
      faults: { lost: [active, other], unfenceable: [other] },
    })),
    ...nodes.map((name) => ({ title: `${name} leaves in order`, faults: { left: [name] } })),
    ...nodes.map((name) => ({ title: `${name} goes into standby`, faults: { standby: [name] } })),
    { title: 'both gateways go into standby', faults: { standby: [active, standby] } },
    { title: `${active} is lost while ${standby} is in standby`, faults: { lost: [active], standby: [standby] } },
    { title: `${active} is lost while ${archive} is down for work`, faults: { lost: [active], left: [archive] } },
    ...fails(active, gatewayResourceIds(input, true), ['restarts', 'stays', 'cannot stop']),
    ...fails(standby, gatewayResourceIds(input, false), ['restarts', 'stays', 'cannot stop']),
    {
      title: `rules cannot run on ${active}, and ${standby} is lost`,
      faults: { failed: [{ resource: 'rules', node: active, after: 'stays' }], lost: [standby] },
    },
    {
      title: `distribution cannot run on ${active}, and ${standby} is lost`,
      faults: { failed: [{ resource: 'distribution', node: active, after: 'stays' }], lost: [standby] },
    },
    { title: `${active} does not see the router`, faults: { blind: [active] } },
    { title: `${standby} does not see the router`, faults: { blind: [standby] } },
    { title: 'neither gateway sees the router', faults: { blind: [active, standby] } },
    {
      title: `${active} does not see the router, and ${standby} is lost`,
      faults: { blind: [active], lost: [standby] },
    },
    {
      title: `${active} is lost, and ${standby} does not see the router`,
      faults: { lost: [active], blind: [standby] },
    },
    { title: 'the operator switches on maintenance', faults: { maintenance: true } },
    { title: `${active} is lost during maintenance`, faults: { maintenance: true, lost: [active] } },
    { title: 'the operator stops the external address', faults: { disabled: ['address-external'] } },
    { title: 'the operator stops the rules', faults: { disabled: ['rules-clone'] } },
  ]
}

/** All situations of a site with what the cluster does, as text. */
export async function situationsText(
  input: ClusterInput,
  scheduler: Scheduler,
  progress?: (done: number, of: number) => void,
) {
  const { running } = await scheduler.react({})
  const gateways = input.cluster.nodes.filter(({ role }) => role === 'gateway').map(({ name }) => name)
  const active = running.connections?.find(({ role }) => role === 'Promoted')?.node ?? gateways[0]!
  const standby = gateways.find((name) => name !== active)!
  const situations = situationsOf(input, active, standby)
  let done = 0
  const texts = await Promise.all(
    situations.map(async ({ title, faults }) => {
      const text = situationText({ title, faults }, await scheduler.react(faults))
      progress?.(++done, situations.length)
      return text
    }),
  )
  return { count: situations.length, text: `${head(input, active)}\n${texts.join('\n')}` }
}

const head = ({ site, cluster }: ClusterInput, active: string) =>
  `Situations of site ${site}: what Pacemaker's scheduler does with the generated configuration.
${cluster.nodes.map(({ name }) => name).join(', ')}; ${cluster.quorum.majority} of ${cluster.quorum.expected_votes} votes are a majority; ${active} is the active gateway.
`

export function situationText({ title, faults }: Situation, outcome: Outcome): string {
  const { quorate, fenced, waiting, actions, running } = outcome
  const lost = faults.lost ?? []
  // What was on a fenced node is gone with it, and what is on a node out of reach cannot be told anything.
  const silent = quorate ? fenced : lost
  const news = actions.filter(
    (line) => !silent.some((node) => line.startsWith('stop ') && line.endsWith(` on ${node}`)),
  )
  const places = Object.entries(running).map(([resource, list]) => {
    const where = list.flatMap(({ node, role }) => {
      if (!quorate && lost.includes(node)) return []
      return [`${node}${role === 'Promoted' ? ' (promoted)' : ''}${waiting.includes(node) ? ' (unknown)' : ''}`]
    })
    return `${resource} ${where.length === 0 ? 'nowhere' : where.join(', ')}`
  })
  const lines = [
    ...(quorate ? [] : ['there is no quorum: nobody is fenced, all is stopped']),
    ...(news.length === 0 ? ['does nothing'] : merged(news)),
    ...waiting.map((node) => `waits for ${node}: no resource is started anywhere before it is known to be off`),
  ]
  return `${title}\n${lines.map((line) => `    ${line}`).join('\n')}\n  → ${places.join('; ')}\n`
}

/** Moves of several resources the same way are one line. */
function merged(actions: readonly string[]): string[] {
  const groups = new Map<string, { verb: string; resources: string[]; where: string }>()
  for (const [index, line] of actions.entries()) {
    const [verb = '', resource = '', ...rest] = line.split(' ')
    const where = rest.join(' ')
    const last = [...groups.values()].at(-1)
    if (!verb.startsWith('f') && last?.verb === verb && last.where === where) last.resources.push(resource)
    else groups.set(String(index), { verb, resources: [resource], where })
  }
  return [...groups.values()].map(({ verb, resources, where }) => `${verb} ${resources.join(', ')} ${where}`.trimEnd())
}
