/** What can be pulled out of a rack and pushed in again, by name. Pure. */
import type { PortPlan } from '#infra/site/plan.ts'
import type { Wiring } from './wiring.ts'

export type Part =
  | { readonly kind: 'cable'; readonly name: string; readonly port: PortPlan }
  | { readonly kind: 'switch'; readonly name: string }
  | { readonly kind: 'feed'; readonly name: string }
  | { readonly kind: 'cord'; readonly name: string; readonly server: string; readonly supply: string }

/** Every part of a rack: `gw1:eth0` a cable, `gw1:bmc` its BMC's, `gw1:psu1` a power cord, `sw-a` a switch, `feed:A` a feed, `outside:up0` a provider's cable. */
export function partsOf(wiring: Wiring): Part[] {
  const cables = (name: string, machine: Wiring['outside'], label = (leg: string) => leg): Part[] =>
    machine.legs.map((leg) => ({ kind: 'cable', name: `${name}:${label(leg.name)}`, port: leg.port }))
  return [
    ...wiring.servers.flatMap(({ plan, machine, bmc }) => [
      ...cables(plan.name, machine),
      ...cables(plan.name, bmc, (leg) => (bmc.legs.length === 1 ? 'bmc' : `bmc-${leg}`)),
      ...plan.power.map(
        ({ supply }): Part => ({
          kind: 'cord',
          name: `${plan.name}:${supply}`,
          server: plan.name,
          supply,
        }),
      ),
    ]),
    ...cables('outside', wiring.outside),
    ...wiring.trunks.map(
      ({ ends }): Part => ({
        kind: 'cable',
        name: `${ends[0].switch}:${ends[1].switch}`,
        port: ends[0],
      }),
    ),
    ...wiring.switches.map(({ name }): Part => ({ kind: 'switch', name })),
    ...wiring.feeds.map((name): Part => ({ kind: 'feed', name: `feed:${name}` })),
  ]
}

/** The part of this name; throws with the names that there are. */
export function partOf(wiring: Wiring, name: string): Part {
  const parts = partsOf(wiring)
  const found = parts.find((part) => part.name === name)
  if (!found) throw new Error(`there is no part "${name}"; there are ${parts.map((part) => part.name).join(', ')}`)
  return found
}
