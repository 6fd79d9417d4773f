import { jars } from '#ansible/cassandra/jars.ts'
import type { Plan } from '../site/plan.ts'
import {
  type CassandraNode,
  cassandra_ports,
  cassandraLogging,
  cassandraYaml,
  javaArguments,
  nodetoolArguments,
  rackProperties,
} from './cassandra.ts'

/** Where the role puts them. */
const libraries = '/opt/milepost/cassandra/current'
const etc = '/etc/milepost/cassandra'
const data = '/var/lib/cassandra'

/** The settings of a host's node of Cassandra, by name; none where it has no node. */
export function cassandraFiles({ site, environment: { cassandra } }: Plan, host: string): [string, string][] {
  const own = cassandra?.nodes.find((node) => node.host === host)
  if (!cassandra || !own) return []
  const node: CassandraNode = {
    cluster: `milepost ${site}`,
    datacenter: cassandra.datacenter,
    rack: own.rack,
    address: own.address,
    seeds: cassandra.nodes.slice(0, seeds_most).map(({ address }) => address),
    ports: { cql: cassandra.port, nodes: cassandra.nodes_port, jmx: cassandra_ports.jmx },
    memory_mb: own.memory_mb,
    data,
    etc,
    libraries,
  }
  const paths = jars().map(({ path }) => path)
  return [
    ['cassandra.yaml', cassandraYaml(node)],
    ['cassandra-rackdc.properties', rackProperties(node)],
    ['logback.xml', cassandraLogging()],
    ['java.args', javaArguments(node, paths)],
    ['nodetool.args', nodetoolArguments(libraries, paths)],
  ]
}

/** The first nodes are there from the beginning: they form the cluster together; later ones fetch their part from it. */
const seeds_most = 3
