import { Construct } from 'constructs'
import type { DistributionPlan, FirewallPlan } from '../site/plan.ts'
import { parseAddress, parseCidr } from './ipv4.ts'
import { check, type Site } from './site.ts'

export interface FirewallProps {
  /** Opening packets of one source, and of all that were not seen lately. */
  readonly syn: FirewallPlan['syn']
  readonly half_open_timeout_s?: number
  readonly seen_s?: number
  readonly icmp: FirewallPlan['icmp']
  readonly conntrack_max: number
  readonly block?: readonly string[]
  readonly allow?: readonly string[]
  readonly log_per_second?: number
  readonly distribution?: Partial<Omit<DistributionPlan, 'services'>>
}

const distribution_default: Omit<DistributionPlan, 'services'> = {
  slots: 64,
  check: { interval_ms: 500, timeout_ms: 400, fall: 2, rise: 2 },
}

/** The filter and distributor on the gateways. What it lets in is added by `PublishedService`. */
export class Firewall extends Construct {
  readonly props: FirewallProps
  readonly distribution: Omit<DistributionPlan, 'services'>

  constructor(scope: Site, id: string, props: FirewallProps) {
    super(scope, id)
    this.props = props
    this.distribution = { ...distribution_default, ...props.distribution }
    check(this, () => {
      const found: string[] = []
      for (const [name, list] of Object.entries({ block: props.block ?? [], allow: props.allow ?? [] }))
        for (const entry of list)
          if (parseAddress(entry) === undefined && parseCidr(entry) === undefined)
            found.push(`firewall: ${name} has "${entry}", which is neither an address nor a network`)
      for (const [name, value] of Object.entries({
        'syn.per_source.per_second': props.syn.per_source.per_second,
        'syn.total.per_second': props.syn.total.per_second,
        'icmp.per_second': props.icmp.per_second,
        conntrack_max: props.conntrack_max,
      }))
        if (!Number.isInteger(value) || value < 1) found.push(`firewall: ${name} is ${value}; it must be 1 or more`)
      return found
    })
  }
}
