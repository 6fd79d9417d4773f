import type { Cluster } from '../constructs/index.ts'
import type { Site } from '../constructs/site.ts'
import type { ClusterPlan, FencingDevicePlan } from './plan.ts'

/** Corosync: a node is lost when it missed the token; the other times are shares of that one. */
const token_retransmits = 6
const join_of_token = 0.1
const consensus_of_token = 1.2
const knet_ping_of_token = 0.2
/** Two pings may be late, the third declares the link dead before the token is lost. */
const knet_timeout_of_token = 0.5

const resources_default: ClusterPlan['resources'] = {
  stickiness: 100,
  migration_threshold: 3,
  failure_timeout_s: 120,
  monitor_interval_s: 5,
  start_timeout_s: 30,
  stop_timeout_s: 30,
}

/** Defaults for processors that are so many times slower. */
const patiently = (patience: number): ClusterPlan['resources'] => ({
  ...resources_default,
  failure_timeout_s: resources_default.failure_timeout_s * patience,
  monitor_interval_s: resources_default.monitor_interval_s * patience,
  start_timeout_s: resources_default.start_timeout_s * patience,
  stop_timeout_s: resources_default.stop_timeout_s * patience,
})

export function clusterPlan(cluster: Cluster, { name: site, host }: Site): ClusterPlan {
  const { members, links, token_ms, fencing, resources } = cluster.props
  const devices = members.flatMap((server) => {
    const [bmc] = server.bmcs
    return (bmc?.paths ?? []).map(
      ({ at, port }, index): FencingDevicePlan => ({
        name: index === 0 ? `fence-${server.name}` : `fence-${server.name}-${'ab'[index] ?? index}`,
        node: server.name,
        agent: 'fence_ipmilan',
        address: at.address,
        port,
        user: bmc!.user,
        secret: `bmc/${server.name}`,
        lanplus: true,
        cipher: 3,
        privilege: 'administrator',
        delay_s: fencing.delay_s?.[server.name] ?? 0,
        path: 'ab'[index] ?? String(index),
      }),
    )
  })
  return {
    name: `milepost-${site}`,
    nodes: members.map((server) => ({
      name: server.name,
      id: cluster.idOf(server),
      role: server.role,
      votes: cluster.votesOf(server),
      addresses: links.map((network) => server.addressOn(network)!),
    })),
    links: links.map(({ name }) => name),
    totem: {
      token_ms,
      token_retransmits,
      join_ms: Math.round(token_ms * join_of_token),
      consensus_ms: Math.round(token_ms * consensus_of_token),
      knet_ping_interval_ms: Math.round(token_ms * knet_ping_of_token),
      knet_ping_timeout_ms: Math.round(token_ms * knet_timeout_of_token),
      secret: 'cluster/authkey',
    },
    quorum: { expected_votes: cluster.expectedVotes, majority: cluster.majority, wait_for_all: false },
    fencing: {
      timeout_s: fencing.timeout_s,
      action: fencing.action,
      devices,
      levels: members.flatMap(({ name }) =>
        devices
          .filter(({ node }) => node === name)
          .map((device, index) => ({ node: name, level: index + 1, devices: [device.name] })),
      ),
    },
    resources: { ...patiently(host?.patience ?? 1), ...resources },
  }
}
