/**
 * What one node of Apache Cassandra 5.0 is told, in a rack and on one machine alike: `cassandra.yaml`, the arguments of
 * its Java and its logging. Pure. No secret is in it: roles and passwords are in the cluster's own tables.
 */

export const cassandra_version = '5.0.9'
/** Java that Cassandra 5.0 is made for. */
export const java_version = 17

export interface CassandraNode {
  /** Name of the cluster: nodes of another one are refused. */
  readonly cluster: string
  /** Where copies are spread over: no two of a page in one rack, if there are racks enough. */
  readonly datacenter: string
  readonly rack: string
  /** IPv4 address for nodes and clients. */
  readonly address: string
  /** Nodes that a new one asks first. A node that is to fetch its data from the others is not among its own. */
  readonly seeds: readonly string[]
  /** Port of CQL; that of the nodes; that of the management interface, on 127.0.0.1 alone. */
  readonly ports: { readonly cql: number; readonly nodes: number; readonly jmx: number }
  readonly memory_mb: number
  /** Folder of its data, its configuration, and its libraries (in the layout of a Maven repository). */
  readonly data: string
  readonly etc: string
  readonly libraries: string
  /** Address of a dead node whose place it takes. */
  readonly replaces?: string
}

/** Ports of a node when nothing else is said. */
export const cassandra_ports = { cql: 9_042, nodes: 7_000, jmx: 7_199 } as const
/** A node that was away longer than this must come back empty: what was deleted meanwhile would come back with it. */
export const away_max_h = 3

/** Share of the memory that is heap; the rest is for buffers, threads and code. */
const heap_share = 0.4

export function cassandraYaml(node: CassandraNode): string {
  const { cluster, address, seeds, ports, data, memory_mb } = node
  const memtables = Math.max(16, Math.round(memory_mb / 16))
  return `# Apache Cassandra ${cassandra_version}: one node.
cluster_name: ${JSON.stringify(cluster)}
# Few: with as many copies as nodes every node has all, and a repair walks through every range.
num_tokens: 4
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: GossipingPropertyFileSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{seeds: ${JSON.stringify(seeds.join(','))}}]
listen_address: ${address}
storage_port: ${ports.nodes}
rpc_address: ${address}
native_transport_port: ${ports.cql}
native_transport_max_threads: 32

# Nobody without a password; rights by role.
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
# A node knows the roles for as long as there is no quorum to ask; what changes is known everywhere half a minute later.
roles_validity: 12h
roles_update_interval: 30s
roles_cache_active_update: true
permissions_validity: 12h
permissions_update_interval: 30s
permissions_cache_active_update: true
credentials_validity: 12h
credentials_update_interval: 30s
credentials_cache_active_update: true

data_file_directories: [${JSON.stringify(`${data}/data`)}]
commitlog_directory: ${JSON.stringify(`${data}/commitlog`)}
hints_directory: ${JSON.stringify(`${data}/hints`)}
saved_caches_directory: ${JSON.stringify(`${data}/saved_caches`)}
cdc_raw_directory: ${JSON.stringify(`${data}/cdc`)}

# A write is answered when it is on this node's disk. Those that come while the disk is busy share the next sync.
commitlog_sync: batch
commitlog_segment_size: 32MiB
commitlog_total_space: 256MiB
# A node that cannot write or read its disk ends: the others serve, and its supervisor starts it anew.
commit_failure_policy: die
disk_failure_policy: die

# The format and structures of new clusters of 5.0: much less heap for each row that waits in memory.
storage_compatibility_mode: NONE
sstable:
  selected_format: bti
memtable:
  configurations:
    default:
      class_name: TrieMemtable
# Outside of Java's own accounts: buffers of one's own would run into its limit.
memtable_allocation_type: offheap_objects
memtable_heap_space: ${memtables}MiB
memtable_offheap_space: ${memtables}MiB
file_cache_size: 32MiB
key_cache_size: 0MiB
counter_cache_size: 0MiB
prepared_statements_cache_size: 4MiB
concurrent_reads: 16
concurrent_writes: 32
concurrent_compactors: 1
compaction_throughput: 32MiB/s

# Below the patience of MDB, which asks another node then.
read_request_timeout: 2s
range_request_timeout: 4s
write_request_timeout: 2s
cas_contention_timeout: 1s
request_timeout: 4s
# A connection on which nothing gets through any more is made anew.
internode_tcp_user_timeout: 5s

# What a node missed is kept for it so long; a longer absence is made up by a repair or a new node.
hinted_handoff_enabled: true
max_hint_window: ${away_max_h}h
# Merged pages leave marks in their day until those expire.
tombstone_warn_threshold: 20000
tombstone_failure_threshold: 2000000
auto_snapshot: false
`
}

