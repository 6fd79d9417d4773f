/** One drill, from a rack that is well to a rack that is well, with what was seen between. */
import { performance } from 'node:perf_hooks'
import { hardware } from '../lab/client.ts'
import { pause } from '../lab/shell.ts'
import { AlertWatch, differences } from './alerts.ts'
import type { ClusterWatch } from './cluster.ts'
import type { Bench, Drill } from './drills.ts'
import type { Fleet } from './fleet-client.ts'
import { type Comparison, percentile, silencesOf } from './measure.ts'

export interface DrillResult {
  drill: Drill
  /** Gateway that was active before. */
  active: string
  /** Longest time in which no new connection came about. */
  outage_ms: number
  silence_ms: number
  /** Longest time in which a client of REST, which calls all the time, got no answer. */
  rest_ms: number
  connection_p50_ms: number
  connection_max_ms: number
  devices: number
  /** Connections that lived through it. */
  kept: number
  comparison: Comparison
  /** From the strike, or from when it was mended by hand, to full redundancy. */
  redundant_ms: number
  /** All that is not as it must be; empty: green. */
  faults: string[]
  /** For the plot. */
  acknowledgements: number[][]
  from: number
  to: number
  marks: { at: number; label: string }[]
}

/** Progress; `every_ms`: seldom where each word is kept. */
export type Say = (text: string, every_ms?: number) => void

/** Steady traffic before a strike, and after all is well. */
const calm_ms = 2_000
/** How long a drill watches before it mends by hand: what the rack does alone must be over by then. */
const watch_ms = 8_000
const weak_time_max_ms = 240_000
const look_ms = 250
const audit_ms = 40
const same_cib_tries = 10

/** Looks all the time whether an address is on two servers at once. */
class Audit {
  readonly #addresses: readonly string[]
  readonly doubles = new Set<string>()
  looks = 0
  #stopped = false

  constructor(addresses: readonly string[]) {
    this.#addresses = addresses
    void this.#run()
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      for (const address of this.#addresses) {
        const holders = await hardware.holders(address).catch(() => [])
        if (holders.length > 1) this.doubles.add(`${address} was on ${holders.join(' and ')} at once`)
      }
      this.looks++
      await pause(audit_ms)
    }
  }

  stop(): void {
    this.#stopped = true
  }
}

/** Waits until nothing is weak; gives how long that took, rejects with what still is. */
export async function untilRedundant(cluster: ClusterWatch, say: Say): Promise<number> {
  const began = performance.now()
  for (;;) {
    const weak = await cluster.weaknesses()
    const waited = performance.now() - began
    if (weak.length === 0) return waited
    if (waited > weak_time_max_ms)
      throw new Error(`no full redundancy after ${weak_time_max_ms / 1000} s: ${weak.slice(0, 5).join('; ')}`)
    if (waited > 2_000) say(`waiting for ${weak.slice(0, 3).join('; ')}`, 5_000)
    await pause(look_ms)
  }
}

export async function runDrill(
  drill: Drill,
  { plan, cluster, slack }: Pick<Bench, 'plan' | 'cluster'> & { slack: number },
  fleet: Fleet,
  say: Say,
): Promise<DrillResult> {
  await untilRedundant(cluster, say)
  await fleet.forget()
  const active = await cluster.active()
  const bench: Bench = { plan, cluster, active, faults: [] }
  const wanted = drill.alerts?.(plan)
  const alerts = wanted && (await AlertWatch.start(plan))
  const audit = new Audit(cluster.addresses)
  try {
    await pause(calm_ms)
    const before = await fleet.report()
    const from = Date.now() - calm_ms
    const marks = [{ at: Date.now(), label: 'strike' }]
    say(drill.what)
    await drill.strike(bench)
    if (drill.mend) {
      await pause(watch_ms)
      if (wanted) say('waiting until MBUS tells of it')
      await alerts?.until('raised', wanted!)
      say('mended by hand')
      marks.push({ at: Date.now(), label: 'mended' })
      await drill.mend(bench)
    }
    const redundant_ms = await untilRedundant(cluster, say)
    const since = marks.at(-1)!.at
    marks.push({ at: since + redundant_ms, label: 'full redundancy' })
    await pause(calm_ms)
    const to = Date.now()
    await alerts?.until('cleared', wanted!)
    const after = await fleet.report()
    say('reading everything back')
    const comparison = await fleet.settle()
    audit.stop()
    const { fleet_ms, connection_ms } = silencesOf(after.acknowledgements, from, to)
    const outage_ms = silencesOf([after.reached], from, to).fleet_ms
    const rest_ms = silencesOf([after.answered], from, to).fleet_ms
    const kept = after.reconnects.filter((count, i) => count === before.reconnects[i]).length
    const faults = [...bench.faults, ...audit.doubles, ...(alerts ? differences(wanted!, alerts.heard) : [])]
    const devices = after.reconnects.length
    const limits = [
      ['outage', outage_ms, drill.outage_max_ms * slack],
      ['silence', fleet_ms, drill.silence_max_ms * slack],
      ['silence of REST', rest_ms, drill.silence_max_ms * slack],
    ] as const
    for (const [what, ms, max_ms] of limits)
      if (ms > max_ms) faults.push(`${(ms / 1000).toFixed(2)} s of ${what}, ${max_ms / 1000} s are allowed`)
    if (drill.keepsConnections && kept < devices) faults.push(`${devices - kept} of ${devices} connections were lost`)
    if (comparison.lost > 0) faults.push(`${comparison.lost} acknowledged messages are lost`)
    faults.push(...((await drill.audit?.(bench)) ?? []))
    const differs = await untilSameCib(cluster)
    if (differs !== undefined) faults.push(`the members disagree: ${differs}`)
    await cluster.active().catch((error: Error) => faults.push(error.message))
    return {
      drill,
      active,
      outage_ms,
      silence_ms: fleet_ms,
      rest_ms,
      connection_p50_ms: percentile(connection_ms, 0.5),
      connection_max_ms: Math.max(...connection_ms),
      devices,
      kept,
      comparison,
      redundant_ms,
      faults,
      acknowledgements: after.acknowledgements,
      from,
      to,
      marks,
    }
  } catch (error) {
    // Mending again what was mended does no harm.
    await drill.mend?.(bench).catch(() => {})
    throw error
  } finally {
    audit.stop()
    alerts?.stop()
  }
}

/** A change is on its way for a moment; a difference that stays is one. */
async function untilSameCib(cluster: ClusterWatch): Promise<string | undefined> {
  let differs: string | undefined
  for (let i = 0; i < same_cib_tries; i++) {
    differs = await cluster.sameCib()
    if (differs === undefined) return undefined
    await pause(look_ms)
  }
  return differs
}
