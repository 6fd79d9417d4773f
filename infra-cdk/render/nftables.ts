/**
 * Plan → the gateways' nftables rules, the same on both. Two files, each loaded on its own at any time (`nft -f`):
 * sets, maps and counters are declared, rules are flushed and made anew in one transaction. What was fed at run time and
 * what is established survives a reload; `nft -c -f` checks a file without loading it.
 */
import type { FirewallServicePlan, Plan, PortRange, Transport } from '../site/plan.ts'

export const filterTable = 'milepost_filter'
export const distributeTable = 'milepost_distribute'
/** Corosync's first port; one more a link. */
const corosync_port = 5_405
/** Sources a set remembers; the kernel's memory bounds it. */
const sources_max = 262_144
/** A source's rate is forgotten after so long a pause. */
const rate_memory = '1m'
/** The same on both gateways: a source goes to the same slot after a failover. */
const hash_seed = '0x4d696c65'

/** nftables map from slot to living target of a service. */
export const mapName = (service: string) => `to_${nftName(service)}`
/** Names are identifiers, and not words of nftables. */
const nftName = (name: string) => name.replaceAll('-', '_')

const range = ({ first, last }: PortRange) => (first === last ? String(first) : `${first}-${last}`)
/** What a packet to these ports is. */
const to = (protocols: readonly Transport[], ports: PortRange) =>
  protocols.length === 1
    ? `${protocols[0]} dport ${range(ports)}`
    : `meta l4proto { ${protocols.join(', ')} } th dport ${range(ports)}`
const rate = (limit: { per_second: number; burst: number }) =>
  `limit rate over ${limit.per_second}/second burst ${limit.burst} packets`
/**
 * Sets of sources carry their limit in their name: an element keeps the limit it was made with, so that another limit
 * needs another set. The one before empties by itself.
 */
const rateSet = (name: string, { per_second, burst }: { per_second: number; burst: number }) =>
  `${nftName(name)}_new_${per_second}_${burst}`
const countSet = (name: string, max: number) => `${nftName(name)}_open_${max}`
const elements = (list: readonly string[]) => (list.length === 0 ? '' : ` elements = { ${list.join(', ')} }`)

/** Devices of a gateway by network; both gateways have the same (a check of the model). */
function devices(plan: Plan): Record<string, string> {
  const gateway = plan.servers.find(({ role }) => role === 'gateway')
  return Object.fromEntries((gateway?.interfaces ?? []).map(({ network, device }) => [network, `"${device}"`]))
}

const cidrOf = (plan: Plan, name: string) => plan.networks.find((network) => network.name === name)!.cidr

