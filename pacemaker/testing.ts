import type { ClusterInput, RoleInput } from './input.ts'

const roles: Readonly<Record<string, RoleInput>> = { gw1: 'gateway', gw2: 'gateway', arc1: 'archive' }
const names = Object.keys(roles)

/** The smallest cluster there is: two gateways and the archive node with the third vote. */
export const smallest: ClusterInput = {
  site: 'smallest',
  cluster: {
    name: 'milepost-smallest',
    nodes: names.map((name, index) => ({
      name,
      id: index + 1,
      role: roles[name]!,
      votes: 1,
      addresses: [`192.0.2.${index + 1}`, `198.51.100.${index + 1}`],
    })),
    links: ['cluster-a', 'cluster-b'],
    totem: {
      token_ms: 500,
      token_retransmits: 6,
      join_ms: 50,
      consensus_ms: 600,
      knet_ping_interval_ms: 100,
      knet_ping_timeout_ms: 250,
    },
    quorum: { expected_votes: 3, majority: 2, wait_for_all: false },
    fencing: {
      timeout_s: 30,
      action: 'reboot',
      devices: names.map((node, index) => ({
        name: `fence-${node}`,
        node,
        agent: 'fence_ipmilan',
        address: `203.0.113.${index + 1}`,
        port: 623,
        user: 'admin',
        secret: `bmc/${node}`,
        lanplus: true,
        cipher: 3,
        privilege: 'administrator',
        delay_s: 0,
      })),
      levels: names.map((node) => ({ node, level: 1, devices: [`fence-${node}`] })),
    },
    resources: {
      stickiness: 100,
      migration_threshold: 3,
      failure_timeout_s: 120,
      monitor_interval_s: 5,
      start_timeout_s: 30,
      stop_timeout_s: 30,
    },
  },
  networks: [
    { name: 'external', router: '203.0.113.254' },
    { name: 'lan', router: null },
  ],
  virtual_addresses: [
    {
      name: 'external',
      purpose: 'external',
      network: 'external',
      address: '203.0.113.10',
      prefix: 24,
      device: 'bond0.20',
      role: 'gateway',
    },
    {
      name: 'internal',
      purpose: 'internal',
      network: 'lan',
      address: '192.0.2.100',
      prefix: 24,
      device: 'bond0',
      role: 'gateway',
    },
  ],
  environment: {
    instances: [
      { type: 'tg', instance: 'tg-1', host: 'srv1' },
      { type: 'mdb', instance: 'mdb-2', host: 'arc1' },
      { type: 'archive', instance: 'archive-1', host: 'arc1' },
    ],
  },
}
