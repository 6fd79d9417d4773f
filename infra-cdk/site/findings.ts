import type { IConstruct } from 'constructs'
import {
  Bmc,
  BondedNic,
  Cluster,
  Firewall,
  Network,
  Pdu,
  PowerSupply,
  Rack,
  RaidMirror,
  Server,
  Switch,
  VirtualAddress,
} from '../constructs/index.ts'
import { contains, parseCidr } from '../constructs/ipv4.ts'
import { all, type Site } from '../constructs/site.ts'
import type { Port } from '../constructs/switch.ts'
import { count as words } from '../constructs/words.ts'

/** A site that must not be deployed: all its findings, one a line. */
export class SiteError extends Error {
  readonly findings: readonly string[]

  constructor(site: string, findings: readonly string[]) {
    super(findings.join('\n'))
    this.name = `SiteError ${site}`
    this.findings = findings
  }
}

/** Everything that is wrong with a site, each finding with the name of the element and the remedy; empty: nothing. */
export function findingsOf(site: Site): string[] {
  const own = site.node.findAll().flatMap((construct) => construct.node.validate())
  const racked =
    all(site, Rack).length > 0 ? [...census(site), ...collisions(site), ...elevation(site), ...installable(site)] : []
  return [...new Set([...own, ...racked])]
}

/** What there must be, and how many. */
function census(site: Site): string[] {
  const found: string[] = []
  const count = (role: Server['role']) => all(site, Server).filter((server) => server.role === role).length
  if (count('gateway') !== 2)
    found.push(
      `site ${site.name}: it has ${words(count('gateway'), 'gateway server')}; it needs two, so that one can take over`,
    )
  if (count('archive') !== 1)
    found.push(`site ${site.name}: it has ${words(count('archive'), 'archive server')}; it needs one, the third vote`)
  if (count('server') < 2)
    found.push(`site ${site.name}: it has ${words(count('server'), 'server')} for services; it needs two or more`)
  for (const [kind, name] of [
    [Cluster, 'Cluster'],
    [Firewall, 'Firewall'],
  ] as const)
    if (all<IConstruct>(site, kind).length !== 1) found.push(`site ${site.name}: it needs one ${name}`)
  for (const name of ['lan', 'external', 'cluster-a', 'cluster-b', 'bmc'])
    if (!all(site, Network).some((network) => network.name === name))
      found.push(`site ${site.name}: it has no network ${name}`)
  for (const purpose of ['external', 'internal'])
    if (!all(site, VirtualAddress).some((address) => address.purpose === purpose))
      found.push(`site ${site.name}: it has no virtual address for ${purpose} traffic`)
  for (const field of ['domain', 'management', 'host'] as const)
    if (site[field] === undefined) found.push(`site ${site.name}: ${field} is missing`)
  const patience = site.host?.patience ?? 1
  if (!Number.isInteger(patience) || patience < 1)
    found.push(`site ${site.name}: host.patience is ${patience}; it is a whole number, 1 or more`)
  for (const rack of all(site, Rack)) {
    const sides = all(rack, Switch).map(({ side }) => side)
    if (sides.toSorted().join() !== 'a,b')
      found.push(`rack ${rack.name}: it has ${sides.length} switches; it needs two, one of side a and one of side b`)
    const powered = new Set(
      all(rack, Switch).flatMap(({ supplies }) => supplies.map(({ outlet }) => outlet.pdu.feed.name)),
    )
    if (sides.length === 2 && powered.size === 1)
      found.push(`rack ${rack.name}: both switches hang on feed ${[...powered][0]} alone; put them on different feeds`)
    const feeds = new Set(all(rack, Pdu).map(({ feed }) => feed.name))
    if (feeds.size < 2) found.push(`rack ${rack.name}: its PDUs bring ${words(feeds.size, 'feed')}; it needs two`)
  }
  found.push(...unreached(site), ...gatewaysAlike(site))
  for (const server of all(site, Server)) {
    if (server.role !== 'gateway') continue
    for (const { name, network } of all(site, VirtualAddress))
      if (server.addressOn(network) === undefined)
        found.push(`server ${server.name}: it has no address on network ${network.name} of virtual address ${name}`)
  }
  return found
}

/** Virtual addresses and rules name one device for both gateways. */
function gatewaysAlike(site: Site): string[] {
  const [first, ...others] = all(site, Server).filter(({ role, bonds }) => role === 'gateway' && bonds.length === 1)
  if (!first) return []
  const on = (server: Server, network: Network) => {
    try {
      return server.deviceOn(network).device
    } catch {
      // The server's own check says which link is missing.
      return undefined
    }
  }
  return others.flatMap((server) =>
    first.addresses.flatMap(({ network }) => {
      const [wanted, found] = [on(first, network), on(server, network)]
      return wanted === undefined || found === undefined || wanted === found
        ? []
        : [
            `server ${server.name}: network ${network.name} is on ${found}, but on ${wanted} of ${first.name}; gateways need the same devices`,
          ]
    }),
  )
}

/** Switches that no cable joins to the first one. */
function unreached(site: Site): string[] {
  const switches = all(site, Switch)
  const reached = new Set(switches.slice(0, 1))
  for (const device of reached) for (const { to } of device.trunks) reached.add(to.switch)
  return switches
    .filter((device) => !reached.has(device))
    .map(
      ({ name }) =>
        `switch ${name}: no trunk leads to it from ${switches[0]!.name}; servers that use different legs would not reach each other`,
    )
}

