import { Construct } from 'constructs'
import type { SecretPlan } from '../site/plan.ts'
import type { NetworkAddress } from './network.ts'
import type { Server } from './server.ts'
import { check } from './site.ts'
import type { Port } from './switch.ts'

export interface BmcPath {
  readonly at: NetworkAddress
  /** UDP port of IPMI over LAN. */
  readonly port?: number
  readonly to: Port
}

export interface BmcProps {
  readonly user: string
  /** Who writes its password: the deploy (it can set one), or the operator. */
  readonly password: SecretPlan['origin']
  /** Ways to reach it; two when the controller has two ports. */
  readonly paths: readonly BmcPath[]
}

/** The management controller of a server: switches its power, even when all else hangs. */
export class Bmc extends Construct {
  readonly user: string
  readonly password: SecretPlan['origin']
  readonly paths: readonly (BmcPath & { readonly port: number })[]

  constructor(scope: Server, name: string, { user, password, paths }: BmcProps) {
    super(scope, name)
    this.user = user
    this.password = password
    this.paths = paths.map((path) => ({ port: 623, ...path }))
    check(this, () => {
      const found: string[] = []
      if (paths.length === 0) found.push(`server ${scope.name}: its BMC has no network path; add one`)
      if (paths.length > 1 && new Set(paths.map(({ to }) => to.switch.name)).size === 1)
        found.push(`server ${scope.name}: all paths of its BMC go to switch ${paths[0]?.to.switch.name}; use both`)
      return found
    })
  }
}
