/** `npm run metal -- drill NAME…|all`: breaks what is up for real, measures, mends; a line and a plot each. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ServerPlan } from '#infra/site/plan.ts'
import { Progress, table } from '../../devices/progress.ts'
import { plotOf } from '../../drill/plot.ts'
import { state } from '../../state.ts'
import { metalAt } from '../client.ts'
import type { Ground } from '../ground.ts'
import { emulated } from '../site.ts'
import { Bench } from './bench.ts'
import { type Drill, faultsOf, figureText } from './drill.ts'
import { driveDrills } from './drives.ts'
import { networkDrills } from './network.ts'
import { powerDrills } from './power.ts'

/** In this order: each leaves the servers as it found them. */
export const drills: readonly Drill[] = [...networkDrills, ...driveDrills, ...powerDrills]

/** The drills of these names, `all` for every one; throws with the names that there are. */
export function drillsNamed(names: readonly string[]): Drill[] {
  if (names.includes('all')) return [...drills]
  return names.map((name) => {
    const found = drills.find((drill) => drill.name === name)
    if (!found) throw new Error(`there is no drill "${name}"; there are ${drills.map((one) => one.name).join(', ')}`)
    return found
  })
}

/** Pauses shorter than this are no news in a plot; ms. */
const silence_shown_ms = 50

export interface SeriesOptions {
  /** Server that is drilled; empty: the first that is on. */
  readonly server: string
  /** Where report and plots go; empty: a folder of this moment. */
  readonly to: string
  /** Limits of times are so many times as long. */
  readonly slack: number
}

/** Gives how many drills failed. */
export async function runDrills(ground: Ground, chosen: readonly Drill[], options: SeriesOptions): Promise<number> {
  const topology = emulated(ground.site)
  const { servers } = await metalAt(ground).status()
  const on = servers.filter(({ power }) => power === 'on').map(({ name }) => name)
  const running = topology.plan.servers.filter(({ name }) => on.includes(name))
  const server = serverOf(running, options.server)
  const folder = options.to || join(state, 'metal-drills', new Date().toISOString().slice(0, 19).replaceAll(':', ''))
  mkdirSync(folder, { recursive: true })
  const rows: string[][] = []
  const progress = new Progress()
  let failed = 0
  for (const [i, drill] of chosen.entries()) {
    const began = Date.now()
    const say = (text: string) =>
      progress.show(`${i + 1}/${chosen.length} ${drill.name} ${Math.round((Date.now() - began) / 1000)} s: ${text}`)
    const bench = new Bench(ground, topology, server, running, say)
    let words: string
    let faults: string[]
    try {
      say(drill.what)
      await bench.untilUp()
      const finding = await drill.run(bench)
      faults = faultsOf(finding, options.slack)
      words = finding.figures.map(figureText).join(', ')
      const { rows: successes, row, marks = [], from = 0, to = 0 } = finding
      if (successes) {
        const picture = plotOf({
          title: `${drill.name}: ${drill.what}`,
          acknowledgements: successes,
          from,
          to,
          marks,
          silence_shown_ms,
          ...(row === undefined ? {} : { row }),
        })
        writeFileSync(join(folder, `${String(i + 1).padStart(2, '0')}-${drill.name}.svg`), picture)
      }
    } catch (error) {
      words = 'not finished'
      faults = [(error as Error).message]
      progress.clear()
      await drill.mend?.(bench).catch((mending: Error) => faults.push(`and not mended: ${mending.message}`))
    }
    progress.clear()
    if (faults.length > 0) failed++
    rows.push([drill.name, faults.length === 0 ? 'ok' : 'FAILED', words, faults.join('; ')])
    process.stdout.write(`${rows.at(-1)!.filter(Boolean).join('  ')}\n`)
    const text = table(['drill', '', 'figures', ''], rows)
    writeFileSync(
      join(folder, 'report.txt'),
      `${server.name} of site ${ground.site}; on: ${on.join(', ')}\n\n${text}\n`,
    )
  }
  process.stdout.write(`\nreport and plots: ${folder}\n${chosen.length - failed} passed, ${failed} failed\n`)
  return failed
}

function serverOf(running: readonly ServerPlan[], name: string): ServerPlan {
  const found = name === '' ? running[0] : running.find((one) => one.name === name)
  if (found) return found
  throw new Error(
    running.length === 0
      ? 'no server is on: deploy the site first (docs/emulator.md)'
      : `server "${name}" is not on; on are ${running.map((one) => one.name).join(', ')}`,
  )
}