/** Default deny; limits per source; block and allow sets. */
export function renderFilter(plan: Plan): string {
  const { firewall, management, host, cluster } = plan
  const on = devices(plan)
  const [outside, inside] = [on.external, on.lan]
  const counters = [
    'blocked',
    'spoofed',
    'syn_source_limited',
    'syn_total_limited',
    'udp_total_limited',
    'invalid',
    'picked_up',
    'input_dropped',
    'forward_dropped',
    ...firewall.services.flatMap(({ name }) =>
      ['accepted', 'rate_limited', 'count_limited'].map((what) => `${nftName(name)}_${what}`),
    ),
  ]
  const service = ({ name, protocols, ports, connections_per_source_max, new_per_source }: FirewallServicePlan) => {
    const id = nftName(name)
    const match = to(protocols, ports)
    return [
      `    ip saddr != @allow ip saddr != @fed_allow ${match} update @${rateSet(name, new_per_source)} { ip saddr ${rate(new_per_source)} } counter name ${id}_rate_limited drop`,
      `    ip saddr != @allow ip saddr != @fed_allow ${match} add @${countSet(name, connections_per_source_max)} { ip saddr ct count over ${connections_per_source_max} } counter name ${id}_count_limited drop`,
      `    ${match} counter name ${id}_accepted accept`,
    ]
  }
  const links = cluster.links.map(
    (network, link) =>
      `    iifname ${on[network]} ip saddr ${cidrOf(plan, network)} udp dport ${corosync_port + link} accept comment "Corosync link ${link}"`,
  )
  const synSources = rateSet('syn', firewall.syn.per_source)
  const sync = firewall.state_sync.flatMap(({ network, multicast, port }) => [
    `    iifname ${on[network]} ip saddr ${cidrOf(plan, network)} ip daddr ${multicast} udp dport ${port} accept comment "conntrackd"`,
    `    iifname ${on[network]} ip protocol igmp accept`,
  ])
  return `${[
    `# Filter of the gateways of site ${plan.site}. Rendered from its plan; edits here are lost.`,
    `table inet ${filterTable} {`,
    `  set block { type ipv4_addr; flags interval; auto-merge;${elements(firewall.block)} }`,
    `  set allow { type ipv4_addr; flags interval; auto-merge;${elements(firewall.allow)} }`,
    // What REST lists; the gateways' daemon writes them.
    '  set fed_block { type ipv4_addr; flags interval; }',
    '  set fed_allow { type ipv4_addr; flags interval; }',
    `  set seen { type ipv4_addr; size ${sources_max}; flags dynamic,timeout; timeout ${firewall.seen_s}s; }`,
    `  set ${synSources} { type ipv4_addr; size ${sources_max}; flags dynamic,timeout; timeout ${rate_memory}; }`,
    ...firewall.services.flatMap(({ name, new_per_source, connections_per_source_max }) => [
      `  set ${rateSet(name, new_per_source)} { type ipv4_addr; size ${sources_max}; flags dynamic,timeout; timeout ${rate_memory}; }`,
      `  set ${countSet(name, connections_per_source_max)} { type ipv4_addr; size ${sources_max}; flags dynamic; }`,
    ]),
    ...counters.map((name) => `  counter ${name} { }`),
    '  chain early { type filter hook prerouting priority raw; policy accept; }',
    '  chain opening { }',
    '  chain input { type filter hook input priority filter; policy drop; }',
    '  chain forward { type filter hook forward priority filter; policy drop; }',
    '  chain services { }',
    '}',
    `flush table inet ${filterTable}`,
    `table inet ${filterTable} {`,
    '  # Before conntrack: what is refused here costs it nothing.',
    '  chain early {',
    ...['allow', 'fed_allow'].map((set) => `    iifname ${outside} ip saddr @${set} accept`),
    ...['block', 'fed_block'].map((set) => `    iifname ${outside} ip saddr @${set} counter name blocked drop`),
    `    iifname ${outside} fib saddr . iif oif 0 counter name spoofed drop comment "no way back to this source here"`,
    `    iifname ${outside} tcp flags & (fin|syn|rst|ack) == syn jump opening`,
    '  }',
    '  chain opening {',
    `    update @${synSources} { ip saddr ${rate(firewall.syn.per_source)} } counter name syn_source_limited drop`,
    '    ip saddr @seen return comment "in a flood, sources that had a connection lately go first"',
    `    ${rate(firewall.syn.total)} counter name syn_total_limited drop`,
    '  }',
    '  chain input {',
    '    iifname "lo" accept',
    '    ct state vmap { established : accept, related : accept }',
    '    ct state invalid counter name invalid drop',
    ...links,
    ...sync,
    `    iifname ${inside} ip saddr { ${management.sources.join(', ')} } tcp dport ${management.ssh_port} accept comment "management"`,
    `    iifname ${inside} ip saddr { ${[...new Set([...management.sources, cidrOf(plan, 'lan')])].join(', ')} } tcp dport ${host.metrics.port} accept comment "metrics"`,
    `    icmp type { echo-request, destination-unreachable, time-exceeded } limit rate ${firewall.icmp.per_second}/second burst ${firewall.icmp.burst} packets accept`,
    `    limit rate ${firewall.log_per_second}/second log prefix "milepost input: " counter name input_dropped drop`,
    '    counter name input_dropped',
    '  }',
    '  chain forward {',
    `    iifname ${outside} meta l4proto tcp ct original packets 4 update @seen { ip saddr }`,
    '    ct state vmap { established : accept, related : accept }',
    '    ct state invalid counter name invalid drop',
    `    iifname ${outside} oifname ${inside} ct status dnat tcp flags & (fin|syn|rst|ack) != syn ${rate(firewall.syn.total)} counter name invalid drop`,
    `    iifname ${outside} oifname ${inside} ct status dnat tcp flags & (fin|syn|rst|ack) != syn counter name picked_up comment "a connection from before a failover"`,
    `    iifname ${outside} oifname ${inside} ct status dnat meta l4proto udp ${rate(firewall.syn.total)} counter name udp_total_limited drop comment "new flows: a source of datagrams may be made up"`,
    `    iifname ${outside} oifname ${inside} ct status dnat jump services`,
    `    iifname ${inside} oifname ${inside} ct status dnat accept comment "the internal virtual address"`,
    `    iifname ${inside} oifname ${outside} accept comment "out"`,
    `    limit rate ${firewall.log_per_second}/second log prefix "milepost forward: " counter name forward_dropped drop`,
    '    counter name forward_dropped',
    '  }',
    '  chain services {',
    ...firewall.services.flatMap(service),
    '  }',
    '}',
  ].join('\n')}\n`
}

/** DNAT of published ports over living targets, and the way out. Maps are fed at run time: see slots.ts. */
export function renderDistribution(plan: Plan): string {
  const { distribution, virtual_addresses, servers } = plan
  const on = devices(plan)
  const lan = cidrOf(plan, 'lan')
  const address = (name: string) => virtual_addresses.find((virtual) => virtual.name === name)!.address
  const front = virtual_addresses.find(({ purpose }) => purpose === 'external')!
  const back = virtual_addresses.find(({ purpose }) => purpose === 'internal')
  const own = servers
    .filter(({ role }) => role === 'gateway')
    .flatMap(({ interfaces }) => interfaces.filter(({ network }) => network === 'lan').map((entry) => entry.address))
  return `${[
    `# Distribution of the gateways of site ${plan.site}. Rendered from its plan; edits here are lost.`,
    '# A source is hashed to a slot; the map tells which living target has the slot now.',
    `table ip ${distributeTable} {`,
    ...distribution.services.map(({ name }) => `  map ${mapName(name)} { type mark : ipv4_addr; }`),
    ...distribution.services.map(({ name }) => `  counter ${nftName(name)}_new { }`),
    '  chain prerouting { type nat hook prerouting priority dstnat; policy accept; }',
    '  chain postrouting { type nat hook postrouting priority srcnat; policy accept; }',
    '}',
    `flush table ip ${distributeTable}`,
    `table ip ${distributeTable} {`,
    '  chain prerouting {',
    ...distribution.services.map(
      ({ name, protocols, on: names, ports }) =>
        `    ip daddr { ${names.map(address).join(', ')} } ${to(protocols, ports)} counter name ${nftName(name)}_new ` +
        `meta mark set jhash ip saddr mod ${distribution.slots} seed ${hash_seed} dnat to meta mark map @${mapName(name)}`,
    ),
    '  }',
    '  chain postrouting {',
    `    oifname ${on.external} ip saddr ${lan} ip saddr != { ${own.join(', ')} } snat to ${front.address} comment "stays the same after a failover"`,
    // Not the gateway's own address: that goes with it, and callers would wait on connections that nobody knows any more.
    ...(back
      ? [
          `    oifname ${on.lan} ip saddr ${lan} ct status dnat snat to ${back.address} comment "a server that calls another through the virtual address"`,
        ]
      : []),
    '  }',
    '}',
  ].join('\n')}\n`
}
