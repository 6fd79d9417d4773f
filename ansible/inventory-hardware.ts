/** What a server is told of its own parts: which there are, and where each is in the rack, for the one who goes there. */
import type { Plan, ServerPlan } from '#infra/site/plan.ts'

/** A part that can fail, by its name in alerts. */
export interface Part {
  readonly kind: 'supply' | 'bond' | 'link' | 'drive' | 'mirror' | 'bmc' | 'watchdog' | 'system'
  /** Where to look, in words; empty: the server itself. */
  readonly where: string
  /** The same as figures: bay; switch and port; PDU, outlet and feed. */
  readonly place: Readonly<Record<string, string | number>>
}

/** Seconds between two looks of each watch; a watch that is not among them is not installed. */
export type Watches = Readonly<Record<string, number>>

export function partsOf(plan: Plan, server: ServerPlan): Record<string, Part> {
  const { bond, nics, drives, raid, bmc, power, watchdog } = server
  const parts: [string, Part][] = []
  for (const { supply, pdu, outlet, feed } of power) {
    const source = plan.feeds.find(({ name }) => name === feed)?.source ?? ''
    const where = `outlet ${outlet} of ${pdu}, feed ${feed}${source === '' ? '' : ` (${source})`}`
    parts.push([supply, { kind: 'supply', where, place: { pdu, outlet, feed } }])
  }
  parts.push([bond.name, { kind: 'bond', where: '', place: {} }])
  for (const { name, link } of nics) parts.push([name, { kind: 'link', ...cable(link) }])
  for (const { serial, bay } of raid.managed ? drives : [])
    parts.push([serial, { kind: 'drive', where: `bay ${bay}`, place: { bay } }])
  if (raid.managed) {
    const bays = drives.filter(({ serial }) => raid.members.includes(serial)).map(({ bay }) => bay)
    parts.push([raid.name, { kind: 'mirror', where: `bays ${bays.join(' and ')}`, place: {} }])
  }
  for (const [index, { address, link }] of bmc.paths.entries()) {
    const { where, place } = cable(link)
    parts.push([pathName(index), { kind: 'bmc', where: `${where}, address ${address}`, place: { address, ...place } }])
  }
  if (watchdog) parts.push(['watchdog', { kind: 'watchdog', where: '', place: {} }])
  // What the controller's log tells of: fans, memory, processors, boards.
  parts.push(['system', { kind: 'system', where: '', place: {} }])
  return Object.fromEntries(parts)
}

const cable = ({ switch: name, port }: { readonly switch: string; readonly port: number }) => ({
  where: `port ${port} of switch ${name}`,
  place: { switch: name, port },
})

/** `bmc`, and `bmc-2` for its second way. */
export const pathName = (index: number) => (index === 0 ? 'bmc' : `bmc-${index + 1}`)

const smart_s = 1_800

/** At the pace of the site's figures; drives are asked seldom, since that disturbs them. */
export const watchesOf = ({ host }: Plan, { raid, watchdog }: ServerPlan): Watches => {
  const every_s = host.metrics.interval_s
  return {
    power: 2 * every_s,
    bond: every_s,
    sel: 4 * every_s,
    ...(raid.managed ? { mirror: 2 * every_s, smart: Math.max(smart_s, 4 * every_s) } : {}),
    ...(watchdog ? { watchdog: 4 * every_s } : {}),
  }
}

/** Variables of the role hardware. */
export function hardwareVariables(plan: Plan, server: ServerPlan): Record<string, unknown> {
  const { hostname, port } = new URL(plan.environment.urls.mbus)
  const rack = plan.racks.find(({ name }) => name === server.rack)
  return {
    hardware_place: { site: plan.site, rack: server.rack, unit: server.unit, position: rack?.position ?? '' },
    hardware_parts: partsOf(plan, server),
    hardware_watches: watchesOf(plan, server),
    hardware_bus: {
      address: hostname,
      port: Number(port),
      user: `server/${server.name}`,
      secret: `mbus/${server.name}`,
    },
  }
}
