/** What the cluster's configuration follows from: the part of a site's plan that is read here. A plan fits as it is. */
export interface ClusterInput {
  readonly site: string
  readonly cluster: {
    readonly name: string
    readonly nodes: readonly NodeInput[]
    /** Networks of the knet links, in order of link number. */
    readonly links: readonly string[]
    readonly totem: TotemInput
    readonly quorum: { readonly expected_votes: number; readonly majority: number; readonly wait_for_all: boolean }
    readonly fencing: {
      readonly timeout_s: number
      readonly action: 'reboot' | 'off'
      readonly devices: readonly FencingDeviceInput[]
      /** Per node the devices of each level; the next level is tried when one fails. */
      readonly levels: readonly { readonly node: string; readonly level: number; readonly devices: readonly string[] }[]
    }
    readonly resources: {
      readonly stickiness: number
      readonly migration_threshold: number
      readonly failure_timeout_s: number
      readonly monitor_interval_s: number
      readonly start_timeout_s: number
      readonly stop_timeout_s: number
    }
  }
  readonly networks: readonly NetworkInput[]
  readonly virtual_addresses: readonly VirtualAddressInput[]
  readonly environment: {
    readonly instances: readonly { readonly type: string; readonly instance: string; readonly host: string }[]
  }
}

export type RoleInput = 'gateway' | 'archive' | 'server'

export interface NodeInput {
  readonly name: string
  /** Corosync's node id, and Pacemaker's. */
  readonly id: number
  readonly role: RoleInput
  readonly votes: number
  /** Address per link, in the order of `links`. */
  readonly addresses: readonly string[]
}

export interface TotemInput {
  readonly token_ms: number
  readonly token_retransmits: number
  readonly join_ms: number
  readonly consensus_ms: number
  readonly knet_ping_interval_ms: number
  readonly knet_ping_timeout_ms: number
}

export interface FencingDeviceInput {
  readonly name: string
  readonly node: string
  readonly agent: string
  readonly address: string
  /** UDP port of IPMI over LAN. */
  readonly port: number
  readonly user: string
  /** Name of the password's file under `secretsFolder`. */
  readonly secret: string
  readonly lanplus: boolean
  readonly cipher: number
  readonly privilege: string
  /** Head start in a fencing race. */
  readonly delay_s: number
}

export interface NetworkInput {
  readonly name: string
  /** Router to the outside; null: it has none. */
  readonly router: string | null
}

export interface VirtualAddressInput {
  readonly name: string
  readonly purpose: 'external' | 'internal' | 'database'
  readonly network: string
  readonly address: string
  readonly prefix: number
  /** Device that gets it, the same on every host of `role`. */
  readonly device: string
  readonly role: RoleInput
}
