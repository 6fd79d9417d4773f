/**
 * Which target has which slot. A source is hashed to a slot; each slot has an order of preference over all targets,
 * the first living one has it. So a target that goes moves its own slots alone, evenly over the others, and a target
 * that comes back gets the very same ones: everybody else's connections stay where they are.
 */
import { createHash } from 'node:crypto'
import type { DistributedServicePlan, DistributionPlan, Transport } from '../site/plan.ts'
import { distributeTable, mapName } from './nftables.ts'

/** Addresses of a slot's targets, the preferred one first (rendezvous hashing). */
function preference(service: DistributedServicePlan, slot: number): string[] {
  const weight = (host: string) => createHash('sha256').update(`${service.name}/${slot}/${host}`).digest('hex')
  return service.targets.toSorted((a, b) => (weight(a.host) < weight(b.host) ? -1 : 1)).map(({ address }) => address)
}

export interface SlotsFile {
  readonly table: string
  readonly check: DistributionPlan['check']
  readonly services: readonly {
    readonly name: string
    readonly protocols: readonly Transport[]
    readonly map: string
    readonly targets: readonly {
      readonly host: string
      readonly address: string
      readonly probe_ports: readonly number[]
    }[]
    /** Index: slot. Value: addresses in order of preference. */
    readonly slots: readonly (readonly string[])[]
  }[]
}

/** What the checker on the gateways reads: whom to ask, and whom a slot goes to. */
export function slotsOf({ slots, check, services }: DistributionPlan): SlotsFile {
  return {
    table: distributeTable,
    check,
    services: services.map((service) => ({
      name: service.name,
      protocols: service.protocols,
      map: mapName(service.name),
      targets: service.targets.map(({ host, address, probe_ports }) => ({ host, address, probe_ports })),
      slots: Array.from({ length: slots }, (_, slot) => preference(service, slot)),
    })),
  }
}
