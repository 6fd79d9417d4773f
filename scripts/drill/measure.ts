/** From the acknowledgements of a fleet to the figures of a drill. Pure. */

/** When each acknowledgement came, by device; ms since 1970, in order. */
export type Acknowledgements = readonly (readonly number[])[]

export interface Silences {
  /** Longest time without an acknowledgement for anybody; ms. */
  fleet_ms: number
  /** The same for each connection. */
  connection_ms: number[]
}

/** Longest silences between two moments; one that is not over at `to` counts up to it. */
export function silencesOf(acknowledgements: Acknowledgements, from: number, to: number): Silences {
  const longest = (times: readonly number[]) => {
    let gap = 0
    let last = from
    for (const time of times) {
      if (time < from) continue
      if (time > to) break
      gap = Math.max(gap, time - last)
      last = time
    }
    return Math.max(gap, to - last)
  }
  const all = acknowledgements.flat().sort((a, b) => a - b)
  return {
    fleet_ms: Math.round(longest(all)),
    connection_ms: acknowledgements.map((times) => Math.round(longest(times))),
  }
}

/** The value that this share of all is not above. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? 0
}

/** Acknowledgements a slice of time, for a plot. */
export function ratesOf(acknowledgements: Acknowledgements, from: number, to: number, slice_ms: number): number[] {
  const rates = new Array<number>(Math.max(1, Math.ceil((to - from) / slice_ms))).fill(0)
  for (const times of acknowledgements) {
    for (const time of times) {
      const slice = Math.floor((time - from) / slice_ms)
      if (slice >= 0 && slice < rates.length) rates[slice]!++
    }
  }
  return rates
}

/** What a ledger of acknowledgements and the store say of each other. */
export interface Comparison {
  acknowledged: number
  stored: number
  /** Acknowledged and not stored: must be none. */
  lost: number
  /** Stored more than once. */
  doubled: number
}

/** Keys are `ident timestamp`. */
export function compare(acknowledged: ReadonlySet<string>, stored: Iterable<string>): Comparison {
  const times = new Map<string, number>()
  for (const key of stored) times.set(key, (times.get(key) ?? 0) + 1)
  return {
    acknowledged: acknowledged.size,
    stored: times.size,
    lost: [...acknowledged].filter((key) => !times.has(key)).length,
    doubled: [...times.values()].filter((count) => count > 1).length,
  }
}
