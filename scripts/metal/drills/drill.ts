/** What a drill is, and what it finds. */
import type { Bench } from './bench.ts'

export interface Figure {
  readonly label: string
  readonly value: number
  readonly unit: 'ms' | 's' | 'bytes' | ''
  /** More is a fault. */
  readonly max?: number
}

export interface Finding {
  readonly figures: readonly Figure[]
  /** What is not as it must be, besides figures over their limit. */
  readonly faults: readonly string[]
  /** For the plot: when something succeeded, a row each; ms since 1970. */
  readonly rows?: readonly (readonly number[])[]
  /** What a row is. */
  readonly row?: string
  readonly marks?: readonly { readonly at: number; readonly label: string }[]
  readonly from?: number
  readonly to?: number
}

export interface Drill {
  readonly name: string
  readonly what: string
  run(bench: Bench): Promise<Finding>
  /** What a person does when it could not be finished. */
  mend?(bench: Bench): Promise<void>
}

/** `slack`: limits of times are so many times as long; those of bytes stay. */
export const faultsOf = ({ figures, faults }: Finding, slack = 1): string[] => [
  ...faults,
  ...figures
    .filter(({ value, unit, max }) => max !== undefined && !(value <= (unit === 'bytes' ? max : max * slack)))
    .map(({ label, value, unit, max }) => `${label} ${shown(value)} ${unit}, ${shown(max!)} are allowed`),
]

const shown = (value: number) => (Number.isInteger(value) ? String(value) : value.toFixed(1))

/** `gap 88 ms (≤ 200)` */
export const figureText = ({ label, value, unit, max }: Figure): string =>
  `${label} ${shown(value)}${unit && ` ${unit}`}${max === undefined ? '' : ` (≤ ${shown(max)})`}`

/** Longest pause between successes within a span; one that is not over counts up to its end; ms. */
export function longestPause(times: readonly number[], from: number, to: number): number {
  let last = from
  let longest = 0
  for (const time of times) {
    if (time < from) continue
    if (time > to) break
    longest = Math.max(longest, time - last)
    last = time
  }
  return Math.round(Math.max(longest, to - last))
}