/** Things that only one may have. */
function collisions(site: Site): string[] {
  const found: string[] = []
  const once = (what: string, remedy: string) => {
    const owners = new Map<string, string>()
    return (key: string, owner: string) => {
      const other = owners.get(key)
      if (other === undefined) owners.set(key, owner)
      else found.push(`${owner}: ${what} ${key} is that of ${other}; ${remedy}`)
    }
  }
  const address = once('address', 'every address is given once')
  const port = once('port', 'a port takes one cable')
  const outlet = once('outlet', 'an outlet takes one cord')
  const mac = once('mac', 'it is read off the card')
  const serial = once('drive serial', 'it is read off the drive')
  const name = once('name', 'names are given once')
  const subnet = once('network', 'every network has addresses of its own')
  const vlan = once('vlan', 'every network has a tag of its own')
  const cable = ({ switch: { name: to }, port: n }: Port, owner: string) => port(`${n} of ${to}`, owner)

  for (const network of all(site, Network)) {
    subnet(network.cidr, `network ${network.name}`)
    vlan(network.vlan === null ? 'none (untagged)' : String(network.vlan), `network ${network.name}`)
    if (network.router !== null) address(network.router, `router of network ${network.name}`)
    for (const { provider, to } of network.uplinks) cable(to, `uplink ${provider}`)
  }
  for (const { name: id, address: at } of all(site, VirtualAddress)) address(at, `virtual address ${id}`)
  if (site.install) address(site.install.address, 'the machine that deploys (install)')
  for (const part of [...all(site, Rack), ...all(site, Switch), ...all(site, Pdu), ...all(site, Server)])
    name(part.name, `${part.constructor.name.toLowerCase()} ${part.name}`)
  for (const device of all(site, Switch))
    for (const { port: n } of device.trunks) cable({ switch: device, port: n }, `trunk of switch ${device.name}`)
  for (const supply of all(site, PowerSupply)) {
    const owner = supply.node.scope as Server | Switch
    outlet(`${supply.outlet.outlet} of ${supply.outlet.pdu.name}`, `${supply.name} of ${owner.name}`)
  }
  for (const server of all(site, Server)) {
    const owner = `server ${server.name}`
    for (const { address: at } of server.addresses) address(at, owner)
    for (const bond of all(server, BondedNic))
      for (const leg of bond.legs) {
        mac(leg.mac, `${leg.nic} of ${owner}`)
        cable(leg.to, `${leg.nic} of ${owner}`)
      }
    for (const mirror of all(server, RaidMirror)) for (const drive of mirror.drives) serial(drive.serial, owner)
    for (const bmc of all(server, Bmc))
      for (const { at, to } of bmc.paths) {
        address(at.address, `bmc of ${owner}`)
        cable(to, `bmc of ${owner}`)
      }
  }
  return found
}

/** What a site needs whose blank servers are installed. */
function installable(site: Site): string[] {
  const { install } = site
  if (!install) return []
  const found: string[] = []
  const say = (text: string) => found.push(`site ${site.name}: install: ${text}`)
  const lan = all(site, Network).find(({ name }) => name === 'lan')
  const cidr = lan && parseCidr(lan.cidr)
  if (lan && cidr && !contains(cidr, install.address))
    say(`address ${install.address} is not in network lan (${lan.cidr}), over which servers are installed`)
  if (lan && lan.vlan !== null) say('network lan is tagged; firmware starts servers over an untagged one')
  if (!(Number.isInteger(install.port) && install.port >= 1 && install.port <= 65_535))
    say(`port ${install.port} is not between 1 and 65535`)
  if (/[^\w .,:=/-]/.test(install.kernel_args))
    say(`kernel_args "${install.kernel_args}" have a character that is neither letter, digit nor one of _ . , : = / -`)
  for (const name of install.packages)
    if (!/^[a-z0-9][a-z0-9+.-]+$/.test(name)) say(`"${name}" is no name of a Debian package`)
  for (const server of all(site, Server)) {
    const owner = `server ${server.name}`
    if (server.memory_gb === null) found.push(`${owner}: memory_gb is missing; a module that is missing is found by it`)
    for (const part of [...server.mirrors, ...server.bonds])
      if (!part.managed) found.push(`${owner}: ${part.name} is not managed, but the site installs its servers`)
    for (const { serial } of server.mirrors.flatMap(({ drives }) => drives))
      if (!/^[\w.:-]{1,64}$/.test(serial))
        found.push(`${owner}: drive serial "${serial}" has a character that a serial has not; write it without spaces`)
  }
  return found
}

/** What stands in one unit of a rack. */
function elevation(site: Site): string[] {
  const found: string[] = []
  for (const rack of all(site, Rack)) {
    const taken = new Map<number, string>()
    for (const part of [...all(rack, Switch), ...all(rack, Server)]) {
      for (let unit = part.unit; unit < part.unit + part.height; unit++) {
        const other = taken.get(unit)
        if (!(Number.isInteger(unit) && unit >= 1 && unit <= rack.units))
          found.push(`${part.name}: unit ${unit} is not in rack ${rack.name}, which has ${rack.units}`)
        else if (other !== undefined) found.push(`${part.name}: unit ${unit} of rack ${rack.name} is taken by ${other}`)
        else taken.set(unit, part.name)
      }
    }
  }
  return found
}
