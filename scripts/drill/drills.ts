/** What a drill breaks, and what is expected of the rack. */
import type { Plan } from '#infra/site/plan.ts'
import { hardware } from '../lab/client.ts'
import { alertsOfFeed } from './alerts.ts'
import type { ClusterWatch } from './cluster.ts'
import { day2 } from './day2.ts'

export interface Bench {
  readonly plan: Plan
  readonly cluster: ClusterWatch
  /** The gateway that was active when the drill began. */
  readonly active: string
  /** What strike or mend saw that must not be; the drill is then not green. */
  readonly faults: string[]
}

export interface Drill {
  readonly name: string
  /** In words, for people. */
  readonly what: string
  /** Longest time in which no new connection may come about; ms. */
  readonly outage_max_ms: number
  /** Longest silence of the whole fleet that is allowed; ms. */
  readonly silence_max_ms: number
  /** Whether every device's connection must survive. */
  readonly keepsConnections: boolean
  /** What MBUS must tell of the hardware, once when it breaks and once when it is mended; absent: nobody listens. */
  readonly alerts?: (plan: Plan) => string[]
  strike(bench: Bench): Promise<void>
  /** What a person does then; absent: it must mend itself. */
  mend?(bench: Bench): Promise<void>
  /** What else is not as it must be afterwards. */
  audit?(bench: Bench): Promise<string[]>
}

/** With fencing: detection, the BMC's "off", the start elsewhere. */
const failover_max_ms = 3_000
/** Connected devices repeat some 0.2, 0.6, 1.4, 3.2 and 6.5 s after their last packet: the first repeat after the outage counts. */
const repeat_max_ms = 4_000
/** A bond looks each 100 ms; a retransmission of TCP comes on top. */
const bond_max_ms = 1_000
/** Where both ends of the way go over at the same time, the first two repeats may be lost. */
const bond_repeat_max_ms = 2_000
/** An orderly move: stop here, start there. */
const move_max_ms = 3_000
/** A process is started again by its supervisor, and devices come back with a pause of their own. */
const process_max_ms = 5_000
/** A server that holds the only copy of something boots, and its services start. */
const boot_max_ms = 90_000

const instancesOn = (plan: Plan, type: string, host: string) =>
  plan.environment.instances.filter((one) => one.type === type && one.host === host).map(({ instance }) => instance)

const hostsOf = (plan: Plan, type: string) => [
  ...new Set(plan.environment.instances.filter((one) => one.type === type).map(({ host }) => host)),
]

/** The last host of a process type: the one that carries the fewest single copies. */
const lastHost = (plan: Plan, type: string): string => {
  const host = hostsOf(plan, type).at(-1)
  if (host === undefined) throw new Error(`no server runs ${type}`)
  return host
}

/** kill -9 of every process of a type on one server. */
const killProcesses =
  (type: string): Drill['strike'] =>
  async ({ plan, cluster }) => {
    const host = lastHost(plan, type)
    const units = instancesOn(plan, type, host).map((instance) => `milepost@${instance}.service`)
    await cluster.enter(host, ['systemctl', 'kill', '--signal=KILL', ...units])
  }

const firstLeg = (plan: Plan, server: string) => plan.servers.find(({ name }) => name === server)!.bond.primary