export const rackProperties = ({ datacenter, rack }: CassandraNode): string => `dc=${datacenter}\nrack=${rack}\n`

/** Its log goes to standard output: who runs it keeps it. */
export const cassandraLogging = (): string => `<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %date{"yyyy-MM-dd'T'HH:mm:ss.SSS'Z'", UTC} %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
`

/** Parts of the JDK that it reaches into. */
const exported = [
  'java.base/java.lang.ref',
  'java.base/jdk.internal.misc',
  'java.management.rmi/com.sun.jmx.remote.internal.rmi',
  'java.rmi/sun.rmi.registry',
  'java.rmi/sun.rmi.server',
  'java.sql/java.sql',
  'jdk.attach/sun.tools.attach',
  'jdk.unsupported/sun.misc',
]
const opened = [
  'java.base/java.io',
  'java.base/java.lang',
  'java.base/java.lang.module',
  'java.base/java.lang.reflect',
  'java.base/java.util',
  'java.base/jdk.internal.loader',
  'java.base/jdk.internal.math',
  'java.base/jdk.internal.module',
  'java.base/jdk.internal.ref',
  'java.base/jdk.internal.reflect',
  'java.base/jdk.internal.util.jar',
  'java.base/sun.nio.ch',
  'jdk.management/com.sun.management.internal',
]

const modules = [
  '-Djdk.attach.allowAttachSelf=true',
  ...exported.map((name) => `--add-exports=${name}=ALL-UNNAMED`),
  ...opened.map((name) => `--add-opens=${name}=ALL-UNNAMED`),
]

/** Arguments of Java, one a line, for `java @FILE`; `jars` are the paths below the libraries. */
export function javaArguments(node: CassandraNode, jars: readonly string[]): string {
  const heap = Math.round(node.memory_mb * heap_share)
  const path = (jar: string) => `${node.libraries}/${jar}`
  const meter = jars.find((jar) => jar.includes('/jamm-'))
  return `${[
    ...modules,
    '-server',
    `-Xms${heap}m`,
    `-Xmx${heap}m`,
    // A collector without threads and tables of its own: the heap is small.
    '-XX:+UseSerialGC',
    '-Xss256k',
    '-XX:ReservedCodeCacheSize=96m',
    `-XX:MaxDirectMemorySize=${Math.round(node.memory_mb / 5)}m`,
    // Half a node is worse than none.
    '-XX:+ExitOnOutOfMemoryError',
    '-XX:+PerfDisableSharedMem',
    '-Djava.net.preferIPv4Stack=true',
    '-Dio.netty.tryReflectionSetAccessible=true',
    '-Dio.netty.allocator.maxOrder=9',
    `-Dcassandra.config=file://${node.etc}/cassandra.yaml`,
    `-Dcassandra-rackdc.properties=file://${node.etc}/cassandra-rackdc.properties`,
    `-Dlogback.configurationFile=${node.etc}/logback.xml`,
    `-Dcassandra.storagedir=${node.data}`,
    `-Dcassandra.jmx.local.port=${node.ports.jmx}`,
    '-Dcassandra-foreground=yes',
    ...(node.replaces === undefined ? [] : [`-Dcassandra.replace_address_first_boot=${node.replaces}`]),
    ...(meter === undefined ? [] : [`-javaagent:${path(meter)}`]),
    '-cp',
    jars.map(path).join(':'),
  ].join('\n')}\n`
}

export const daemon_class = 'org.apache.cassandra.service.CassandraDaemon'
export const nodetool_class = 'org.apache.cassandra.tools.NodeTool'

/** Arguments of Java for `nodetool`, the command of a node's operator. */
export const nodetoolArguments = (libraries: string, jars: readonly string[]): string =>
  `${[...modules, '-Xmx64m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Dlogback.statusListenerClass=ch.qos.logback.core.status.NopStatusListener', '-cp', jars.map((jar) => `${libraries}/${jar}`).join(':')].join('\n')}\n`
