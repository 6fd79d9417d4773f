import { join } from 'node:path'
import type { Logger } from 'pino'
import { ApiError } from '#services/common/errors.ts'
import type { ProcessConfig } from '#services/common/process.ts'
import { CassandraStore } from './cassandra-store.ts'
import { migrate } from './lmdb-migrate.ts'
import { LmdbStore } from './lmdb-store.ts'
import type { Store } from './store.ts'

/** A store that is away is tried again so often. */
const again_after_ms = 2_000

/** The store that a process is to use, once it serves; `say` is told what callers wait for meanwhile. */
export async function openStore(config: ProcessConfig, log: Logger, say: (text: string) => void): Promise<Store> {
  const { store: kind = 'lmdb', map_size } = config.options
  if (kind === 'lmdb') {
    const store = new LmdbStore(join(config.data, 'store'), { log, map_size: map_size as number | undefined })
    // A store of the old layout is served once it is moved.
    await migrate(store, log, say)
    return store
  }
  if (kind !== 'cassandra') throw new Error(`configuration: options.store is "${kind}"; it is lmdb or cassandra`)
  if (!config.cassandra)
    throw new Error('configuration: options.store is "cassandra", and "cassandra" (contact_points, user, …) is missing')
  const store = new CassandraStore(config.cassandra, log)
  for (;;) {
    try {
      await store.ready()
      return store
    } catch (error) {
      if (!(error instanceof ApiError) || error.kind !== 'unavailable') throw error
      log.warn({ reason: error.message }, 'the store is tried again')
      say(error.message)
      await new Promise((after) => setTimeout(after, again_after_ms))
    }
  }
}
