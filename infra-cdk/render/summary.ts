import type { OutletPlan, Plan, PortPlan, RackPlan, ServerPlan } from '../site/plan.ts'

/** Plan → text for a person at a terminal. */
export function renderSummary(plan: Plan): string {
  const { cluster, firewall, distribution } = plan
  return `${[
    `Site ${plan.site} (${plan.domain})`,
    ...plan.racks.flatMap((rack) => ['', ...rackText(plan, rack)]),
    '',
    'Feeds',
    ...table(plan.feeds.map(({ name, source }) => [name, source])),
    '',
    'Networks',
    ...table(
      plan.networks.map(({ name, cidr, vlan, path, mtu, router }) => [
        name,
        cidr,
        vlan === null ? 'untagged' : `vlan ${vlan}`,
        path === 'bond' ? 'both legs, bonded' : path.replace('-', ' '),
        `mtu ${mtu}`,
        router === null ? '' : `router ${router}`,
      ]),
    ),
    '',
    'Virtual addresses',
    ...table(plan.virtual_addresses.map(({ name, address, prefix, device }) => [name, `${address}/${prefix}`, device])),
    '',
    `Cluster ${cluster.name}: ${cluster.quorum.majority} of ${cluster.quorum.expected_votes} votes make a quorum; a node is lost after ${cluster.totem.token_ms} ms`,
    ...table(
      cluster.nodes.map(({ name, id, votes, addresses }) => [
        name,
        `id ${id}`,
        `votes ${votes}`,
        ...addresses,
        fencingOf(plan, name),
      ]),
    ),
    '',
    'Processes',
    ...table(
      plan.servers.map(({ name }) => [
        name,
        plan.environment.instances
          .filter(({ host }) => host === name)
          .map(({ instance, port }) => `${instance}:${port}`)
          .join(' ') || '–',
      ]),
    ),
    '',
    'Published',
    ...table(
      distribution.services.map(({ name, on, protocols, ports, targets }) => {
        const limits = firewall.services.find((service) => service.name === name)
        return [
          name,
          on.join(' and '),
          protocols.join('+'),
          ports.first === ports.last ? `port ${ports.first}` : `ports ${ports.first} to ${ports.last}`,
          `to ${targets.map(({ host }) => host).join(' ')}`,
          limits
            ? `${limits.connections_per_source_max} connections, ${limits.new_per_source.per_second} new/s a source`
            : '',
        ]
      }),
    ),
  ].join('\n')}\n`
}

const port = (link: PortPlan) => `${link.switch}/${link.port}`
const outlet = ({ pdu, outlet: number, feed }: OutletPlan) => `${pdu}/${number} (${feed})`

function rackText(plan: Plan, rack: RackPlan): string[] {
  const rows = [
    ...rack.switches.map(({ name, side, unit, power, trunks }) => ({
      unit,
      cells: [
        name,
        `switch, side ${side}`,
        trunks.map((trunk) => `${trunk.port} → ${port(trunk.to)}`).join(', '),
        power.map(outlet).join(', '),
        '',
      ],
    })),
    ...plan.servers
      .filter((server) => server.rack === rack.name)
      .map((server) => ({ unit: server.unit, cells: cells(server) })),
  ]
  return [
    `Rack ${rack.name}, ${rack.units} units: ${rack.position}`,
    ...table(rows.toSorted((a, b) => b.unit - a.unit).map(({ unit, cells: own }) => [String(unit), ...own])),
  ]
}

function cells({ name, role, nics, power, bmc }: ServerPlan): string[] {
  return [
    name,
    role,
    nics.map((nic) => `${nic.name} → ${port(nic.link)}`).join(', '),
    power.map(outlet).join(', '),
    `bmc ${bmc.paths.map(({ address, link }) => `${address} → ${port(link)}`).join(', ')}`,
  ]
}

function fencingOf({ cluster: { fencing } }: Plan, node: string): string {
  const devices = fencing.levels.filter((level) => level.node === node).flatMap((level) => level.devices)
  return `fenced by ${devices.join(', then ')}`
}

/** Columns as wide as their widest cell. */
function table(rows: readonly (readonly string[])[]): string[] {
  const columns = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, at) => Math.max(...rows.map((row) => (row[at] ?? '').length)))
  return rows.map((row) => `  ${row.map((cell, at) => cell.padEnd(widths[at]!)).join('  ')}`.trimEnd())
}
