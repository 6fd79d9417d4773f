import { type IConstruct, RootConstruct } from 'constructs'
import type { HostSettingsPlan, ManagementPlan } from '../site/plan.ts'

export interface SiteProps {
  /** Host names are under it; a site without racks has none. */
  readonly domain?: string
  readonly management?: ManagementPlan
  readonly host?: HostSettingsPlan
}

/** A place to deploy to: the root of its tree of constructs. One site, one file in `sites/`. */
export class Site extends RootConstruct {
  readonly name: string
  readonly domain: string | undefined
  readonly management: ManagementPlan | undefined
  readonly host: HostSettingsPlan | undefined

  constructor(name: string, props: SiteProps = {}) {
    super(name)
    if (!/^[a-z][a-z0-9-]*$/.test(name))
      throw new Error(`site "${name}": the name has lower-case letters, digits and - only`)
    this.name = name
    this.domain = props.domain
    this.management = props.management
    this.host = props.host
  }
}

// biome-ignore lint/suspicious/noExplicitAny: a class may have any parameters
type Class<T> = abstract new (...args: any[]) => T

/** All constructs of a class under a construct, in the order in which they were made. */
export function all<T>(scope: IConstruct, kind: Class<T>): T[] {
  return scope.node.findAll().filter((construct) => construct instanceof kind) as T[]
}

/** Adds a check that looks at the whole tree; all findings are reported together. */
export function check(scope: IConstruct, findings: () => string[]): void {
  scope.node.addValidation({ validate: findings })
}
