import type { ClusterInput, NodeInput } from './input.ts'

/** corosync.conf, the same on every member. Keys: corosync.conf(5), votequorum(5) of Corosync 3.1. */
export function corosyncConf({ site, cluster: { name, nodes, links, totem, quorum } }: ClusterInput): string {
  const interfaces = links.map(
    (network, link) => `  # ${network}
  interface {
    linknumber: ${link}
    knet_transport: udp
    knet_ping_interval: ${totem.knet_ping_interval_ms}
    knet_ping_timeout: ${totem.knet_ping_timeout_ms}
    knet_pong_count: 2
  }`,
  )
  return `# Corosync of site ${site}. Rendered from the site's plan; edits here are lost.
totem {
  version: 2
  cluster_name: ${name}
  transport: knet
  ip_version: ipv4
  # Every packet goes over both links: nothing is lost, and no time, when one dies.
  link_mode: active
  crypto_cipher: aes256
  crypto_hash: sha256
  token: ${totem.token_ms}
  # The token's time is meant as it stands, however many members there are.
  token_coefficient: 0
  token_retransmits_before_loss_const: ${totem.token_retransmits}
  join: ${totem.join_ms}
  consensus: ${totem.consensus_ms}
${interfaces.join('\n')}
}
nodelist {
${nodes.map(nodeEntry).join('\n')}
}
quorum {
  provider: corosync_votequorum
  expected_votes: ${quorum.expected_votes}
  wait_for_all: ${quorum.wait_for_all ? 1 : 0}
  # Half of the votes is no majority, and the number that makes one never shrinks.
  auto_tie_breaker: 0
  last_man_standing: 0
}
logging {
  to_stderr: no
  to_logfile: no
  to_syslog: yes
  syslog_priority: notice
}
`
}

const nodeEntry = ({ name, id, votes, addresses }: NodeInput): string => `  node {
    name: ${name}
    nodeid: ${id}
    quorum_votes: ${votes}
${addresses.map((address, link) => `    ring${link}_addr: ${address}`).join('\n')}
  }`
