import { Construct } from 'constructs'
import type { FirewallServicePlan, PortRange, Transport } from '../site/plan.ts'
import type { ProcessGroup } from './process-group.ts'
import { check, type Site } from './site.ts'
import type { VirtualAddress } from './virtual-address.ts'

export interface PublishedServiceProps {
  readonly ports: PortRange
  /** Default: TCP alone. */
  readonly protocols?: readonly Transport[]
  readonly target: ProcessGroup
  readonly on: readonly VirtualAddress[]
  /** Limits of one source on the external network; needed when it is published there. */
  readonly limits?: Pick<FirewallServicePlan, 'connections_per_source_max' | 'new_per_source'>
}

/** Ports of a virtual address that the active gateway distributes over a process type's living instances. */
export class PublishedService extends Construct {
  readonly name: string
  readonly props: PublishedServiceProps

  constructor(scope: Site, name: string, props: PublishedServiceProps) {
    super(scope, `service-${name}`)
    this.name = name
    this.props = props
    check(this, () => {
      const { ports, target, on, limits } = props
      const found: string[] = []
      if (!(ports.first >= 1 && ports.last <= 65_535 && ports.first <= ports.last))
        found.push(`service ${name}: ports ${ports.first} to ${ports.last} are no range of ports`)
      if (on.length === 0) found.push(`service ${name}: it is on no virtual address`)
      if (target.instances().length === 0)
        found.push(`service ${name}: there is no instance of ${target.type} to serve it; run one or more`)
      if (on.some(({ purpose }) => purpose === 'external')) {
        if (!limits) found.push(`service ${name}: it is open to the external network without limits; set them`)
        else if (!(limits.connections_per_source_max >= 1 && limits.new_per_source.per_second >= 1))
          found.push(`service ${name}: its limits must be 1 or more`)
      }
      return found
    })
  }
}
