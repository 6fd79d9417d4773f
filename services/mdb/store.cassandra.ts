/** The common tests of stores on Cassandra: with the cluster that MILEPOST_CASSANDRA, a file of settings, leads to. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { pino } from 'pino'
import type { CassandraConfig } from '#services/common/process.ts'
import { CassandraStore } from './cassandra-store.ts'
import { storeSuite } from './suite.ts'

const file = process.env.MILEPOST_CASSANDRA
if (!file) throw new Error('MILEPOST_CASSANDRA is missing: run it with npm run cassandra -- selftest suite')
const settings = JSON.parse(readFileSync(file, 'utf8')) as CassandraConfig
const log = pino({ level: process.env.MILEPOST_LOG_LEVEL ?? 'fatal' })

storeSuite('cassandra', {
  operations: Number(process.env.MILEPOST_CASSANDRA_OPERATIONS ?? 400),
  async make() {
    const keyspace = `test_${randomBytes(6).toString('hex')}`
    return {
      async open() {
        const store = new CassandraStore({ ...settings, keyspace }, log)
        await store.ready()
        return store
      },
      async remove() {},
    }
  },
})
