import { Construct } from 'constructs'
import type { ClusterPlan } from '../site/plan.ts'
import type { Network } from './network.ts'
import type { Server } from './server.ts'
import { check, type Site } from './site.ts'

export interface ClusterProps {
  /** Members, in the order of their node ids from 1 on. */
  readonly members: readonly Server[]
  /** Node ids of members that have another one than by their place: a member keeps its id for life, also when one before it leaves. */
  readonly ids?: Readonly<Record<string, number>>
  /** Votes of members that have not one. */
  readonly votes?: Readonly<Record<string, number>>
  /** Networks of the knet links. */
  readonly links: readonly Network[]
  /** A node is lost after so long a silence, ms. */
  readonly token_ms: number
  readonly fencing: {
    readonly enabled: boolean
    readonly timeout_s: number
    readonly action: 'reboot' | 'off'
    /** Head start in a fencing race, s, by server. */
    readonly delay_s?: Readonly<Record<string, number>>
  }
  readonly resources?: Partial<ClusterPlan['resources']>
}

/** A shorter one takes a busy moment for a death, a longer one leaves devices waiting. */
const token_ms_min = 300
const token_ms_max = 30_000

/** The Corosync and Pacemaker cluster of a site. */
export class Cluster extends Construct {
  readonly props: ClusterProps

  constructor(scope: Site, id: string, props: ClusterProps) {
    super(scope, id)
    this.props = props
    check(this, () => this.#findings())
  }

  votesOf(server: Server): number {
    return this.props.votes?.[server.name] ?? 1
  }

  idOf(server: Server): number {
    return this.props.ids?.[server.name] ?? this.props.members.indexOf(server) + 1
  }

  get expectedVotes(): number {
    return this.props.members.reduce((sum, server) => sum + this.votesOf(server), 0)
  }

  get majority(): number {
    return Math.floor(this.expectedVotes / 2) + 1
  }

  #findings(): string[] {
    const { members, links, fencing, token_ms, votes = {} } = this.props
    const found: string[] = []
    const say = (text: string) => found.push(`cluster: ${text}`)
    if (!fencing.enabled) say('fencing is switched off; a node that hangs could write on: switch it on')
    if (links.length !== 2) say(`it has ${links.length} links; give it two networks, one on each leg`)
    if (links.length === 2 && links[0]?.path === links[1]?.path)
      say(
        `links ${links[0]?.name} and ${links[1]?.name} both go over ${links[0]?.path}; put one on leg-a, the other on leg-b`,
      )
    if (!(token_ms >= token_ms_min && token_ms <= token_ms_max))
      say(`token_ms ${token_ms} is not between ${token_ms_min} and ${token_ms_max}`)
    for (const name of Object.keys(votes))
      if (!members.some((server) => server.name === name)) say(`votes are given to ${name}, which is no member`)
    for (const name of Object.keys(this.props.ids ?? {}))
      if (!members.some((server) => server.name === name)) say(`an id is given to ${name}, which is no member`)
    for (const server of members) {
      const id = this.idOf(server)
      const other = members.find((one) => one !== server && this.idOf(one) === id)
      if (!Number.isInteger(id) || id < 1) say(`${server.name} has id ${id}; ids are whole numbers from 1 on`)
      else if (other && members.indexOf(other) < members.indexOf(server))
        say(`${other.name} and ${server.name} both have id ${id}; give one another in ids`)
    }
    if (!members.some(({ role }) => role === 'archive'))
      say('it has no archive server; its vote decides when a gateway is lost')
    for (const server of members) {
      for (const network of links)
        if (server.addressOn(network) === undefined)
          found.push(`server ${server.name}: it has no address on network ${network.name}, a link of the cluster`)
      const left = this.expectedVotes - this.votesOf(server)
      if (left < this.majority)
        say(
          `one vote too few: without ${server.name} ${left} of ${this.expectedVotes} votes are left, and a majority is ${this.majority}; add a member with a vote`,
        )
    }
    return found
  }
}
