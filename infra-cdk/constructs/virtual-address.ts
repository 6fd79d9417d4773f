import { Construct } from 'constructs'
import type { VirtualAddressPlan } from '../site/plan.ts'
import { contains, parseCidr } from './ipv4.ts'
import type { Network, NetworkAddress } from './network.ts'
import { check, type Site } from './site.ts'

export interface VirtualAddressProps {
  readonly purpose: VirtualAddressPlan['purpose']
  readonly at: NetworkAddress
}

/** An address that is on exactly one of several servers and moves when that one fails. */
export class VirtualAddress extends Construct {
  readonly name: string
  readonly purpose: VirtualAddressPlan['purpose']
  readonly network: Network
  readonly address: string

  constructor(scope: Site, name: string, { purpose, at }: VirtualAddressProps) {
    super(scope, `virtual-address-${name}`)
    this.name = name
    this.purpose = purpose
    this.network = at.network
    this.address = at.address
    check(this, () => {
      const cidr = parseCidr(at.network.cidr)
      return cidr && contains(cidr, at.address)
        ? []
        : [`virtual address ${name}: ${at.address} is not in network ${at.network.name} (${at.network.cidr})`]
    })
  }
}
