/** `npm run cassandra -- selftest [NAME…]`: a real cluster whose parts fail, with MDB's store on it. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { pino } from 'pino'
import { fetchJars } from '#ansible/cassandra/jars.ts'
import { CassandraStore } from '#services/mdb/cassandra-store.ts'
import { patiently } from '#services/mdb/patiently.ts'
import { Nodes, node_count } from './cluster.ts'
import { Fabric, isInside, private_ } from './fabric.ts'
import { findJava } from './java.ts'
import { clientFile, clientSettings, makeRoles } from './roles.ts'
import { type Bench, trials } from './trials.ts'

const help = `usage: npm run cassandra -- selftest [--operations N] [--keep] [--list] [NAME…]

  Starts three nodes in network namespaces, tries MDB's store on them while they are killed, held and cut off, and takes
  all of it down. Needs root, or a kernel that gives namespaces to users; Java 17; ip, nft, nsenter, unshare.

  --operations N  random operations of the model test (default 1000)
  --keep          keeps logs and data
  --list          the parts; without a NAME all are tried
`
const operations_default = 1_000

const say = (text: string) => void process.stdout.write(`${text}\n`)
const seconds = (began: number) => `${((performance.now() - began) / 1000).toFixed(1)} s`

async function inNamespaces(names: readonly string[], operations: number, keep: boolean): Promise<number> {
  const java = findJava()
  const libraries = await fetchJars(say)
  const folder = mkdtempSync(join(tmpdir(), 'milepost-cassandra-'))
  const began = performance.now()
  const fabric = await Fabric.make()
  const nodes = new Nodes(folder, java, libraries, fabric.places)
  let failed = 0
  try {
    const all = Array.from({ length: node_count }, (_, i) => i + 1)
    for (const n of all) nodes.start(n)
    await Promise.all(all.map((n) => nodes.serving(n, say)))
    await makeRoles(folder, nodes.addresses)
    say(`three nodes serve after ${seconds(began)}; ${all.map((n) => `${nodes.memory(n).toFixed(0)} MB`).join(', ')}`)
    const log = pino({ level: process.env.MILEPOST_LOG_LEVEL ?? 'fatal' })
    const bench: Bench = {
      nodes,
      fabric,
      operations,
      settings: clientFile(folder),
      say,
      async store() {
        const { contact_points, ...settings } = clientSettings(folder)
        const store = new CassandraStore({ ...settings, contact_points: [...contact_points] }, log)
        await patiently(() => store.ready())
        return store
      },
    }
    for (const [name, what, work] of trials) {
      if (names.length > 0 && !names.includes(name)) continue
      const start = performance.now()
      try {
        say(`fine    ${name.padEnd(7)} ${what}: ${await work(bench)} (${seconds(start)})`)
      } catch (error) {
        failed++
        say(`FAILED  ${name.padEnd(7)} ${what}: ${(error as Error).message} (${seconds(start)})`)
        // What follows is tried on a whole cluster.
        for (const n of all) {
          if (nodes.pid(n) !== undefined) nodes.resume(n)
          else nodes.start(n)
        }
        await fabric.mend(1, 2)
        await Promise.all(all.map((n) => nodes.serving(n)))
      }
    }
  } finally {
    for (let n = 1; n <= node_count; n++) if (nodes.pid(n) !== undefined) await nodes.kill(n)
    await fabric.remove()
    if (failed > 0 || keep) say(`logs: ${folder}/nodeN/log`)
    else nodes.remove()
  }
  say(`${failed === 0 ? 'all is well' : `${failed} failed`}, ${seconds(began)}`)
  return failed === 0 ? 0 : 1
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      operations: { type: 'string', default: String(operations_default) },
      keep: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  if (values.list) {
    for (const [name, what] of trials) say(`${name.padEnd(7)} ${what}`)
    return 0
  }
  const unknown = positionals.find((name) => !trials.some(([other]) => other === name))
  if (unknown)
    throw new Error(`there is no part "${unknown}"; the parts are ${trials.map(([name]) => name).join(', ')}`)
  const operations = Number(values.operations)
  if (!Number.isInteger(operations) || operations < 1)
    throw new Error(`--operations ${values.operations}: a whole number from 1 on`)
  if (isInside()) return inNamespaces(positionals, operations, values.keep)
  const { command, env } = private_([process.execPath, ...process.argv.slice(1)])
  const [program, ...args] = command
  const { status, error } = spawnSync(program!, args, { stdio: 'inherit', env })
  if (error) throw new Error(`${program}: ${error.message}; it is of the Debian package util-linux`)
  return status ?? 1
}

try {
  // What a failed part left open does not keep it from ending.
  process.exit(await main())
} catch (error) {
  process.stderr.write(`cassandra: ${(error as Error).message}\n`)
  process.exit(1)
}
