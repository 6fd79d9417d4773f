import type { Plan, ServerPlan } from '../site/plan.ts'

/** Time after which the standby purges connections the active gateway no longer has, s. */
const purge_s = 60
const commit_s = 180

/** Plan → conntrackd.conf of a gateway: it tells the other gateway of every connection (FT-FW, acknowledged). */
export function renderConntrackd(plan: Plan, gateway: ServerPlan): string {
  const { state_sync: sync, conntrack_max } = plan.firewall
  const ways = sync.map(({ network, multicast, port }, index) => {
    const link = gateway.interfaces.find((entry) => entry.network === network)!
    return `  Multicast${index === 0 ? ' Default' : ''} {
    IPv4_address ${multicast}
    Group ${port}
    IPv4_interface ${link.address}
    Interface ${link.device}
    SndSocketBuffer 1249280
    RcvSocketBuffer 1249280
    Checksum on
  }`
  })
  // Buckets hold several entries each; a quarter of the limit is the documentation's own relation.
  const buckets = Math.ceil(conntrack_max / 4)
  const ignored = [
    '127.0.0.1',
    ...plan.servers
      .filter(({ role }) => role === 'gateway')
      .flatMap(({ interfaces }) => interfaces.map(({ address }) => address)),
  ]
  return `# conntrackd of ${gateway.name}, site ${plan.site}. Rendered from the site's plan; edits here are lost.
Sync {
  Mode FTFW {
    ResendQueueSize 131072
    PurgeTimeout ${purge_s}
    CommitTimeout ${commit_s}
    ACKWindowSize 300
    # What the standby learns goes to its kernel only at a failover (conntrackd -c).
    DisableExternalCache off
  }
${ways.join('\n')}
}
General {
  HashSize ${buckets}
  HashLimit ${conntrack_max * 2}
  LogFile off
  Syslog on
  LockFile /run/conntrackd.lock
  UNIX {
    Path /run/conntrackd.ctl
  }
  NetlinkBufferSize 2097152
  NetlinkBufferSizeMaxGrowth 8388608
  NetlinkEventsReliable on
  Filter From Userspace {
    Protocol Accept {
      TCP
    }
    # The gateways' own connections end with the gateway.
    Address Ignore {
${ignored.map((address) => `      IPv4_address ${address}`).join('\n')}
    }
  }
}
`
}
