import type { ClusterInput, FencingDeviceInput, NetworkInput, RoleInput } from '../input.ts'

/** What the proof reads of a site's plan. A plan fits as it is. */
export interface ProofInput extends ClusterInput {
  readonly networks: readonly ProofNetwork[]
  readonly feeds: readonly { readonly name: string }[]
  readonly racks: readonly {
    readonly switches: readonly SwitchInput[]
    readonly pdus: readonly { readonly name: string; readonly feed: string }[]
  }[]
  readonly servers: readonly ServerInput[]
  readonly distribution: {
    readonly services: readonly {
      readonly name: string
      readonly on: readonly string[]
      readonly targets: readonly { readonly host: string; readonly instances: readonly string[] }[]
    }[]
  }
  readonly environment: { readonly instances: readonly ProcessInput[] }
}

export interface ProofNetwork extends NetworkInput {
  /** Where it enters the site from outside. */
  readonly uplinks: readonly { readonly provider: string; readonly switch: string }[]
}

export interface SwitchInput {
  readonly name: string
  readonly power: readonly SupplyInput[]
  readonly trunks: readonly { readonly port: number; readonly to: { readonly switch: string; readonly port: number } }[]
}

export interface SupplyInput {
  readonly supply: string
  readonly pdu: string
}

export interface ServerInput {
  readonly name: string
  readonly role: RoleInput
  readonly nics: readonly { readonly name: string; readonly link: { readonly switch: string } }[]
  readonly bond: {
    readonly name: string
    readonly mode: 'active-backup' | '802.3ad'
    readonly members: readonly string[]
    readonly primary: string
  }
  /** `parent`: the bond or one NIC. */
  readonly interfaces: readonly { readonly network: string; readonly parent: string }[]
  readonly drives: readonly { readonly bay: number; readonly serial: string }[]
  readonly raid: { readonly members: readonly string[] }
  readonly power: readonly SupplyInput[]
  readonly bmc: {
    readonly paths: readonly {
      readonly name: string
      readonly address: string
      readonly link: { readonly switch: string }
    }[]
  }
}

export interface ProcessInput {
  readonly type: string
  readonly instance: string
  readonly host: string
}

export type { FencingDeviceInput }
