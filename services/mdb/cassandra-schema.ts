/**
 * MDB's tables in a CQL keyspace, made and changed step by step. Any number of processes may start at once: who holds
 * the lock makes the steps that are missing, the others wait.
 */
import { createHash, randomUUID } from 'node:crypto'
import { ApiError } from '#services/common/errors.ts'
import type { CassandraClient } from './cassandra-client.ts'

/** Copies of everything. Two of three answer for all. */
const copies = 3
/** What is deleted leaves a mark for so long, s; a node that was away longer must come back empty. */
const grace_s = 3 * 3_600
/** A process that died while it held the lock is waited for. */
const lock_s = 60
const lock_wait_max_ms = 90_000

/** Pages up to this size, bytes, lie in the row of their head; larger ones in one of their own, which heads do not read. */
export const inline_bytes_max = 4_096

const table = `gc_grace_seconds = ${grace_s} AND speculative_retry = 'MIN(99p,50ms)'`

/** Each step once, in this order, never changed after a release. */
export const steps: readonly (readonly string[])[] = [
  [
    // sort 0: heads, with the bytes of small pages; 1: bytes of the others; 2: pages that a merge is about to put in place.
    `CREATE TABLE IF NOT EXISTS pages (
      container int, day int, sort tinyint, id text,
      kind text, first_at double, last_at double, records int, json_bytes bigint, size int, bytes blob,
      PRIMARY KEY ((container, day), sort, id)) WITH ${table}`,
    // Days that may hold pages; dropped: when its pages were dropped.
    `CREATE TABLE IF NOT EXISTS days (
      container int, day int, seen boolean, dropped boolean, records bigint, bytes bigint,
      PRIMARY KEY (container, day)) WITH ${table}`,
    // Days that may hold fresh pages.
    `CREATE TABLE IF NOT EXISTS fresh (
      shard tinyint, container int, day int, seen boolean,
      PRIMARY KEY (shard, container, day)) WITH ${table}`,
    `CREATE TABLE IF NOT EXISTS newest (
      container int, parameter text, value text, at double,
      PRIMARY KEY (container, parameter)) WITH ${table}`,
    `CREATE TABLE IF NOT EXISTS totals (
      shard tinyint, container int, records bigint, bytes bigint,
      PRIMARY KEY (shard, container)) WITH ${table}`,
    // One partition, changed by compare-and-set of its version alone.
    `CREATE TABLE IF NOT EXISTS containers (
      realm tinyint, account_id bigint, name text,
      id int, ttl bigint, created double, mark text, version bigint static, next_id int static,
      PRIMARY KEY (realm, account_id, name)) WITH ${table}`,
    // Containers that are gone and whose pages are not.
    `CREATE TABLE IF NOT EXISTS removed (
      realm tinyint, container int, at double,
      PRIMARY KEY (realm, container)) WITH ${table}`,
  ],
]

/** The same table, whoever makes it: two that were made at once would else be two. */
const tableId = (keyspace: string) => {
  const hex = createHash('sha256').update(`milepost ${keyspace} schema`).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

const pause = () => new Promise((after) => setTimeout(after, 500))

/** Makes what is missing of keyspace and tables. The keyspace itself only if nobody made it: that needs the right to. */
export async function migrate(client: CassandraClient, keyspace: string, datacenter: string): Promise<void> {
  const end = performance.now() + lock_wait_max_ms
  for (;;) {
    try {
      await makeMissing(client, keyspace, datacenter)
      if (await client.agrees()) return
    } catch (error) {
      // What another process makes at this moment is not known to all nodes yet.
      if (!/does not exist|unconfigured table|Unknown CF|schema/i.test((error as Error).message)) throw error
    }
    if (performance.now() > end)
      throw new ApiError('unavailable', 'the nodes of Cassandra do not agree on its tables yet')
    await pause()
  }
}

async function makeMissing(client: CassandraClient, keyspace: string, datacenter: string): Promise<void> {
  if (!/^[a-z][a-z0-9_]{0,47}$/.test(keyspace))
    throw new Error(`keyspace "${keyspace}": lower-case letters, digits and _, at most 48, a letter first`)
  const found = await client.run('SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?', [
    keyspace,
  ])
  if (found.length === 0)
    await client.define(
      `CREATE KEYSPACE IF NOT EXISTS ${keyspace} WITH replication = {'class': 'NetworkTopologyStrategy', '${datacenter.replaceAll("'", "''")}': ${copies}}`,
    )
  const known = await client.run(
    "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'schema_steps'",
    [keyspace],
  )
  if (known.length === 0)
    await client.define(
      `CREATE TABLE IF NOT EXISTS ${keyspace}.schema_steps (realm tinyint PRIMARY KEY, done int, holder text) WITH id = '${tableId(keyspace)}'`,
    )
  const done = async () =>
    ((await client.run(`SELECT done FROM ${keyspace}.schema_steps WHERE realm = 0`))[0]?.done as number | null) ?? 0
  if ((await done()) > steps.length)
    throw new Error(
      `keyspace ${keyspace} was made by a newer release (step ${await done()}, this one knows ${steps.length})`,
    )

  const me = randomUUID()
  const end = performance.now() + lock_wait_max_ms
  while ((await done()) < steps.length) {
    const mine = await client.compareAndSet([
      {
        query: `UPDATE ${keyspace}.schema_steps USING TTL ${lock_s} SET holder = ? WHERE realm = 0 IF holder = null`,
        params: [me],
      },
    ])
    const holder = async () =>
      (await client.run(`SELECT holder FROM ${keyspace}.schema_steps WHERE realm = 0`, [], { serial: true }))[0]?.holder
    if (mine !== true && (mine === false || (await holder()) !== me)) {
      if (performance.now() > end)
        throw new Error(`keyspace ${keyspace}: another process has been making its tables for too long`)
      await pause()
      continue
    }
    for (let n = await done(); n < steps.length; n++) {
      for (const statement of steps[n]!)
        await client.define(statement.replace('NOT EXISTS ', `NOT EXISTS ${keyspace}.`))
      await client.compareAndSet([
        { query: `UPDATE ${keyspace}.schema_steps SET done = ? WHERE realm = 0 IF holder = ?`, params: [n + 1, me] },
      ])
    }
    await client.compareAndSet([
      { query: `UPDATE ${keyspace}.schema_steps SET holder = null WHERE realm = 0 IF holder = ?`, params: [me] },
    ])
  }
}
