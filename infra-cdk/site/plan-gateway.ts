import { type Firewall, PublishedService } from '../constructs/index.ts'
import { all, type Site } from '../constructs/site.ts'
import type { DistributionPlan, FirewallPlan, TargetPlan } from './plan.ts'

/** conntrackd's own group and port, as its documentation has them. */
const state_sync = { multicast: '225.0.0.50', port: 3_780 }
const log_per_second_default = 5

export function firewallPlan({ props }: Firewall, site: Site): FirewallPlan {
  return {
    services: all(site, PublishedService)
      .filter(({ props: { on } }) => on.some(({ purpose }) => purpose === 'external'))
      .map(({ name, props: { ports, limits } }) => ({ name, protocol: 'tcp', ports, ...limits! })),
    syn: props.syn,
    half_open_max: props.half_open_max,
    icmp: props.icmp,
    conntrack_max: props.conntrack_max,
    block: props.block ?? [],
    allow: props.allow ?? [],
    log_per_second: props.log_per_second ?? log_per_second_default,
    state_sync: { network: props.state_sync.name, ...state_sync },
  }
}

export function distributionPlan(firewall: Firewall, site: Site): DistributionPlan {
  return {
    ...firewall.distribution,
    services: all(site, PublishedService).map(({ name, props: { ports, target, on } }) => {
      const targets = new Map<string, TargetPlan>()
      for (const { instance, server, port } of target.instances()) {
        const known = targets.get(server.name)
        targets.set(server.name, {
          host: server.name,
          address: server.addressOn('lan')!,
          instances: [...(known?.instances ?? []), instance],
          probe_ports: [...(known?.probe_ports ?? []), port],
        })
      }
      return { name, protocol: 'tcp', on: on.map((address) => address.name), ports, targets: [...targets.values()] }
    }),
  }
}
