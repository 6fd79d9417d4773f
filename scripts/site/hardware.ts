/** All parts of all servers with their state, on one screen: what each server's milepost-alerts tells. */
import type { Part } from '#ansible/inventory-hardware.ts'
import type { Plan, ServerPlan } from '#infra/site/plan.ts'
import { placeOf } from '../provision/compare.ts'
import { type Answered, remote } from './remote.ts'

export interface Alert {
  readonly part: string
  readonly severity: 'critical' | 'warning'
  readonly words: string
  readonly where: string
  /** s since 1970 UTC. */
  readonly since: number
}

/** What `milepost-alerts show --json` says. */
export interface Told {
  readonly parts: Readonly<Record<string, Part & { readonly is: string | null; readonly alerts: readonly Alert[] }>>
  /** Events that MBUS has not taken yet. */
  readonly waiting: number
  readonly running: boolean
}

/** What a server says of itself, or why it says nothing. */
export type Answer = Told | string

const command = 'systemctl is-active milepost-alerts.service; milepost-alerts show --json'

/** Reads the answer to the command. Pure. */
export function answerOf({ code, out, error }: Answered): Answer {
  if (code === 255) return `it does not answer: ${error.split('\n').at(-1) || 'no SSH'}`
  const [active, json = ''] = out.split('\n')
  if (!json.startsWith('{')) return `it does not know how it is: ${error.split('\n').at(-1) || active}; is it deployed?`
  return { ...(JSON.parse(json) as Omit<Told, 'running'>), running: active === 'active' }
}

export async function askAll({ site, servers }: Plan): Promise<Map<string, Answer>> {
  return new Map(
    await Promise.all(
      servers.map(async (server) => [server.name, answerOf(await remote(site, server, command))] as const),
    ),
  )
}

/** Ends what does not end by itself on a server: entries of its event log, resets. Gives what was seen. */
export async function seen(plan: Plan, name: string): Promise<string> {
  const server = plan.servers.find((one) => one.name === name)
  if (!server)
    throw new Error(
      `site ${plan.site} has no server "${name}"; it has ${plan.servers.map((one) => one.name).join(', ')}`,
    )
  const { code, out, error } = await remote(plan.site, server, 'milepost-alerts seen')
  if (code !== 0) throw new Error(`${placeOf(server)}: ${error}`)
  return out || `${placeOf(server)}: nothing waits to be seen`
}

const columns = [
  ['supplies', ['supply']],
  ['links', ['link']],
  ['drives', ['drive']],
  ['mirror', ['mirror']],
  ['BMC', ['bmc']],
  ['log', ['system']],
  ['watchdog', ['watchdog']],
] as const

type Shown = Told['parts'][string]
const mark = ({ alerts, is }: Shown) =>
  alerts.some(({ severity }) => severity === 'critical') ? '✕' : alerts.length > 0 ? '!' : is === null ? '○' : '●'
/** A drive is told by its bay; where there is only one of a kind its mark is enough. */
const label = (name: string, { kind, place }: Shown) =>
  kind === 'drive' ? String(place.bay) : kind === 'supply' || kind === 'link' ? name : ''

const minutes = (s: number) =>
  s < 3_600 ? `${Math.round(s / 60)} min` : `${(s / 3_600).toFixed(s < 36_000 ? 1 : 0)} h`

/** The table, then all that is wrong, in words. Pure. */
export function overviewOf(
  servers: readonly ServerPlan[],
  answers: ReadonlyMap<string, Answer>,
  now: number,
): { lines: string[]; wrong: number } {
  const rows = servers.map((server) => {
    const answer = answers.get(server.name)!
    const parts = typeof answer === 'string' ? [] : Object.entries(answer.parts)
    return [
      server.name,
      `${server.rack} ${server.unit}`,
      ...columns.map(([, kinds]) =>
        typeof answer === 'string'
          ? '?'
          : parts
              .filter(([, part]) => (kinds as readonly string[]).includes(part.kind))
              .map(([name, part]) => `${mark(part)}${label(name, part)}`)
              .join(' ') || '–',
      ),
    ]
  })
  const head = ['server', 'place', ...columns.map(([name]) => name)]
  const widths = head.map((_, at) => Math.max(...[head, ...rows].map((row) => row[at]!.length)))
  const table = [head, ...rows].map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at]!))
      .join('  ')
      .trimEnd(),
  )
  const wrong = servers.flatMap((server) => wrongWith(server, answers.get(server.name)!, now))
  const last = wrong.length === 0 ? ['', 'nothing is wrong'] : ['', ...wrong]
  return {
    lines: [...table, ...last, '', '● well  ! warning  ✕ broken  ○ not looked at yet  – has none  ? unknown'],
    wrong: wrong.length,
  }
}

function wrongWith(server: ServerPlan, answer: Answer, now: number): string[] {
  const place = placeOf(server)
  if (typeof answer === 'string') return [`${place}: ${answer}`]
  const alerts = Object.values(answer.parts).flatMap((part) => part.alerts)
  const worst = (alert: Alert) => (alert.severity === 'critical' ? 0 : 1)
  return [
    ...alerts
      .toSorted((a, b) => worst(a) - worst(b) || a.since - b.since)
      .map(
        ({ words, where, since }) =>
          `${place}: ${words}, since ${minutes(now / 1_000 - since)}${where === '' ? '' : `; look at ${where}`}`,
      ),
    ...(answer.running ? [] : [`${place}: nobody tells of alerts: systemctl status milepost-alerts.service`]),
    ...(answer.waiting > 0 ? [`${place}: ${answer.waiting} events wait for MBUS: journalctl -u milepost-alerts`] : []),
  ]
}
