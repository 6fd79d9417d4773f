/** MDB: the message database. One process, one store, REST. */
import { createApi } from '#services/common/api.ts'
import { Bus } from '#services/common/bus.ts'
import { ApiError } from '#services/common/errors.ts'
import { start } from '#services/common/process.ts'
import { Engine } from './engine.ts'
import { Jobs } from './jobs.ts'
import { addMetrics } from './metrics.ts'
import { openStore } from './open-store.ts'
import type { Publish } from './replay.ts'
import { addRoutes } from './routes.ts'

/** Largest request; tg's are smaller. */
const body_bytes_max = 32 * 1024 * 1024

start(import.meta, async ({ config, log, onStop }) => {
  let engine: Engine | undefined
  let why = 'the store is being opened'
  const opened = () => {
    if (!engine) throw new ApiError('unavailable', why, { retryAfter: 5 })
    return engine
  }
  const app = await createApi({
    system: 'mdb',
    title: 'MDB: the message database',
    log,
    internalToken: config.internal_token,
    bodyLimit: body_bytes_max,
    ready: () => opened().store.ready(),
  })
  const jobs = new Jobs(log)
  const bus = config.urls.mbus
    ? new Bus({ url: config.urls.mbus, token: config.internal_token, name: config.instance, log })
    : undefined
  const publish: Publish | undefined = bus && ((topic, value, retain = false) => bus.deliver(topic, value, retain))
  addRoutes(app, opened, jobs, publish)
  addMetrics(app.registry, () => engine)
  onStop(() => engine?.close())
  onStop(() => bus?.close())
  onStop(() => app.close())
  onStop(() => jobs.close())

  await app.listen({ host: config.host, port: config.port ?? 0 })
  const store = await openStore(config, log, (text) => (why = text))
  engine = await Engine.open(store, { log, rest_ms: config.options.rest_ms as number | undefined })
})
