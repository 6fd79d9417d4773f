import type { Outcome } from '../scheduler/scheduler.ts'
import { idOf } from './elements.ts'
import type { ProcessInput, ProofInput } from './input.ts'
import type { Membership } from './membership.ts'
import type { Remains } from './physics.ts'

/** What the platform promises to its users, and to its operators that no single fault takes a server. */
export const promises = [
  'devices in',
  'REST in',
  'messages stored',
  'metadata written',
  'history read',
  'servers',
] as const
export type PromiseName = (typeof promises)[number]

/**
 * `waits`: broken for no other reason than that the data runs on one server for now; it holds once the data is highly
 * available itself.
 */
export type State = 'holds' | 'waits' | 'broken'
export interface Judgement {
  readonly state: State
  readonly reason: string
}
export type Judgements = Readonly<Record<PromiseName, Judgement>>

/** The data: what a process of these types holds, no other process has. */
const dataTypes: Readonly<Record<string, string>> = { postgres: 'PostgreSQL', mdb: 'MDB', mbus: 'MBUS' }
const holds: Judgement = { state: 'holds', reason: '' }
const broken = (reason: string): Judgement => ({ state: 'broken', reason })

/** Judges each promise in one situation, end to end: from outside through the active gateway to the data. */
export function judge(input: ProofInput, remains: Remains, membership: Membership, outcome: Outcome): Judgements {
  const site = new Situation(input, remains, membership, outcome)
  const gateway = site.gateway()
  const devices = site.published('tg', gateway)
  const rest = site.published('prod', gateway)
  const tokens = firstThatHolds(rest, (prod) => site.data('postgres', prod.host))
  const settings = firstThatHolds(rest, () =>
    firstThatHolds(site.inside('tgctl', gateway), (tgctl) => site.data('postgres', tgctl.host)),
  )
  return {
    'devices in': judgementOf(devices),
    'REST in': tokens,
    'messages stored': firstThatHolds(devices, (tg) => site.data('mdb', tg.host)),
    'metadata written': worst([tokens, settings]),
    'history read': worst([tokens, firstThatHolds(rest, (prod) => site.history(prod.host))]),
    servers: site.servers(),
  }
}

const severity: readonly State[] = ['holds', 'waits', 'broken']
export const worst = (list: readonly Judgement[]): Judgement =>
  list.reduce((a, b) => (severity.indexOf(b.state) > severity.indexOf(a.state) ? b : a), holds)

/** Processes that serve, or why none does. */
type Found = { readonly processes: readonly ProcessInput[] } | Judgement
const judgementOf = (found: Found): Judgement => ('processes' in found ? holds : found)

/** One process that is well is enough. */
function firstThatHolds(found: Found, check: (process: ProcessInput) => Judgement): Judgement {
  if (!('processes' in found)) return found
  const judged = found.processes.map(check)
  return (
    judged.find(({ state }) => state === 'holds') ??
    judged.toSorted((a, b) => severity.indexOf(a.state) - severity.indexOf(b.state))[0]!
  )
}

class Situation {
  readonly #input: ProofInput
  readonly #remains: Remains
  readonly #membership: Membership
  readonly #outcome: Outcome

  constructor(input: ProofInput, remains: Remains, membership: Membership, outcome: Outcome) {
    this.#input = input
    this.#remains = remains
    this.#membership = membership
    this.#outcome = outcome
  }

