import { Construct } from 'constructs'
import type { BondMonitoring, BondPlan } from '../site/plan.ts'
import type { Server } from './server.ts'
import { check } from './site.ts'
import type { Port } from './switch.ts'
import { count } from './words.ts'

/** A network port of the server and its cable. */
export interface Leg {
  /** Name of the device: `eth0`. */
  readonly nic: string
  readonly mac: string
  readonly to: Port
  readonly speed_mbps?: number
}

export interface BondedNicProps {
  readonly legs: readonly Leg[]
  readonly mode?: BondPlan['mode']
  readonly monitoring?: BondMonitoring
  /** False: the machine delivers the bond ready-made. */
  readonly managed?: boolean
}

/** Two NICs that act as one, cabled to the two switches of the rack. */
export class BondedNic extends Construct {
  readonly name: string
  readonly legs: readonly Leg[]
  readonly mode: BondPlan['mode']
  readonly monitoring: BondMonitoring
  readonly managed: boolean

  constructor(scope: Server, name: string, props: BondedNicProps) {
    super(scope, name)
    this.name = name
    this.legs = props.legs
    this.mode = props.mode ?? 'active-backup'
    this.monitoring = props.monitoring ?? { kind: 'mii', interval_ms: 100 }
    this.managed = props.managed ?? true
    for (const { nic, mac } of props.legs)
      if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac))
        throw new Error(`server ${scope.name}: mac "${mac}" of ${nic} is not six pairs of lower-case hex digits`)
    check(this, () => {
      const found: string[] = []
      const { legs } = this
      if (legs.length !== 2)
        found.push(`server ${scope.name}: ${name} has ${count(legs.length, 'link')}; a bond has two`)
      const switches = new Set(legs.map(({ to }) => to.switch.name))
      if (legs.length === 2 && switches.size === 1)
        found.push(`server ${scope.name}: both links go to switch ${[...switches][0]}; a bond must span both switches`)
      if (legs.length === 2 && switches.size === 2 && legs[0]?.to.switch.side === legs[1]?.to.switch.side)
        found.push(
          `server ${scope.name}: both links go to switches of side ${legs[0]?.to.switch.side}; use one of each`,
        )
      if (this.mode === '802.3ad' && this.monitoring.kind === 'arp')
        found.push(`server ${scope.name}: ${name} of mode 802.3ad cannot use ARP monitoring; use kind "mii"`)
      return found
    })
  }
}
