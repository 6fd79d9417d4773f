import { type PromiseName, promises } from './promises.ts'
import type { Case, Proof } from './proof.ts'

const words = { holds: 'ok', waits: 'waits', broken: 'BROKEN' } as const

/** The single faults as rows: element, what the cluster does, one column a promise. */
export function singleRows({ singles }: Proof): { head: string[]; rows: string[][] } {
  return {
    head: ['fails alone', 'cluster', ...promises.map((name) => (name === 'servers' ? 'other servers' : name))],
    rows: singles.map(({ failed, reaction, judgements }) => [
      failed[0]!.id,
      reaction,
      ...promises.map((name) => words[judgements[name].state]),
    ]),
  }
}

/** What is broken by one fault; this must be empty. */
export const brokenSingles = ({ singles }: Proof): Case[] =>
  singles.filter(({ judgements }) => promises.some((name) => judgements[name].state === 'broken'))

export interface ReasonGroup {
  readonly reason: string
  readonly promises: readonly PromiseName[]
  readonly cases: readonly (readonly string[])[]
}

/** Cases whose promises are in that state, together under the reason they share; the most frequent first. */
export function reasonsOf(
  cases: readonly Case[],
  state: 'broken' | 'waits',
  of: readonly PromiseName[],
): ReasonGroup[] {
  const groups = new Map<string, { reason: string; promises: Set<PromiseName>; cases: Set<readonly string[]> }>()
  for (const { failed, judgements } of cases) {
    const names = failed.map(({ id }) => id)
    for (const promise of of) {
      const { reason, state: found } = judgements[promise]
      if (found !== state) continue
      const group = groups.get(reason) ?? { reason, promises: new Set(), cases: new Set() }
      group.promises.add(promise)
      group.cases.add(names)
      groups.set(reason, group)
    }
  }
  return [...groups.values()]
    .map(({ reason, promises, cases: list }) => ({ reason, promises: [...promises], cases: [...list] }))
    .sort((a, b) => b.cases.length - a.cases.length)
}

/** A reason, the promises it breaks and each set of elements that fails together. */
export const groupText = ({ reason, promises: names, cases }: ReasonGroup): string =>
  [`  ${reason}`, `    ${names.join(', ')}; ${cases.length}:`, ...cases.map((ids) => `      ${ids.join(' + ')}`)].join(
    '\n',
  )
