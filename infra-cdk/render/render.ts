import { cibXml, corosyncConf } from '#pacemaker/index.ts'
import type { Plan } from '../site/plan.ts'
import { cassandraFiles } from './cassandra-host.ts'
import { renderConntrackd } from './conntrackd.ts'
import { renderDistribution, renderFilter } from './nftables.ts'
import { slotsOf } from './slots.ts'

/** Plan → the files of all hosts, `files/HOST/…`. Pure: the same plan gives the same bytes. */
export function renderSite(plan: Plan): Map<string, string> {
  const files = new Map<string, string>()
  for (const server of plan.servers)
    for (const [path, text] of renderHost(plan, server.name)) files.set(`files/${server.name}/${path}`, text)
  return files
}

/** The configuration files of one host, by path: the first folder is the role that installs it. */
export function renderHost(plan: Plan, host: string): Map<string, string> {
  const files = new Map<string, string>()
  const server = plan.servers.find(({ name }) => name === host)
  if (!server) throw new Error(`site ${plan.site}: there is no server ${host}`)
  if (server.role === 'gateway') {
    files.set('firewall/filter.nft', renderFilter(plan))
    files.set('distribution/distribute.nft', renderDistribution(plan))
    files.set('distribution/slots.json', `${JSON.stringify(slotsOf(plan), null, 1)}\n`)
    files.set('conntrack/conntrackd.conf', renderConntrackd(plan, server))
  }
  if (plan.cluster.nodes.some(({ name }) => name === host)) {
    files.set('cluster/corosync.conf', corosyncConf(plan))
    files.set('cluster/cib.xml', cibXml(plan))
  }
  for (const [name, text] of cassandraFiles(plan, host)) files.set(`cassandra/${name}`, text)
  return files
}
