/** The servers that were found against those of the site: every difference, with its place in the rack. Pure. */
import type { Plan, ServerPlan } from '#infra/site/plan.ts'
import type { FoundDrive, FoundNic, Inventory } from './inventory.ts'

/** `srv1 (rack r1, unit 20)`: where to go with the screwdriver. */
export const placeOf = ({ name, rack, unit }: ServerPlan) => `${name} (rack ${rack}, unit ${unit})`

/** The kernel keeps some of the memory to itself: this part, and so much. */
const memory_kept_part = 0.02
const memory_kept_mb = 192
/** Makers count a GB as 10⁹ bytes, and round. */
const size_below_part = 0.03

/** Serials of drives that an installation of ours began to write to, or that may be overwritten by the operator's word. */
export type Overwritable = ReadonlySet<string>

/** What differs; `hints`: what could not be looked at. */
export interface Comparison {
  readonly findings: readonly string[]
  readonly hints: readonly string[]
}

export function compare(plan: Plan, server: ServerPlan, found: Inventory, overwritable: Overwritable): Comparison {
  const findings: string[] = []
  const hints: string[] = []
  const place = placeOf(server)
  const say = (text: string) => findings.push(`${place}: ${text}`)
  cabling(plan, server, found, say, (text) => hints.push(`${place}: ${text}`))
  drives(plan, server, found, overwritable, say)
  if (server.memory_gb !== null) {
    const wanted = server.memory_gb * 1_024
    if (found.memory_mb < wanted * (1 - memory_kept_part) - memory_kept_mb)
      say(
        `${gib(found.memory_mb)} of memory are seen, the site says ${server.memory_gb} GiB; look for a module that is missing, loose or broken`,
      )
    else if (found.memory_mb > wanted)
      say(
        `${gib(found.memory_mb)} of memory are seen, the site says ${server.memory_gb} GiB; correct memory_gb, or it is another server's place`,
      )
  }
  if (found.firmware !== server.firmware)
    say(
      `it was started by ${names[found.firmware]}, the site says ${names[server.firmware]}; set its firmware to ${names[server.firmware]}, or correct firmware`,
    )
  return { findings, hints }
}

const names = { bios: 'BIOS', uefi: 'UEFI' } as const
const gib = (mb: number) => `${(mb / 1_024).toFixed(1)} GiB`
const gb = (bytes: number) => `${Math.round(bytes / 1e9)} GB`

type Say = (text: string) => void

function cabling(plan: Plan, server: ServerPlan, { nics }: Inventory, say: Say, hint: Say): void {
  const owners = new Map(plan.servers.flatMap((other) => other.nics.map(({ mac, name }) => [mac, { other, name }])))
  const ours = new Map(nics.map((nic) => [nic.mac, nic]))
  const strangers = nics.filter(({ mac }) => !owners.has(mac)).map(({ mac }) => mac)
  for (const { mac } of nics) {
    const owner = owners.get(mac)
    if (owner && owner.other.name !== server.name)
      say(`it has the card ${mac}, which is ${owner.name} of ${placeOf(owner.other)} in the site; the two are mixed up`)
  }
  for (const nic of server.nics) {
    const found = ours.get(nic.mac)
    if (!found) {
      const instead = strangers.length > 0 ? `; cards that the site does not know: ${strangers.join(', ')}` : ''
      say(`${nic.name} (${nic.mac}) is not there${instead}`)
    } else if (!found.carrier) {
      say(`${nic.name} has no link; look at the cable to port ${nic.link.port} of switch ${nic.link.switch}`)
    } else leg(plan, server, nic, found, say, hint)
  }
}

/** Where a leg's cable ends, as the switch says it. */
function leg(
  plan: Plan,
  server: ServerPlan,
  nic: ServerPlan['nics'][number],
  { neighbour }: FoundNic,
  say: Say,
  hint: Say,
): void {
  const { link } = nic
  if (!neighbour) {
    hint(`${nic.name}: its switch does not say who it is (LLDP is off?); the cabling of this leg was not looked at`)
    return
  }
  const short = neighbour.system.split('.')[0]!.toLowerCase()
  const known = plan.racks.flatMap(({ switches }) => switches).find(({ name }) => name.toLowerCase() === short)
  if (!known) {
    say(`${nic.name} is on a switch that calls itself "${neighbour.system}", the site says ${link.switch}`)
    return
  }
  const port = Number(/(\d+)\D*$/.exec(neighbour.port)?.[1] ?? Number.NaN)
  if (known.name !== link.switch) {
    const other = server.nics.find((each) => each.name !== nic.name && each.link.switch === known.name)
    const swapped = other ? `; are the cables of ${nic.name} and ${other.name} swapped?` : ''
    say(
      `${nic.name} is on switch ${known.name}${Number.isNaN(port) ? '' : ` (port ${port})`}, the site says ${link.switch}${swapped}`,
    )
  } else if (!Number.isNaN(port) && port !== link.port)
    say(`${nic.name} is in port ${port} of switch ${link.switch}, the site says port ${link.port}`)
}

function drives(
  plan: Plan,
  server: ServerPlan,
  { drives: all }: Inventory,
  overwritable: Overwritable,
  say: Say,
): void {
  const owners = new Map(plan.servers.flatMap((other) => other.drives.map(({ serial }) => [serial, other] as const)))
  const strangers = all.filter(({ serial }) => !owners.has(serial))
  for (const drive of server.drives) {
    const found = all.find(({ serial }) => serial === drive.serial)
    if (!found) {
      const instead =
        strangers.length > 0 ? `; drives that the site does not know: ${strangers.map(described).join(', ')}` : ''
      say(`drive ${drive.serial} of bay ${drive.bay} is not there${instead}`)
      continue
    }
    if (found.bytes < drive.size_gb * 1e9 * (1 - size_below_part))
      say(`drive ${drive.serial} of bay ${drive.bay} has ${gb(found.bytes)}, the site says ${drive.size_gb} GB`)
    if (found.holds.length > 0 && !overwritable.has(drive.serial))
      say(
        `drive ${drive.serial} of bay ${drive.bay} is not blank (${found.holds.join(', ')}); look what is on it, then --reinstall ${server.name} overwrites both drives`,
      )
  }
  for (const { serial } of all) {
    const owner = owners.get(serial)
    if (owner && owner.name !== server.name)
      say(`it has drive ${serial}, which is one of ${placeOf(owner)} in the site`)
  }
}

const described = ({ name, bytes, serial }: FoundDrive) => `${serial || `${name} (no serial)`}, ${gb(bytes)}`
