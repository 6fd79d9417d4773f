/** MDB: the message database. One process, one store, REST. */
import { join } from 'node:path'
import { Counter, Gauge } from 'prom-client'
import { createApi } from '#services/common/api.ts'
import { start } from '#services/common/process.ts'
import { LmdbEngine } from './lmdb-engine.ts'
import { addRoutes } from './routes.ts'

/** How often expired records are looked for. */
const sweep_every_ms = 30_000

start(import.meta, async ({ config, log, onStop }) => {
  const engine = new LmdbEngine(join(config.data, 'store'), log, config.options.map_size as number | undefined)
  const app = await createApi({
    system: 'mdb',
    title: 'MDB: the message database',
    log,
    internalToken: config.internal_token,
    bodyLimit: 32 * 1024 * 1024,
  })
  addRoutes(app, engine)
  new Counter({
    name: 'mdb_commits',
    help: 'durable commits',
    registers: [app.registry],
    collect() {
      this.reset()
      this.inc(engine.commits)
    },
  })
  new Gauge({
    name: 'mdb_records',
    help: 'records held',
    registers: [app.registry],
    collect() {
      this.set(engine.containers().reduce((sum, c) => sum + c.records, 0))
    },
  })

  const sweep = setInterval(async () => {
    const now = Date.now() / 1000
    for (const { id, ttl } of engine.containers()) {
      if (ttl === 0) continue
      await engine
        .removeRange(id, { from: 0, to: now - ttl, reverse: false })
        .catch((err) => log.warn({ err, container: id }, 'expired records are left for the next time'))
    }
  }, sweep_every_ms)
  onStop(() => engine.close())
  onStop(() => app.close())
  onStop(() => clearInterval(sweep))
  await app.listen({ host: config.host, port: config.port ?? 0 })
})
