/** The roles of a new cluster: one for its operator, one for MDB; the one that every Cassandra comes with goes. */
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import cassandra from 'cassandra-driver'
import { cassandra_ports } from '#infra/render/cassandra.ts'
import { node_count, pause } from './cluster.ts'

const datacenter = 'local'
const operator = 'milepost_operator'
const service = 'mdb'
/** What Cassandra makes of itself, some moments after it serves. */
const built_in = 'cassandra'
const setup_time_max_ms = 120_000

/** How a program reaches a cluster: as `config.cassandra` of a process. */
export interface ClientSettings {
  readonly contact_points: readonly string[]
  readonly port: number
  readonly datacenter: string
  readonly keyspace: string
  readonly user: string
  readonly password: string
}

export const clientFile = (folder: string) => join(folder, 'client.json')
const operatorFile = (folder: string) => join(folder, 'operator.json')

export const clientSettings = (folder: string, who: 'client' | 'operator' = 'client'): ClientSettings => {
  const file = who === 'client' ? clientFile(folder) : operatorFile(folder)
  if (!existsSync(file)) throw new Error('there is no cluster: npm run cassandra -- up makes one')
  return JSON.parse(readFileSync(file, 'utf8'))
}

export const driver = ({ contact_points, port, datacenter: local, user, password }: Omit<ClientSettings, 'keyspace'>) =>
  new cassandra.Client({
    contactPoints: contact_points.map((address) => `${address}:${port}`),
    localDataCenter: local,
    credentials: { username: user, password },
    queryOptions: { consistency: cassandra.types.consistencies.localQuorum },
    socketOptions: { connectTimeout: 10_000, readTimeout: 30_000 },
  })

/** Tries until it works or the time is over: a cluster that starts makes its own tables first. */
async function patiently<T>(what: string, work: () => Promise<T>): Promise<T> {
  const end = performance.now() + setup_time_max_ms
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (performance.now() > end) throw new Error(`${what}: ${(error as Error).message}`)
      await pause(500)
    }
  }
}

/** Makes the roles of a cluster that has none yet, and writes how to reach it to `client.json` and `operator.json`. */
export async function makeRoles(folder: string, addresses: readonly string[]): Promise<void> {
  if (existsSync(clientFile(folder))) return
  const settings = { contact_points: addresses, port: cassandra_ports.cql, datacenter }
  const secret = () => randomBytes(24).toString('base64url')
  const own = existsSync(operatorFile(folder))
    ? clientSettings(folder, 'operator')
    : { ...settings, keyspace: 'system_auth', user: operator, password: secret() }
  const mdb: ClientSettings = { ...settings, keyspace: 'mdb', user: service, password: secret() }
  writeFileSync(operatorFile(folder), `${JSON.stringify(own, null, 2)}\n`, { mode: 0o600 })

  const run = async (as: { user: string; password: string }, statements: readonly string[]) => {
    const client = driver({ ...settings, ...as })
    try {
      for (const statement of statements) await client.execute(statement)
    } finally {
      await client.shutdown()
    }
  }
  const replicated = `{'class': 'NetworkTopologyStrategy', '${datacenter}': ${node_count}}`
  const made = `CREATE ROLE IF NOT EXISTS ${operator} WITH SUPERUSER = true AND LOGIN = true AND PASSWORD = '${own.password}'`
  await patiently('the first role', async () => {
    try {
      // Copies first: what is written after that is on every node.
      await run({ user: built_in, password: built_in }, [
        `ALTER KEYSPACE system_auth WITH replication = ${replicated}`,
        made,
      ])
    } catch (error) {
      // An earlier call came this far.
      await run(own, ['SELECT key FROM system.local']).catch(() => {
        throw error
      })
    }
  })
  await patiently('the roles', () =>
    run(own, [
      // What an earlier call that was cut short made has a password that nobody knows.
      `DROP ROLE IF EXISTS ${service}`,
      `CREATE ROLE ${service} WITH SUPERUSER = false AND LOGIN = true AND PASSWORD = '${mdb.password}'`,
      `GRANT CREATE ON ALL KEYSPACES TO ${service}`,
      `GRANT SELECT ON KEYSPACE system_views TO ${service}`,
      `DROP ROLE IF EXISTS ${built_in}`,
    ]),
  )
  writeFileSync(clientFile(folder), `${JSON.stringify(mdb, null, 2)}\n`, { mode: 0o600 })
}
