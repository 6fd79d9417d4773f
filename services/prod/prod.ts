/** PROD: the only door for users. Tokens, limits and utilisation; then on to the system that a path names. */
import { Histogram } from 'prom-client'
import { type Api, createApi } from '#services/common/api.ts'
import { Db } from '#services/common/db.ts'
import { type ProcessConfig, type ProcessContext, start } from '#services/common/process.ts'
import { Authority } from './authority.ts'
import { rememberAnswers } from './idempotency.ts'
import { addOpenApi } from './openapi.ts'
import { addPlatform } from './platform.ts'
import { addProxy, body_bytes_max } from './proxy.ts'
import { migrations } from './schema.ts'
import { Utilisation } from './utilisation.ts'

/** The application, apart from listen; `utilisation` is to be closed after it. */
export async function createProd(
  config: ProcessConfig,
  db: Db,
  log: ProcessContext['log'],
): Promise<{ app: Api; utilisation: Utilisation; authority: Authority }> {
  const { urls, internal_token: internalToken } = config
  const authority = new Authority(db, internalToken)
  const app = await createApi({
    system: 'platform',
    title: 'Milepost',
    log,
    bodyLimit: body_bytes_max,
    authenticate: (request) => authority.admit(request),
    ready: async () => void (await db.query('select 1')),
  })
  app.decorateRequest('caller', undefined)
  const utilisation = new Utilisation(db, authority, log)
  utilisation.watch(app)
  const seconds = new Histogram({
    name: 'prod_request_seconds',
    help: 'time of a request by system and status class',
    labelNames: ['system', 'status'],
    registers: [app.registry],
  })
  // Only the home environment has an ADMIN behind it, and not each has an archive.
  const upstreams = {
    gw: urls.tgctl,
    mdb: urls.mdb,
    ...(urls.archive ? { archive: urls.archive } : {}),
    ...(urls.admin ? { admin: urls.admin } : {}),
  }
  const systems = new Set(['platform', ...Object.keys(upstreams)])
  app.addHook('onResponse', async (request, reply) => {
    const system = request.url.split(/[/?]/, 2)[1] ?? ''
    const status = `${Math.floor(reply.statusCode / 100)}xx`
    seconds.observe({ system: systems.has(system) ? system : 'other', status }, reply.elapsedTime / 1000)
  })
  rememberAnswers(app)
  addOpenApi(app, upstreams)
  addPlatform(app, { db, authority, gw: urls.tgctl, internalToken })
  await addProxy(app, { upstreams, internalToken })
  app.get('/', { schema: { hide: true } }, () => ({
    result: [{ name: 'Milepost', environment: config.environment, systems: [...systems], openapi: '/openapi.json' }],
  }))
  return { app, utilisation, authority }
}

start(import.meta, async ({ config, log, onStop }) => {
  if (!config.postgres) throw new Error('configuration: "postgres" is missing')
  const db = new Db(config.postgres, log, 8)
  onStop(() => db.close())
  await db.waitUntilReady()
  await db.migrate('prod', migrations)
  const { app, utilisation, authority } = await createProd(config, db, log)
  const { bootstrap_token_sha256: bootstrap } = config.options
  if (typeof bootstrap === 'string') await authority.bootstrap(bootstrap)
  onStop(() => utilisation.close())
  onStop(() => app.close())
  await app.listen({ host: config.host, port: config.port ?? 0 })
})
