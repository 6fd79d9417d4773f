import { type IConstruct, RootConstruct } from 'constructs'
import type { HostSettingsPlan, InstallPlan, ManagementPlan } from '../site/plan.ts'

export interface SiteProps {
  /** Host names are under it; a site without racks has none. */
  readonly domain?: string
  readonly management?: ManagementPlan
  readonly host?: HostSettingsPlan
  /** How blank servers are installed; absent: they come with Debian 12. */
  readonly install?: SiteInstall
}

export interface SiteInstall {
  /** Address on `lan` of the machine that deploys. */
  readonly address: string
  readonly port?: number
  readonly kernel_args?: string
  readonly packages?: readonly string[]
}

/** The console of servers with a serial line, which their BMC shows, too. */
const kernel_args_default = 'console=tty0 console=ttyS0,115200n8'
const http_port_default = 8_069

/** A place to deploy to: the root of its tree of constructs. One site, one file in `sites/`. */
export class Site extends RootConstruct {
  readonly name: string
  readonly domain: string | undefined
  readonly management: ManagementPlan | undefined
  readonly host: HostSettingsPlan | undefined
  readonly install: InstallPlan | undefined

  constructor(name: string, props: SiteProps = {}) {
    super(name)
    if (!/^[a-z][a-z0-9-]*$/.test(name))
      throw new Error(`site "${name}": the name has lower-case letters, digits and - only`)
    this.name = name
    this.domain = props.domain
    this.management = props.management
    this.host = props.host
    this.install = props.install && {
      port: http_port_default,
      kernel_args: kernel_args_default,
      packages: [],
      ...props.install,
    }
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
