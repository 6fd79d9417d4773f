/** What would be left of a server that was taken out of a site, on those that stay. */
import type { Plan, ServerPlan } from '#infra/site/plan.ts'
import type { ClusterWatch } from './cluster.ts'

/** Where a member knows others: each prints what it knows. */
const places: Readonly<Record<string, string>> = {
  'Corosync’s file': 'cat /etc/corosync/corosync.conf',
  'Corosync’s members': 'corosync-cmapctl -b nodelist.',
  'Corosync’s links': 'corosync-cfgtool -n',
  'the cluster’s configuration and state': 'cibadmin --query',
  'the cluster’s nodes': 'crm_node --list',
  'names of hosts': 'cat /etc/hosts',
  'the filter': 'nft list ruleset',
  'files of ours': 'find /etc/milepost -type f | sort; grep -rhI . /etc/milepost --exclude-dir=secrets || true',
  'fencing passwords': 'ls /etc/milepost/secrets/bmc',
}

/** What each member that stays still knows of a server, by its name or one of its addresses; and whether the votes are right. */
export async function nothingLeftOf(server: ServerPlan, plan: Plan, cluster: ClusterWatch): Promise<string[]> {
  const { name, interfaces, bmc } = server
  const words = [name, ...[...interfaces, ...bmc.paths].map(({ address }) => address)]
  const said = new RegExp(words.map((word) => `(?<![\\w.])${word.replaceAll('.', '\\.')}(?![\\w.])`).join('|'))
  const found = plan.cluster.nodes.map(async (node) => {
    const left: string[] = []
    for (const [place, command] of Object.entries(places)) {
      const text = await cluster.enter(node.name, ['bash', '-c', command])
      const line = text.split('\n').find((one) => said.test(one))
      if (line !== undefined) left.push(`${node.name}: ${name} is still in ${place}: ${line.trim().slice(0, 120)}`)
    }
    // It exits with 2 for a quorate partition of a cluster with votes less than expected.
    const votes = await cluster.enter(node.name, ['bash', '-c', 'corosync-quorumtool -s || true'])
    const { expected_votes, majority } = plan.cluster.quorum
    for (const wanted of [`Expected votes: ${expected_votes}`, `Total votes: ${expected_votes}`, `Quorum: ${majority}`])
      if (!votes.replaceAll(/: +/g, ': ').includes(wanted)) left.push(`${node.name}: not "${wanted}"`)
    return left
  })
  return (await Promise.all(found)).flat()
}
