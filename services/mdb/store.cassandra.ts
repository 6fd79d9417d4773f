/** The common tests of stores on Cassandra: with the cluster that MILEPOST_CASSANDRA, a file of settings, leads to. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { pino } from 'pino'
import type { CassandraConfig } from '#services/common/process.ts'
import { CassandraStore } from './cassandra-store.ts'
import { patiently } from './patiently.ts'
import { storeSuite } from './suite.ts'

const operations_default = 300

const file = process.env.MILEPOST_CASSANDRA
if (!file) throw new Error('MILEPOST_CASSANDRA is missing: run it with npm run cassandra -- selftest suite')
const settings = JSON.parse(readFileSync(file, 'utf8')) as CassandraConfig
const log = pino({ level: process.env.MILEPOST_LOG_LEVEL ?? 'fatal' })

const keyspace = `test_${randomBytes(6).toString('hex')}`

/** The store of a keyspace that all tests share, one after the other: each begins without containers. */
async function open(): Promise<CassandraStore> {
  const store = new CassandraStore({ ...settings, keyspace }, log)
  await patiently(() => store.ready())
  return store
}

storeSuite('cassandra', {
  operations: Number(process.env.MILEPOST_CASSANDRA_OPERATIONS ?? operations_default),
  async make() {
    const store = await open()
    for (const { id } of await store.containers()) await store.remove(id)
    await store.close()
    return { open, async remove() {} }
  },
})
