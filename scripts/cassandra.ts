/** `npm run cassandra -- up|down|status|…`: three nodes of Apache Cassandra on this machine. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fetchJars, jars } from '#ansible/cassandra/jars.ts'
import { cassandra_version } from '#infra/render/cassandra.ts'
import { answers, Nodes, node_count, type Pace } from './cassandra/cluster.ts'
import { findJava } from './cassandra/java.ts'
import { clientFile, clientSettings, driver, makeRoles } from './cassandra/roles.ts'
import { state } from './state.ts'

const help = `usage: npm run cassandra -- COMMAND

  up [--long]        starts three nodes of Cassandra ${cassandra_version} on 127.0.0.1 to .3, and makes their roles;
                     --long: for hours of work, twice as slow to start and after minutes twice as fast
  down [--data]      ends them; with --data their data goes, too
  status             the nodes: state, memory
  cql STATEMENT      runs one statement as the operator and prints its rows
  kill N             ends node N at once, as a power cut; up starts it again
  pause N, resume N  holds node N, which then neither answers nor ends; lets it go on
  nodetool N ARGS…   Cassandra's own tool on node N
  fetch              fetches the libraries alone
  selftest [NAME…]   a cluster in network namespaces, MDB's store on it, and its faults; --list names the parts

Data, logs and passwords: .milepost/cassandra. The passwords are made at the first start; nobody gets in without.
Libraries: fetched once from Maven Central, or the mirror in MILEPOST_MAVEN_URL. Needs Java 17.
`

const folder = join(state, 'cassandra')
const say = (text: string) => void process.stdout.write(`${text}\n`)

/** Number of a node from the command line. */
function nodeOf(text: string | undefined): number {
  const n = Number(text)
  if (!Number.isInteger(n) || n < 1 || n > node_count)
    throw new Error(`which node? A number from 1 to ${node_count}, not "${text ?? ''}"`)
  return n
}

async function up(nodes: Nodes, pace: Pace): Promise<void> {
  const began = performance.now()
  const all = nodes.places.map((_, i) => i + 1)
  for (const n of all)
    if (nodes.pid(n) === undefined && (await answers(nodes.places[n - 1]!.address)))
      throw new Error(
        `somebody else serves CQL on ${nodes.places[n - 1]!.address}: the cluster of another checkout? End it there: npm run cassandra -- down`,
      )
  for (const n of all) nodes.start(n, pace)
  await Promise.all(all.map((n) => nodes.serving(n, say)))
  await makeRoles(folder, nodes.addresses)
  await status(nodes)
  say(`up in ${((performance.now() - began) / 1000).toFixed(1)} s; how to reach it: ${clientFile(folder)}`)
}

async function status(nodes: Nodes): Promise<void> {
  for (const [i, { address }] of nodes.places.entries()) {
    const memory = nodes.memory(i + 1)
    say(
      `node ${i + 1}  ${address}  ${(await nodes.state(i + 1)).padEnd(8)}${memory > 0 ? `  ${memory.toFixed(0)} MB` : ''}`,
    )
  }
}

async function cql(statement: string): Promise<void> {
  const client = driver(clientSettings(folder, 'operator'))
  try {
    const { rows = [] } = await client.execute(statement)
    for (const row of rows) say(JSON.stringify(row))
  } finally {
    await client.shutdown()
  }
}

async function main(): Promise<number> {
  const [command, ...args] = process.argv.slice(2)
  if (command === undefined || command === 'help' || command.startsWith('-') || args.includes('--help')) {
    process.stdout.write(help)
    return command === undefined ? 2 : 0
  }
  if (command === 'cql') {
    if (!args[0]) throw new Error("which statement? npm run cassandra -- cql 'SELECT * FROM system.peers'")
    await cql(args.join(' '))
    return 0
  }
  if (command === 'selftest') {
    const script = join(import.meta.dirname, 'cassandra/selftest.ts')
    return spawnSync(process.execPath, [script, ...args], { stdio: 'inherit' }).status ?? 1
  }
  const libraries = await fetchJars(say)
  if (command === 'fetch') {
    say(`${jars().length} libraries in ${libraries}`)
    return 0
  }
  const nodes = new Nodes(folder, findJava(), libraries)
  if (command === 'up') await up(nodes, args.includes('--long') ? 'long' : 'short')
  else if (command === 'status') await status(nodes)
  else if (command === 'down') {
    await nodes.stop()
    if (args.includes('--data')) nodes.remove()
  } else if (command === 'kill') await nodes.kill(nodeOf(args[0]))
  else if (command === 'pause') nodes.pause(nodeOf(args[0]))
  else if (command === 'resume') nodes.resume(nodeOf(args[0]))
  else if (command === 'nodetool') process.stdout.write(nodes.nodetool(nodeOf(args[0]), args.slice(1)))
  else throw new Error(`"${command}" is no command; npm run cassandra -- help lists them`)
  return 0
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`cassandra: ${(error as Error).message}\n`)
  process.exitCode = 1
}
