import type { Faults } from '../scheduler/scheduler.ts'
import type { Element } from './elements.ts'
import type { ProofInput } from './input.ts'
import type { Remains } from './physics.ts'

/** One way in which Corosync may settle, and what its members then know. */
export interface Membership {
  /** Nodes that see each other and have a majority; empty: none have. */
  readonly members: readonly string[]
  readonly faults: Faults
  /** Why each lost node is lost, and why its fencing fails where it does. */
  readonly lost: Readonly<Record<string, { readonly why: string; readonly unfenceable: string | null }>>
  readonly votes: number
}

/**
 * Every membership that may come of the remains. Where two nodes see each other on no link, Corosync keeps one of them:
 * which one is not known, so all ways are judged.
 */
export function membershipsOf(input: ProofInput, remains: Remains, failed: readonly Element[]): Membership[] {
  const { nodes, quorum } = input.cluster
  const votesOf = (names: readonly string[]) =>
    nodes.reduce((sum, { name, votes }) => sum + (names.includes(name) ? votes : 0), 0)
  const groups = largestGroups(input, remains)
  const quorate = groups.filter((names) => votesOf(names) >= quorum.majority)
  if (quorate.length > 0) return quorate.map((members) => membership(input, remains, failed, members, votesOf(members)))
  const most = groups.toSorted((a, b) => votesOf(b) - votesOf(a))[0] ?? []
  return [{ ...membership(input, remains, failed, most, votesOf(most)), members: [] }]
}

/** Sets of running nodes that all see each other, none part of another. There are few nodes: all sets are tried. */
function largestGroups(input: ProofInput, remains: Remains): string[][] {
  const up = input.cluster.nodes.map(({ name }) => name).filter((name) => remains.serverUp(name))
  const sees = (a: string, b: string) => input.cluster.links.some((link) => remains.reach(link, a, b))
  const strangers = new Set(up.flatMap((a) => up.filter((b) => a < b && !sees(a, b)).map((b) => `${a} ${b}`)))
  const groups: string[][] = []
  for (let set = (1 << up.length) - 1; set > 0; set--) {
    const names = up.filter((_, index) => set & (1 << index))
    if (names.some((a) => names.some((b) => strangers.has(`${a} ${b}`)))) continue
    if (!groups.some((group) => names.every((name) => group.includes(name)))) groups.push(names)
  }
  return groups
}

function membership(
  input: ProofInput,
  remains: Remains,
  failed: readonly Element[],
  members: readonly string[],
  votes: number,
): Membership {
  const lostNames = input.cluster.nodes.map(({ name }) => name).filter((name) => !members.includes(name))
  const lost = Object.fromEntries(
    lostNames.map((name) => [
      name,
      {
        why: remains.whyDown(name) ?? remains.whyCutOff(name),
        unfenceable: whyUnfenceable(input, remains, name, members),
      },
    ]),
  )
  const gateways = input.cluster.nodes.filter(({ role }) => role === 'gateway').map(({ name }) => name)
  const resources = failed.flatMap(({ resource }) => (resource && members.includes(resource.node) ? [resource] : []))
  return {
    members,
    votes,
    lost,
    faults: {
      lost: lostNames,
      unfenceable: lostNames.filter((name) => lost[name]!.unfenceable !== null),
      blind: gateways.filter((name) => members.includes(name) && !remains.outside(name)),
      failed: resources.map(({ id, node }) => ({ resource: id, node, after: 'stays' })),
    },
  }
}

/** Levels are tried in turn; a level works when all its devices do, each from some member. */
function whyUnfenceable(
  input: ProofInput,
  remains: Remains,
  target: string,
  members: readonly string[],
): string | null {
  const { devices, levels } = input.cluster.fencing
  const reasons: string[] = []
  for (const level of levels.filter(({ node }) => node === target)) {
    const dead = level.devices.map((name) => {
      const device = devices.find((one) => one.name === name)
      if (!device) return `there is no fencing device ${name}`
      const answers = members.map((member) => remains.whyNoBmc(member, target, device.address))
      return answers.includes(null) ? null : (answers[0] ?? 'nobody is left to fence it')
    })
    if (dead.every((reason) => reason === null)) return null
    reasons.push(dead.find((reason) => reason !== null)!)
  }
  return reasons.length === 0 ? `${target} has no fencing device` : [...new Set(reasons)].join(', ')
}