  /** The one gateway with all addresses, the connections and the rules; or why there is none. */
  gateway(): { readonly node: string } | Judgement {
    const { members, votes, lost } = this.#membership
    const { quorum, nodes } = this.#input.cluster
    if (members.length === 0)
      return broken(
        `no quorum: ${votes} of ${quorum.expected_votes} votes see each other, ${quorum.majority} are needed`,
      )
    const { running, waiting } = this.#outcome
    const addresses = this.#input.virtual_addresses.filter(({ role }) => role === 'gateway')
    const places = addresses.map(({ name }) => running[`address-${name}`]?.[0]?.node)
    const node = places[0]
    if (node !== undefined && waiting.includes(node))
      return broken(`${lost[node]!.why} and cannot be fenced (${lost[node]!.unfenceable}): its addresses wait`)
    if (node === undefined || places.some((place) => place !== node)) {
      const gateways = nodes.filter(({ role }) => role === 'gateway').map(({ name }) => name)
      const reasons = gateways.map((name) => lost[name]?.why ?? this.#whyNotOn(name))
      return broken(`no gateway serves: ${reasons.join('; ')}`)
    }
    const promoted = running.connections?.find(({ role }) => role === 'Promoted')?.node
    const filtered = running.rules?.some((place) => place.node === node)
    if (promoted !== node || !filtered)
      return broken(`the set is torn: addresses on ${node}, connections on ${promoted}`)
    if (!this.#remains.outside(node)) return broken(`no way outside from ${node}`)
    return { node }
  }

  #whyNotOn(gateway: string): string {
    const failed = (this.#membership.faults.failed ?? []).filter(({ node }) => node === gateway)
    return failed.length > 0
      ? `${failed.map(({ resource }) => resource).join(', ')} cannot run on ${gateway}`
      : `${gateway} stands by`
  }

  /** Living processes of a type that the gateway sends connections from outside to. */
  published(type: string, gateway: { readonly node: string } | Judgement): Found {
    if (!('node' in gateway)) return gateway
    const external = this.#input.virtual_addresses.find(({ purpose }) => purpose === 'external')!.name
    return this.#served(type, gateway.node, external)
  }

  /** The same on the internal address. */
  inside(type: string, gateway: { readonly node: string } | Judgement): Found {
    if (!('node' in gateway)) return gateway
    const internal = this.#input.virtual_addresses.find(({ purpose }) => purpose === 'internal')!.name
    return this.#served(type, gateway.node, internal)
  }

  #served(type: string, gateway: string, address: string): Found {
    const targets = this.#input.distribution.services
      .filter(({ on }) => on.includes(address))
      .flatMap((service) => service.targets.flatMap(({ instances }) => instances))
    const all = this.#input.environment.instances.filter((one) => one.type === type && targets.includes(one.instance))
    const living = all.filter((one) => this.#lives(one) && this.#remains.reach('lan', gateway, one.host))
    if (living.length === 0) return broken(`no ${type} is left: ${this.#whyNot(all, gateway)}`)
    const toDead = living.length < all.length
    const distributes = this.#outcome.running.distribution?.some(({ node }) => node === gateway)
    if (toDead && !distributes)
      return broken(`the distribution on ${gateway} does not run and still sends to a dead ${type}`)
    return { processes: living }
  }

  /** A data process that the host reaches. One that runs on a single server by the plan only waits. */
  data(type: string, host: string): Judgement {
    const all = this.#input.environment.instances.filter((one) => one.type === type)
    if (all.some((one) => this.#lives(one) && this.#remains.reach('lan', host, one.host))) return holds
    const hosts = [...new Set(all.map((one) => one.host))]
    const reason = this.#whyNot(all, host)
    if (type in dataTypes && hosts.length === 1)
      return {
        state: 'waits',
        reason: `waits for ${dataTypes[type]}'s own high availability: it runs on ${hosts[0]} alone, and ${reason}`,
      }
    return broken(`no ${type} is left: ${reason}`)
  }

  /** MDB, or the archive, which answers from its files: up to the last day that is over. */
  history(host: string): Judgement {
    const mdb = this.data('mdb', host)
    if (mdb.state === 'holds') return mdb
    const archived = this.#input.environment.instances.filter((one) => one.type === 'archive')
    return archived.some((one) => this.#lives(one) && this.#remains.reach('lan', host, one.host)) ? holds : mdb
  }

  /** No server is lost that has not failed itself. */
  servers(): Judgement {
    const lost = Object.entries(this.#membership.lost).filter(([name]) => this.#remains.has(idOf.server(name)))
    const others = this.#input.servers.filter(
      ({ name }) =>
        !(name in this.#membership.lost) && this.#remains.has(idOf.server(name)) && !this.#remains.serverUp(name),
    )
    const reasons = [...lost.map(([, { why }]) => why), ...others.map(({ name }) => this.#remains.whyDown(name)!)]
    return reasons.length === 0 ? holds : broken(reasons.join('; '))
  }

  #lives({ instance, host }: ProcessInput): boolean {
    return this.#whyDead({ instance, host }) === null
  }

  #whyDead({ instance, host }: { instance: string; host: string }): string | null {
    if (!this.#remains.has(idOf.process(instance))) return `${instance} has failed`
    const down = this.#remains.whyDown(host)
    if (down) return down
    return this.#outcome.fenced.includes(host) ? this.#membership.lost[host]!.why : null
  }

  #whyNot(processes: readonly ProcessInput[], from: string): string {
    const reasons = processes.map((one) => this.#whyDead(one) ?? `${one.host} is not reached from ${from}`)
    return reasons.length === 0 ? 'the plan has none' : [...new Set(reasons)].join(', ')
  }
}
