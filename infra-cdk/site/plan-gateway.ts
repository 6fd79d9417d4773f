import { type Firewall, type Network, PublishedService } from '../constructs/index.ts'
import { all, type Site } from '../constructs/site.ts'
import type { DistributionPlan, FirewallPlan, TargetPlan } from './plan.ts'

/** conntrackd's first group and port, as its documentation has them; one more a link. */
const sync_group = '225.0.0'
const sync_group_first = 50
const sync_port_first = 3_780
const log_per_second_default = 5
const half_open_timeout_s_default = 10
const seen_s_default = 86_400

export function firewallPlan({ props }: Firewall, links: readonly Network[], site: Site): FirewallPlan {
  return {
    services: all(site, PublishedService)
      .filter(({ props: { on } }) => on.some(({ purpose }) => purpose === 'external'))
      .map(({ name, props: { ports, protocols = ['tcp'], limits } }) => ({ name, protocols, ports, ...limits! })),
    syn: props.syn,
    half_open_timeout_s: props.half_open_timeout_s ?? half_open_timeout_s_default,
    seen_s: props.seen_s ?? seen_s_default,
    icmp: props.icmp,
    conntrack_max: props.conntrack_max,
    block: props.block ?? [],
    allow: props.allow ?? [],
    log_per_second: props.log_per_second ?? log_per_second_default,
    state_sync: links.map(({ name }, link) => ({
      network: name,
      multicast: `${sync_group}.${sync_group_first + link}`,
      port: sync_port_first + link,
    })),
  }
}

export function distributionPlan(firewall: Firewall, site: Site): DistributionPlan {
  const { slots, check } = firewall.distribution
  const patience = site.host?.patience ?? 1
  return {
    slots,
    check: { ...check, interval_ms: check.interval_ms * patience, timeout_ms: check.timeout_ms * patience },
    services: all(site, PublishedService).map(({ name, props: { ports, protocols = ['tcp'], target, on } }) => {
      const targets = new Map<string, TargetPlan>()
      for (const { instance, server, probe_port } of target.instances()) {
        const known = targets.get(server.name)
        targets.set(server.name, {
          host: server.name,
          address: server.addressOn('lan')!,
          instances: [...(known?.instances ?? []), instance],
          probe_ports: [...(known?.probe_ports ?? []), probe_port],
        })
      }
      return { name, protocols, on: on.map((address) => address.name), ports, targets: [...targets.values()] }
    }),
  }
}
