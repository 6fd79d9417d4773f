/** One of tgctl's workers: REST of channels, devices and sources. Started by tgctl.ts alone. */
import { createApi, envelope } from '#services/common/api.ts'
import { Bus } from '#services/common/bus.ts'
import { Db } from '#services/common/db.ts'
import { ApiError } from '#services/common/errors.ts'
import { start } from '#services/common/process.ts'
import { Accounts } from './accounts.ts'
import { addChannels, channelTable } from './channels.ts'
import type { Service, Table } from './collection.ts'
import { addCommands } from './commands.ts'
import { Containers } from './containers.ts'
import { addDevices, deviceTable } from './devices.ts'
import type { Count, Pulse } from './model.ts'
import { migrations } from './schema.ts'
import { addSources, sourceTable } from './sources.ts'

const heartbeat_every_ms = 1_000
const sweep_every_ms = 15_000
const migrate_again_ms = 500
const listen_anyway_after_ms = 2_000
/** Retained states are published in slices, so that the bus does not have to drop any. */
const announce_slice = 1_000

start(import.meta, async ({ config, log: processLog, onStop }) => {
  if (!process.send) throw new Error('a worker is started by tgctl.ts')
  const number = process.env.MILEPOST_WORKER ?? '1'
  const log = processLog.child({ worker: Number(number) })
  if (!config.postgres) throw new Error('configuration: "postgres" is missing')
  const { internal_token: token, urls } = config

  const heartbeat = setInterval(() => process.send?.('alive'), heartbeat_every_ms)
  process.send('alive')

  const db = new Db(config.postgres, log)
  const bus = new Bus({ url: urls.mbus, token, name: `${config.instance}-${number}`, log })
  const containers = new Containers(urls.mdb, token, db, log)
  const accounts = new Accounts(db, { url: urls.prod, token, log })
  let migrated = false
  const api = await createApi({
    system: 'gw',
    title: 'GW: channels and devices',
    log,
    internalToken: token,
    open: ['/lists'],
    ready: async () => {
      if (!migrated) throw new ApiError('unavailable', 'PostgreSQL is away: the tables are not there yet')
      await db.query('select 1')
    },
  })
  api.addHook('onRequest', async (request) => {
    if (!migrated && (request.url.startsWith('/gw/') || request.url === '/lists'))
      throw new ApiError('unavailable', 'PostgreSQL is away: the tables are not there yet')
  })
  const service: Service = { api, config, log, db, bus, containers, accounts }
  addChannels(service)
  addDevices(service)
  addCommands(service)
  addSources(service)

  api.post<{ Body: Count[] }>(
    '/gw/counters',
    {
      schema: {
        summary: 'Counts of a tg; answers what it must know (internal)',
        body: {
          type: 'array',
          maxItems: 10_000,
          items: {
            type: 'object',
            required: ['source', 'account_id', 'day', 'messages'],
            additionalProperties: false,
            properties: {
              source: { type: 'string', minLength: 1, maxLength: 64 },
              account_id: { type: 'integer' },
              day: { type: 'string', pattern: '^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])$' },
              messages: { type: 'integer', minimum: 0 },
            },
          },
        },
      },
    },
    async (request): Promise<{ result: Pulse[] }> => {
      if (request.account !== undefined) throw new ApiError('forbidden', 'counts come from tg alone')
      const revisions = await db.query<{ collection: string; revision: number }>('select * from gw_revisions')
      const revision = Object.fromEntries(revisions.map((row) => [row.collection, row.revision]))
      await accounts.store(request.body)
      const blocked = await accounts.blocked()
      return { result: [{ channels: revision.channels ?? 0, devices: revision.devices ?? 0, blocked }] }
    },
  )

  api.get<{ Querystring: { days: number } }>(
    '/gw/counters',
    {
      schema: {
        summary: 'Messages stored by account and UTC day, newest day first',
        querystring: {
          type: 'object',
          additionalProperties: false,
          properties: { days: { type: 'integer', minimum: 1, maximum: 400, default: 1 } },
        },
      },
    },
    async (request, reply) => envelope(reply, await accounts.counters(request.account, request.query.days)),
  )

  /** A broker that started anew has lost the retained states. */
  async function announceAll(): Promise<void> {
    for (const table of [channelTable, deviceTable, sourceTable] as Table[]) {
      for (let after = 0; ; ) {
        const rows = await db.query<{ id: number }>(
          `select ${table.columns} from ${table.name} where id > $1 order by id limit ${announce_slice}`,
          [after],
        )
        for (const row of rows) bus.publish(`milepost/state/gw/${table.name}/${row.id}/config`, row, { retain: true })
        const last = rows.at(-1)
        if (!last) break
        after = last.id
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  }

  // One worker does what needs doing once.
  const first = number === '1'
  const sweep = setInterval(() => {
    if (!migrated || !first) return
    void containers.sweep().catch((err) => log.warn({ err }, 'sweep'))
    void accounts.forgetOld().catch((err) => log.warn({ err }, 'sweep'))
  }, sweep_every_ms)

  onStop(() => db.close())
  onStop(() => bus.close())
  onStop(async () => {
    clearInterval(heartbeat)
    clearInterval(sweep)
    accounts.close()
    await api.close()
  })
  async function migrate(): Promise<void> {
    while (!migrated) {
      try {
        await db.migrate('gw', migrations)
        migrated = true
      } catch (error) {
        log.warn({ reason: (error as Error).message }, 'the tables cannot be made yet')
        await new Promise((resolve) => setTimeout(resolve, migrate_again_ms))
      }
    }
  }
  const ready = migrate()
  // The other workers take the calls until this one can; when PostgreSQL is away it must answer that it lives.
  await Promise.race([ready, new Promise((resolve) => setTimeout(resolve, listen_anyway_after_ms))])
  await api.listen({ host: config.host, port: config.port ?? 0 })
  await ready
  if (first) bus.onConnect(() => void announceAll().catch((err) => log.warn({ err }, 'states were not published')))
})
