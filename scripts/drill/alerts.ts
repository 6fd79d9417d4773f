/** What the rack must tell of its hardware in a drill: each fault once when it begins, once when it ends, with its place. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { partsOf, pathName } from '#ansible/inventory-hardware.ts'
import type { Plan } from '#infra/site/plan.ts'
import { namespaceOf, outside } from '../lab/paths.ts'
import { pause } from '../lab/shell.ts'
import { readSecret } from '../secrets.ts'

/** A watch looks every 30 s at most, and asks a controller that is dead for as long again. */
const told_time_max_ms = 120_000
const look_ms = 250
/** Where one is told of twice, it is by then. */
const echo_ms = 5_000

export interface Heard {
  /** The alert's and the event: `gw2/eth0/down/1795632124.462/cleared`. */
  readonly id: string
  /** When the alert began, s since 1970; servers of the laboratory have this machine's clock. */
  readonly since: number
  readonly event: 'raised' | 'cleared'
  readonly server: string
  readonly part: string
  readonly fault: string
  readonly where: string
}

const text = ({ event, server, part, fault, where }: Heard) => `${event} ${server} ${part} ${fault}, ${where}`

/** All that a feed takes with it: supplies, the switches that hang on it alone, and what is plugged into those. Pure. */
export function alertsOfFeed(plan: Plan, feed: string): string[] {
  const dark = plan.racks
    .flatMap(({ switches }) => switches)
    .filter(({ power }) => power.every((outlet) => outlet.feed === feed))
    .map(({ name }) => name)
  return plan.servers.flatMap((server) => {
    const parts = partsOf(plan, server)
    const found = server.nics.filter(({ link }) => dark.includes(link.switch)).map(({ name }) => [name, 'down'])
    const paths = server.bmc.paths.map(({ link }, at) => ({
      part: pathName(at),
      dead: dark.includes(link.switch),
    }))
    for (const { part } of paths.filter(({ dead }) => dead)) found.push([part, 'silent'])
    // A controller that is not reached tells nothing of its supplies.
    if (paths.some(({ dead }) => !dead))
      for (const { supply } of server.power.filter((outlet) => outlet.feed === feed)) found.push([supply, 'no-input'])
    return found.map(([part, fault]) => `${server.name} ${part} ${fault}, ${parts[part!]!.where}`)
  })
}

/** What was heard against what was to be; empty: the same. Pure. */
export function differences(wanted: readonly string[], heard: readonly Heard[]): string[] {
  const all = wanted.flatMap((alert) => [`raised ${alert}`, `cleared ${alert}`])
  const count = (words: string) => heard.filter((one) => text(one) === words).length
  return [
    ...all.filter((words) => count(words) === 0).map((words) => `nobody was told: ${words}`),
    ...all.filter((words) => count(words) > 1).map((words) => `told ${count(words)} times: ${words}`),
    ...heard
      .map(text)
      .filter((words) => !all.includes(words))
      .map((words) => `told and not wanted: ${words}`),
  ]
}

/**
 * Whether an event counts. Not what the bus delivers again (QoS 1), which has the same id; nor what is still to be told of an
 * alert that began before `from`, ms since 1970: a watch looks every 30 s, so what an earlier drill broke may end in this one. Pure.
 */
export const isNews = (event: Heard, heard: readonly Heard[], from: number): boolean =>
  event.since * 1_000 >= from && !heard.some(({ id }) => id === event.id)

export class AlertWatch {
  readonly heard: Heard[] = []
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** Resolves when the broker listens to us. */
  static async start(plan: Plan): Promise<AlertWatch> {
    const external = plan.virtual_addresses.find(({ purpose }) => purpose === 'external')!.address
    const url = `mqtt://${external}:${new URL(plan.environment.urls.mbus).port}`
    const args = ['netns', 'exec', namespaceOf(outside), process.execPath, join(import.meta.dirname, 'hear.ts'), url]
    const env = { ...process.env, TOKEN: readSecret(plan.site, 'services/admin-token') }
    const child = spawn('ip', args, { stdio: ['ignore', 'pipe', 'inherit'], env })
    const watch = new AlertWatch(child)
    let from: number | undefined
    const lines = createInterface({ input: child.stdout })
    lines.on('line', (line) => {
      // It listens, now or again.
      if (line === '{}') {
        from ??= Date.now()
        return
      }
      const heard = JSON.parse(line) as Heard
      if (isNews(heard, watch.heard, from!)) watch.heard.push(heard)
    })
    const [first] = await Promise.race([once(lines, 'line'), pause(told_time_max_ms).then(() => [undefined])])
    if (first === undefined) {
      child.kill()
      throw new Error(`MBUS at ${url} does not let the operator listen`)
    }
    return watch
  }

  /** Until each was told of, or the time is over: what is missing then is a difference. */
  async until(event: Heard['event'], wanted: readonly string[]): Promise<void> {
    const there = () => wanted.every((alert) => this.heard.some((one) => text(one) === `${event} ${alert}`))
    for (const end = Date.now() + told_time_max_ms; !there() && Date.now() < end; ) await pause(look_ms)
    await pause(echo_ms)
  }

  stop(): void {
    this.#child.kill()
  }
}
