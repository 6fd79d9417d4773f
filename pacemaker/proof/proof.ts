import { Scheduler } from '../scheduler/scheduler.ts'
import { type Element, elementsOf } from './elements.ts'
import type { ProofInput } from './input.ts'
import { membershipsOf } from './membership.ts'
import { Remains } from './physics.ts'
import { type Judgements, judge, promises, type State, worst } from './promises.ts'

/** What happens when these elements fail together. */
export interface Case {
  readonly failed: readonly Element[]
  readonly judgements: Judgements
  /** What the cluster does, in words. */
  readonly reaction: string
  /** Of the promises to users. */
  readonly state: State
}

export interface Proof {
  readonly elements: readonly Element[]
  readonly singles: readonly Case[]
  readonly doubles: readonly Case[]
  /** Different situations that Pacemaker's scheduler was asked. */
  readonly situations: number
}

export interface ProofOptions {
  readonly double: boolean
  readonly progress?: (done: number, of: number) => void
}

/** Judged at once; each may ask the scheduler, which has its own limit. */
const batch = 64

/** Fails every element of a site alone and, with `double`, every two together. Throws when the scheduler is not there. */
export async function prove(input: ProofInput, { double, progress }: ProofOptions): Promise<Proof> {
  const { elements, cases, situations } = await judgeSets(input, progress, (all) => {
    const pairs = double ? all.flatMap((one, index) => all.slice(index + 1).map((other) => [one, other])) : []
    return [...all.map((one) => [one]), ...pairs]
  })
  return { elements, singles: cases.slice(0, elements.length), doubles: cases.slice(elements.length), situations }
}

/** Judges sets of elements that fail together, chosen among all of the site. */
export async function judgeSets(
  input: ProofInput,
  progress: ProofOptions['progress'],
  choose: (elements: readonly Element[]) => readonly (readonly Element[])[],
): Promise<{ elements: readonly Element[]; cases: readonly Case[]; situations: number }> {
  const scheduler = new Scheduler(input)
  try {
    const { running } = await scheduler.react({})
    const external = input.virtual_addresses.find(({ purpose }) => purpose === 'external')!.name
    const active = running[`address-${external}`]?.[0]?.node
    if (active === undefined) throw new Error(`site ${input.site}: no gateway serves even when nothing has failed`)
    const elements = elementsOf(input, active)
    const sets = choose(elements)
    const cases: Case[] = []
    for (let start = 0; start < sets.length; start += batch) {
      const some = sets.slice(start, start + batch)
      cases.push(...(await Promise.all(some.map((failed) => judgeCase(input, scheduler, failed)))))
      progress?.(cases.length, sets.length)
    }
    return { elements, cases, situations: scheduler.situations }
  } finally {
    scheduler.close()
  }
}

async function judgeCase(input: ProofInput, scheduler: Scheduler, failed: readonly Element[]): Promise<Case> {
  const remains = new Remains(input, new Set(failed.map(({ id }) => id)))
  const memberships = membershipsOf(input, remains, failed)
  const settled = await Promise.all(
    memberships.map(async (membership) => {
      const outcome = await scheduler.react(membership.faults)
      return { membership, outcome, judgements: judge(input, remains, membership, outcome) }
    }),
  )
  // Which way it settles is not known: a promise holds when it does in every one.
  const judgements = Object.fromEntries(
    promises.map((name) => [name, worst(settled.map((one) => one.judgements[name]))]),
  ) as unknown as Judgements
  const users = promises.filter((name) => name !== 'servers')
  return {
    failed,
    judgements,
    reaction: [...new Set(settled.map(({ membership, outcome }) => reactionOf(membership.members, outcome)))].join(
      ' or ',
    ),
    state: worst(users.map((name) => judgements[name])).state,
  }
}

function reactionOf(
  members: readonly string[],
  { fenced, waiting, running, actions }: Awaited<ReturnType<Scheduler['react']>>,
): string {
  if (members.length === 0) return 'no quorum: everything stops'
  const moved = actions.some(
    (line) => /^(move|start|recover) address-.* (→ |on )/.test(line) && !line.includes('restart'),
  )
  const gateway = Object.entries(running).find(([id]) => id.startsWith('address-'))?.[1][0]?.node
  const parts = [
    ...fenced.map((node) => `fences ${node}`),
    ...waiting.map((node) => `cannot fence ${node}`),
    ...(moved && gateway !== undefined && waiting.length === 0 ? [`addresses on ${gateway}`] : []),
    ...(gateway === undefined ? ['addresses nowhere'] : []),
  ]
  return parts.length === 0 ? (actions.length === 0 ? '–' : 'restarts in place') : parts.join(', ')
}
