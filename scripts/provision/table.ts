/** How far each server is, for people: a table, redrawn in place on a terminal. */
import type { Plan, ServerPlan } from '#infra/site/plan.ts'
import { readState, type ServerState } from './state.ts'

const bar_width = 10

/** Lines of the table. Pure. */
export function tableOf(
  servers: readonly ServerPlan[],
  states: ReadonlyMap<string, ServerState>,
  now: number,
): string[] {
  const rows = servers.map((server) => {
    const state = states.get(server.name)!
    return [
      server.name,
      `${server.rack} ${server.unit}`,
      state.fault === undefined ? state.stage : 'stopped',
      bar(state),
      doing(state, now),
    ]
  })
  const head = ['server', 'rack, unit', 'stage', ''.padEnd(bar_width + 6), 'doing']
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]!.length)))
  return [head, ...rows].map((row) =>
    row
      .map((text, column) => text.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  )
}

function bar({ stage, percent }: ServerState): string {
  if (stage !== 'installing') return ''
  const full = Math.round((percent / 100) * bar_width)
  return `${'█'.repeat(full)}${'░'.repeat(bar_width - full)} ${String(percent).padStart(3)} %`
}

function doing({ fault, doing: what, since, stage }: ServerState, now: number): string {
  if (fault !== undefined) return fault.split('\n')[0]!.slice(0, 100)
  return stage === 'ready' || since === 0 ? what : `${what} (${Math.max(0, Math.round((now - since) / 1_000))} s)`
}

export const statesOf = ({ site, servers }: Plan): Map<string, ServerState> =>
  new Map(servers.map(({ name }) => [name, readState(site, name)]))

const redraw_ms = 500

/** The table below what is said, until `end`. */
export class LiveTable {
  readonly #plan: Plan
  readonly #out: NodeJS.WriteStream
  readonly #timer: NodeJS.Timeout
  #drawn = 0

  constructor(plan: Plan, out: NodeJS.WriteStream) {
    this.#plan = plan
    this.#out = out
    this.#timer = setInterval(() => this.#draw(), redraw_ms)
  }

  /** Lines that only say what the table shows are left out. */
  say(line: string): void {
    if (/\b(waiting|inventory|checked|installing|booted|ready)\b/.test(line.split(':')[1] ?? '')) return
    this.#erase()
    this.#out.write(`${line}\n`)
    this.#draw()
  }

  end(): void {
    clearInterval(this.#timer)
    this.#draw()
  }

  #draw(): void {
    this.#erase()
    const lines = tableOf(this.#plan.servers, statesOf(this.#plan), Date.now())
    const width = this.#out.columns ?? 80
    this.#out.write(`${lines.map((line) => line.slice(0, width - 1)).join('\n')}\n`)
    this.#drawn = lines.length
  }

  #erase(): void {
    if (this.#drawn > 0) this.#out.write(`\x1b[${this.#drawn}A\x1b[J`)
    this.#drawn = 0
  }
}
