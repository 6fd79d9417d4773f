import { Construct } from 'constructs'
import { contains, formatAddress, parseCidr } from './ipv4.ts'
import { check, type Site } from './site.ts'
import type { Port } from './switch.ts'

export interface NetworkProps {
  /** IPv4, `10.77.10.0/24`. */
  readonly cidr: string
  /** Tag on the trunks; absent: untagged. */
  readonly vlan?: number
  readonly mtu?: number
  /** Which legs carry it: the bond of both, or one alone. */
  readonly path?: 'bond' | 'leg-a' | 'leg-b'
  /** Router to the outside. */
  readonly router?: string
  /** False: machines deliver the tagged devices ready-made. */
  readonly managed?: boolean
}

/** A server's address on a network. */
export interface NetworkAddress {
  readonly network: Network
  readonly address: string
}

/** One broadcast domain, on both switches of every rack. */
export class Network extends Construct {
  readonly name: string
  readonly cidr: string
  readonly prefix: number
  readonly vlan: number | null
  readonly mtu: number
  readonly path: 'bond' | 'leg-a' | 'leg-b'
  readonly router: string | null
  readonly managed: boolean
  readonly uplinks: { readonly provider: string; readonly to: Port }[] = []
  readonly #first: number
  readonly #size: number

  constructor(scope: Site, name: string, props: NetworkProps) {
    super(scope, name)
    const cidr = parseCidr(props.cidr)
    if (!cidr || cidr.prefix > 30)
      throw new Error(`network ${name}: "${props.cidr}" is not a network of IPv4; write it like 10.77.10.0/24`)
    const { vlan = null, mtu = 1_500, path = 'bond', router = null, managed = true } = props
    if (vlan !== null && !(Number.isInteger(vlan) && vlan >= 1 && vlan <= 4_094))
      throw new Error(`network ${name}: vlan ${vlan} is not between 1 and 4094`)
    if (!(mtu >= 1_280 && mtu <= 9_216)) throw new Error(`network ${name}: mtu ${mtu} is not between 1280 and 9216`)
    this.name = name
    this.cidr = props.cidr
    this.prefix = cidr.prefix
    this.vlan = vlan
    this.mtu = mtu
    this.path = path
    this.router = router
    this.managed = managed
    this.#first = cidr.first
    this.#size = cidr.size
    check(this, () => {
      const found: string[] = []
      if (router !== null && !contains(cidr, router))
        found.push(`network ${name}: router ${router} is not in ${props.cidr}`)
      if (path !== 'bond' && vlan === null)
        found.push(`network ${name}: it is untagged on ${path}, which belongs to a bond; give it a vlan`)
      return found
    })
  }

  /** The n-th address: `address(11)` of 10.77.10.0/24 is 10.77.10.11. */
  address(n: number): NetworkAddress {
    if (!(Number.isInteger(n) && n >= 1 && n < this.#size - 1))
      throw new Error(`network ${this.name}: ${this.cidr} has no host number ${n}`)
    return { network: this, address: formatAddress(this.#first + n) }
  }

  /** A cable of a provider into a switch. */
  uplink(provider: string, to: Port): void {
    this.uplinks.push({ provider, to })
  }
}