export const drills: readonly Drill[] = [
  {
    name: 'gateway',
    what: 'the active gateway loses its power',
    outage_max_ms: failover_max_ms,
    silence_max_ms: repeat_max_ms,
    keepsConnections: true,
    strike: ({ active }) => hardware.power(active, 'off'),
  },
  {
    name: 'cable',
    what: 'the active gateway loses one of its two cables',
    outage_max_ms: bond_max_ms,
    silence_max_ms: bond_repeat_max_ms,
    keepsConnections: true,
    strike: ({ plan, active }) => hardware.pull(`${active}:${firstLeg(plan, active)}`),
    mend: ({ plan, active }) => hardware.push(`${active}:${firstLeg(plan, active)}`),
  },
  {
    name: 'switch',
    what: 'one of two switches dies',
    outage_max_ms: bond_max_ms,
    silence_max_ms: bond_repeat_max_ms,
    keepsConnections: true,
    strike: ({ plan }) => hardware.pull(plan.racks[0]!.switches[0]!.name),
    mend: ({ plan }) => hardware.push(plan.racks[0]!.switches[0]!.name),
  },
  {
    name: 'isolation',
    what: 'the active gateway loses both cables and is fenced through its BMC',
    outage_max_ms: failover_max_ms,
    silence_max_ms: repeat_max_ms,
    keepsConnections: true,
    strike: async ({ plan, active }) => {
      const { members } = plan.servers.find(({ name }) => name === active)!.bond
      await Promise.all(members.map((leg) => hardware.pull(`${active}:${leg}`)))
    },
    mend: async ({ plan, active }) => {
      const { members } = plan.servers.find(({ name }) => name === active)!.bond
      await Promise.all(members.map((leg) => hardware.push(`${active}:${leg}`)))
    },
  },
  {
    name: 'feed',
    what: 'one of two power feeds fails, and its switch with it',
    outage_max_ms: bond_max_ms,
    silence_max_ms: bond_repeat_max_ms,
    keepsConnections: true,
    alerts: (plan) => alertsOfFeed(plan, plan.feeds[0]!.name),
    strike: ({ plan }) => hardware.pull(`feed:${plan.feeds[0]!.name}`),
    mend: ({ plan }) => hardware.push(`feed:${plan.feeds[0]!.name}`),
  },
  {
    name: 'pacemaker',
    what: 'Pacemaker is stopped on the active gateway',
    outage_max_ms: move_max_ms,
    silence_max_ms: repeat_max_ms,
    keepsConnections: true,
    strike: async ({ cluster, active }) => void (await cluster.enter(active, ['systemctl', 'stop', 'pacemaker'])),
    mend: async ({ cluster, active }) => void (await cluster.enter(active, ['systemctl', 'start', 'pacemaker'])),
  },
  {
    name: 'hang',
    what: 'the active gateway hangs: its kernel goes on, its processes do not',
    outage_max_ms: failover_max_ms,
    silence_max_ms: repeat_max_ms,
    keepsConnections: true,
    strike: ({ active }) => hardware.freeze(active),
  },
  {
    name: 'tg',
    what: 'kill -9 of every tg of one server',
    outage_max_ms: process_max_ms,
    silence_max_ms: process_max_ms,
    keepsConnections: false,
    strike: killProcesses('tg'),
  },
  {
    name: 'tgctl',
    what: 'kill -9 of tgctl on one server',
    outage_max_ms: process_max_ms,
    silence_max_ms: process_max_ms,
    keepsConnections: true,
    strike: killProcesses('tgctl'),
  },
  {
    name: 'prod',
    what: 'kill -9 of PROD on one server',
    outage_max_ms: process_max_ms,
    silence_max_ms: process_max_ms,
    keepsConnections: true,
    strike: killProcesses('prod'),
  },
  {
    name: 'server',
    what: 'a server of services loses its power',
    outage_max_ms: process_max_ms,
    silence_max_ms: process_max_ms,
    keepsConnections: false,
    strike: ({ plan }) => hardware.power(lastHost(plan, 'tg'), 'off'),
  },
  {
    name: 'data-server',
    what: 'the server of the message database loses its power',
    outage_max_ms: boot_max_ms,
    silence_max_ms: boot_max_ms,
    keepsConnections: false,
    strike: ({ plan }) => hardware.power(hostsOf(plan, 'mdb')[0]!, 'off'),
  },
  {
    name: 'rack',
    what: 'all power fails and comes back',
    outage_max_ms: boot_max_ms,
    silence_max_ms: boot_max_ms,
    keepsConnections: false,
    strike: async ({ plan }) => {
      for (const { name } of plan.feeds) await hardware.pull(`feed:${name}`)
    },
    mend: async ({ plan }) => {
      for (const { name } of plan.feeds) await hardware.push(`feed:${name}`)
    },
  },
]

/** The drills of these names, `all` for all that break something, `day2` for what is done on the second day; throws with the names that there are. */
export function drillsNamed(names: readonly string[]): Drill[] {
  const every = [...drills, ...day2]
  return names.flatMap((name) => {
    if (name === 'all') return drills
    if (name === 'day2') return day2
    const found = every.find((drill) => drill.name === name)
    if (!found) throw new Error(`there is no drill "${name}"; there are ${every.map((drill) => drill.name).join(', ')}`)
    return found
  })
}
