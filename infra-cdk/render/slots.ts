/**
 * Which target has which slot. A source is hashed to a slot; each slot has an order of preference over all targets,
 * the first living one has it. So a target that goes moves its own slots alone, evenly over the others, and a target
 * that comes back gets the very same ones: everybody else's connections stay where they are.
 */
import { createHash } from 'node:crypto'
import type { DistributedServicePlan, Plan, Transport } from '../site/plan.ts'
import { distributeTable, filterTable, mapName } from './nftables.ts'

/** Addresses of a slot's targets, the preferred one first (rendezvous hashing). */
function preference(service: DistributedServicePlan, slot: number): string[] {
  const weight = (host: string) => createHash('sha256').update(`${service.name}/${slot}/${host}`).digest('hex')
  return service.targets.toSorted((a, b) => (weight(a.host) < weight(b.host) ? -1 : 1)).map(({ address }) => address)
}

export interface SlotsFile {
  readonly table: string
  readonly check: Plan['distribution']['check']
  /** Sources that REST blocks and allows: who tells them, and the table whose sets take them. */
  readonly lists: { readonly table: string; readonly urls: readonly string[] }
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
export function slotsOf({ distribution: { slots, check, services }, environment, servers }: Plan): SlotsFile {
  const tellers = environment.instances.filter(({ type }) => type === 'tgctl')
  const addresses = new Map(
    servers.map(({ name, interfaces }) => [name, interfaces.find(({ network }) => network === 'lan')?.address]),
  )
  return {
    table: distributeTable,
    check,
    lists: { table: filterTable, urls: tellers.map(({ host, port }) => `http://${addresses.get(host)}:${port}/lists`) },
    services: services.map((service) => ({
      name: service.name,
      protocols: service.protocols,
      map: mapName(service.name),
      targets: service.targets.map(({ host, address, probe_ports }) => ({ host, address, probe_ports })),
      slots: Array.from({ length: slots }, (_, slot) => preference(service, slot)),
    })),
  }
}
