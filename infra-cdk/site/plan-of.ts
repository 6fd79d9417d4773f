import {
  Cluster,
  Firewall,
  Network,
  Pdu,
  PowerFeed,
  Rack,
  Server,
  Switch,
  VirtualAddress,
} from '../constructs/index.ts'
import type { Outlet } from '../constructs/pdu.ts'
import { all, type Site } from '../constructs/site.ts'
import type { Port } from '../constructs/switch.ts'
import { findingsOf, SiteError } from './findings.ts'
import type * as P from './plan.ts'
import { clusterPlan } from './plan-cluster.ts'
import { distributionPlan, firewallPlan } from './plan-gateway.ts'
import { environmentPlan, secretsPlan } from './plan-services.ts'

/** The plan of a site with racks. Pure: the same site gives the same bytes. Throws SiteError with every finding. */
export function planOf(site: Site): P.Plan {
  const findings = findingsOf(site)
  if (findings.length > 0) throw new SiteError(site.name, findings)
  const { domain, management, host } = site
  const [cluster, firewall] = [all(site, Cluster)[0], all(site, Firewall)[0]]
  if (domain === undefined || !management || !host || !cluster || !firewall)
    throw new SiteError(site.name, [`site ${site.name}: it has no racks; use machinePlanOf`])
  const servers = all(site, Server)
  const networks = all(site, Network)
  const addresses = all(site, VirtualAddress)
  const internal = addresses.find(({ purpose }) => purpose === 'internal')!
  const plan: P.Plan = {
    version: 1,
    site: site.name,
    domain,
    networks: networks.map((network) => ({
      name: network.name,
      cidr: network.cidr,
      mtu: network.mtu,
      vlan: network.vlan,
      path: network.path,
      router: network.router,
      uplinks: network.uplinks.map(({ provider, to }) => ({ provider, ...portPlan(to) })),
    })),
    virtual_addresses: addresses.map((address) => virtualAddressPlan(address, servers)),
    feeds: all(site, PowerFeed).map(({ name, source }) => ({ name, source })),
    racks: all(site, Rack).map(rackPlan),
    servers: servers.map((server) => serverPlan(server, domain, networks, internal)),
    cluster: clusterPlan(cluster, site),
    firewall: firewallPlan(firewall, cluster.props.links, site),
    distribution: distributionPlan(firewall, site),
    environment: environmentPlan(site),
    management,
    host,
    install: site.install ?? null,
    secrets: secretsPlan(site, cluster),
  }
  // A plan is data alone: no method, nothing shared with the tree.
  return JSON.parse(JSON.stringify(plan)) as P.Plan
}

const portPlan = ({ switch: { name }, port }: Port): P.PortPlan => ({ switch: name, port })

const outletPlan = ({ name, outlet: { pdu, outlet } }: { name: string; outlet: Outlet }): P.OutletPlan => ({
  supply: name,
  pdu: pdu.name,
  outlet,
  feed: pdu.feed.name,
})

function virtualAddressPlan(address: VirtualAddress, servers: readonly Server[]): P.VirtualAddressPlan {
  const role = address.purpose === 'database' ? 'server' : 'gateway'
  const host = servers.find((server) => server.role === role)!
  return {
    name: address.name,
    purpose: address.purpose,
    network: address.network.name,
    address: address.address,
    prefix: address.network.prefix,
    device: host.deviceOn(address.network).device,
    role,
  }
}

/** The outside's router, if the server is on that network. */
function router(server: Server, networks: readonly Network[]): string | null {
  const outside = networks.find((network) => network.router !== null && server.addressOn(network) !== undefined)
  return outside?.router ?? null
}

function rackPlan(rack: Rack): P.RackPlan {
  return {
    name: rack.name,
    units: rack.units,
    position: rack.position,
    switches: all(rack, Switch).map(({ name, side, unit, ports, supplies, trunks }) => ({
      name,
      side,
      unit,
      ports,
      power: supplies.map(outletPlan),
      trunks: trunks.map(({ port, to }) => ({ port, to: portPlan(to) })),
    })),
    pdus: all(rack, Pdu).map(({ name, feed, outlets }) => ({ name, feed: feed.name, outlets })),
  }
}

function serverPlan(
  server: Server,
  domain: string,
  networks: readonly Network[],
  internal: VirtualAddress,
): P.ServerPlan {
  const [bond, mirror, bmc] = [server.bonds[0]!, server.mirrors[0]!, server.bmcs[0]!]
  return {
    name: server.name,
    fqdn: `${server.name}.${domain}`,
    rack: server.rack.name,
    unit: server.unit,
    height: server.height,
    role: server.role,
    memory_gb: server.memory_gb,
    firmware: server.firmware,
    watchdog: server.watchdog,
    access: { address: server.addressOn('lan')!, ...server.access, secret: 'access/ssh-key' },
    nics: bond.legs.map(({ nic, mac, to, speed_mbps = 10_000 }) => ({
      name: nic,
      mac,
      link: portPlan(to),
      speed_mbps,
    })),
    bond: {
      name: bond.name,
      mode: bond.mode,
      members: bond.legs.map(({ nic }) => nic),
      primary: bond.legs[0]!.nic,
      monitoring: bond.monitoring,
      managed: bond.managed,
    },
    interfaces: networks.flatMap((network) => {
      const address = server.addressOn(network)
      if (address === undefined) return []
      const { device, parent } = server.deviceOn(network)
      const { name, vlan, mtu, prefix } = network
      const managed = vlan === null ? parent !== bond.name || bond.managed : network.managed
      return [{ network: name, device, parent, vlan, mtu, address, prefix, managed }]
    }),
    default_gateway: server.role === 'gateway' ? router(server, networks) : internal.address,
    drives: mirror.drives,
    raid: { name: mirror.name, level: 1, members: mirror.drives.map(({ serial }) => serial), managed: mirror.managed },
    power: server.supplies.map(outletPlan),
    bmc: {
      user: bmc.user,
      secret: `bmc/${server.name}`,
      paths: bmc.paths.map(({ at, port, to }, index) => ({
        name: 'ab'[index] ?? String(index),
        address: at.address,
        port,
        link: portPlan(to),
      })),
    },
  }
}
