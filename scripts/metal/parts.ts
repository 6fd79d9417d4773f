/** What can be pulled out of a site and pushed in again, by the site's own names. Pure. */
import { driveName } from './qemu.ts'
import { type Port, portsOf, type Topology } from './topology.ts'

export type Part =
  | { readonly kind: 'link'; readonly name: string; readonly ports: readonly Port[]; readonly server?: string }
  | { readonly kind: 'drive'; readonly name: string; readonly server: string; readonly bay: number }
  | { readonly kind: 'supply'; readonly name: string; readonly owner: string; readonly supply: string }
  | { readonly kind: 'switch'; readonly name: string }
  | { readonly kind: 'pdu'; readonly name: string }
  | { readonly kind: 'feed'; readonly name: string; readonly feed: string }

export function partsOf(topology: Topology): Part[] {
  const { plan, servers, trunks, places } = topology
  const links = new Map<string, Port[]>()
  for (const port of portsOf(topology)) links.set(port.part, [...(links.get(port.part) ?? []), port])
  const link = (name: string, server?: string): Part => ({
    kind: 'link',
    name,
    ports: links.get(name)!,
    ...(server === undefined ? {} : { server }),
  })
  const supplies = (owner: string, power: readonly { readonly supply: string }[]) =>
    power.map(({ supply }): Part => ({ kind: 'supply', name: `${owner}/${supply}`, owner, supply }))
  return [
    ...servers.flatMap(({ plan: server, nics, bmc }) => [
      ...server.drives.map(
        ({ bay }): Part => ({ kind: 'drive', name: `${server.name}/${driveName(bay)}`, server: server.name, bay }),
      ),
      ...nics.map(({ part }) => link(part, server.name)),
      ...bmc.map(({ port }) => link(port.part, server.name)),
      ...supplies(server.name, server.power),
    ]),
    ...plan.racks.flatMap(({ switches, pdus }) => [
      ...switches.flatMap(({ name, power }): Part[] => [{ kind: 'switch', name }, ...supplies(name, power)]),
      ...pdus.map(({ name }): Part => ({ kind: 'pdu', name })),
    ]),
    ...trunks.map(([{ part }]) => link(part)),
    ...places.flatMap(({ legs }) => legs.map(({ part }) => link(part))),
    ...plan.feeds.map(({ name }): Part => ({ kind: 'feed', name: `feed/${name}`, feed: name })),
  ]
}

/** The part of this name; `:` may stand for `/`. Throws with names that are near. */
export function partOf(topology: Topology, name: string): Part {
  const parts = partsOf(topology)
  const wanted = name.replaceAll(':', '/')
  const found = parts.find((part) => part.name === wanted)
  if (found) return found
  const owner = wanted.split('/')[0]!
  const near = parts.filter((part) => part.name.split('/')[0] === owner)
  const names = (near.length > 0 ? near : parts).map((part) => part.name).join(', ')
  throw new Error(`there is no part "${name}"; there are ${names}`)
}
