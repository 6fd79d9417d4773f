/** ADMIN: the desired state of environments, in PostgreSQL; its agent makes it so. */

import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { root_account } from '#services/common/acl.ts'
import { bearer, createApi, eachItem, envelope, fieldsQuery, pickFields, sameSecret } from '#services/common/api.ts'
import { mustCall } from '#services/common/client.ts'
import { Db, type Migration } from '#services/common/db.ts'
import { ApiError } from '#services/common/errors.ts'
import { start } from '#services/common/process.ts'
import { matches, missingIds, parseSelector, toSql } from '#services/common/selector.ts'
import type { ProcessInfo } from './supervisor.ts'
import { type Environment, instancesOf, offsets, port_step, processes_default, processTypes, tg_max } from './types.ts'

const environments_max = 50

const migrations: readonly Migration[] = [
  {
    id: 1,
    name: 'environments',
    sql: `create table environments (
      id bigserial primary key, name text not null unique, base_port int not null unique, release text not null,
      processes jsonb not null, options jsonb not null, internal_token text not null, bootstrap_token_sha256 text not null,
      database jsonb not null, created double precision not null)`,
  },
]

type Row = Omit<Environment, 'admin_url'> & { id: number; created: number } & Record<string, unknown>
type Selected = { Params: { selector: string }; Querystring: { fields?: string } }

const environmentFields = [
  'id',
  'name',
  'base_port',
  'release',
  'processes',
  'options',
  'created',
  'status',
  'instances',
  'urls',
] as const
const processFields = [
  'environment',
  'type',
  'instance',
  'pid',
  'status',
  'version',
  'restarts',
  'uptime',
  'last_exit',
] as const

const editable = {
  base_port: { type: 'integer', minimum: 1_024, maximum: 64_000, description: 'absent: the next free thousand' },
  release: { type: 'string', maxLength: 128, description: 'content hash of the code' },
  processes: {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(
      Object.keys(processTypes).map((type) => [
        type,
        { type: 'integer', minimum: 0, maximum: type === 'tg' ? tg_max : 1 },
      ]),
    ),
  },
  options: {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(Object.keys(processTypes).map((type) => [type, { type: 'object' }])),
  },
} as const
const nameSchema = {
  type: 'string',
  pattern: '^[a-z][a-z0-9-]{0,30}$',
  description: 'lower-case letters, digits and -',
} as const

const isFree = (port: number) =>
  new Promise<boolean>((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })

start(import.meta, async ({ config, log, onStop }) => {
  const { agent_url, agent_token, state, base_port } = config.options as {
    agent_url: string
    agent_token: string
    state: string
    base_port: number
  }
  const { postgres } = config
  if (!postgres) throw new Error('configuration: "postgres" is missing')
  const server = new Db(postgres, log, 2)
  await server.waitUntilReady()
  if ((await server.query("select 1 from pg_database where datname = 'milepost_admin'")).length === 0)
    await server.query('create database milepost_admin')
  const db = new Db({ ...postgres, database: 'milepost_admin' }, log)
  await db.migrate('admin', migrations)

  const app = await createApi({
    system: 'admin',
    title: 'ADMIN: environments and processes',
    log,
    ready: async () => void (await db.query('select 1')),
    authenticate(request) {
      const token = bearer(request)
      if (token === undefined) throw new ApiError('unauthorized', 'no token: send "Authorization: Bearer TOKEN"')
      // The deploy has the agent's token; users come through PROD, as the root account alone.
      if (sameSecret(token, agent_token)) return
      if (!sameSecret(token, config.internal_token)) throw new ApiError('unauthorized', 'unknown token')
      if (Number(request.headers['x-milepost-account']) !== root_account)
        throw new ApiError('forbidden', 'ADMIN is for the root account')
    },
  })

  const processes = () => mustCall<ProcessInfo>('GET', `${agent_url}/agent/processes/all`, { token: agent_token })
  const admin_url = `http://127.0.0.1:${config.port}`
  const rows = () => db.query<Row>('select * from environments order by id')
  const toEnvironment = (row: Row): Environment => ({ ...row, admin_url: row.name === 'home' ? admin_url : '' })

  /** Tells the agent all that is wanted. */
  async function reconcile(): Promise<void> {
    const wanted = (await rows()).flatMap((row) => instancesOf(toEnvironment(row), join(state, 'data')))
    await mustCall('PUT', `${agent_url}/agent/desired/all`, { token: agent_token, body: wanted })
  }

  /** An environment as REST shows it: without secrets, with what its processes do. */
  async function shown(list: Row[]): Promise<Record<string, unknown>[]> {
    const now = await processes()
    return list.map((row) => {
      const wanted = instancesOf(toEnvironment(row), '')
      const instances = now.filter(({ environment }) => environment === row.name)
      const running = wanted.filter((w) =>
        instances.some((p) => p.instance === w.instance && p.status === 'running' && p.version === row.release),
      ).length
      const restarted = instances.some((p) => p.restarts > 0 && p.status !== 'running')
      const b = row.base_port
      return {
        id: row.id,
        name: row.name,
        base_port: b,
        release: row.release,
        processes: row.processes,
        options: row.options,
        created: row.created,
        status: running === wanted.length ? 'running' : restarted ? 'degraded' : 'starting',
        instances: instances.map((p) => pickFields(p, 'instance,type,pid,status,restarts,uptime')),
        urls: {
          rest: `http://127.0.0.1:${b + offsets.prod}`,
          mqtt: `mqtt://127.0.0.1:${b + offsets.mbus}`,
          mqtt_ws: `ws://127.0.0.1:${b + offsets.mbus_ws}`,
          devices: [b + offsets.device_first, b + offsets.device_last],
        },
      }
    })
  }

  async function freeBase(taken: Set<number>): Promise<number> {
    for (let base = base_port + port_step; base <= 64_000; base += port_step) {
      if (taken.has(base)) continue
      const ports = [
        offsets.prod,
        offsets.mbus,
        offsets.mbus_ws,
        offsets.tgctl,
        offsets.mdb,
        offsets.archive,
        offsets.tg,
        offsets.tg + 1,
      ].map((offset) => base + offset)
      if ((await Promise.all(ports.map(isFree))).every(Boolean)) return base
    }
    throw new ApiError('limit', 'no thousand of free ports is left')
  }

  const databaseName = (name: string) => `milepost_${name.replaceAll('-', '_')}`

  /** A role and a database of its own; made anew or completed when an earlier attempt broke off. */
  async function makeDatabase(name: string, password: string): Promise<void> {
    const id = databaseName(name)
    const exists = (await server.query('select 1 from pg_roles where rolname = $1', [id])).length > 0
    await server.query(`${exists ? 'alter' : 'create'} role "${id}" login password '${password}'`)
    if ((await server.query('select 1 from pg_database where datname = $1', [id])).length === 0)
      await server.query(`create database "${id}" owner "${id}"`)
    await server.query(`revoke connect on database "${id}" from public`)
  }

  /** The token that an environment's root account starts with, in a file for its owner alone. */
  function bootstrapToken(name: string): string {
    const folder = join(state, 'environments', name)
    const file = join(folder, 'admin-token')
    if (!existsSync(file)) {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      writeFileSync(file, randomBytes(32).toString('base64url'), { mode: 0o600 })
    }
    return readFileSync(file, 'utf8').trim()
  }

  interface Wanted {
    name: string
    base_port?: number
    release?: string
    processes?: Record<string, number>
    options?: Environment['options']
  }

  async function create(wanted: Wanted): Promise<{ row: Row; token: string }> {
    const all = await rows()
    if (all.some(({ name }) => name === wanted.name))
      throw new ApiError('conflict', `there is an environment "${wanted.name}"`)
    if (all.length >= environments_max) throw new ApiError('limit', `at most ${environments_max} environments`)
    const taken = new Set(all.map((row) => row.base_port))
    const base = wanted.base_port ?? (wanted.name === 'home' ? base_port : await freeBase(taken))
    if ([...taken].some((other) => Math.abs(other - base) < port_step))
      throw new ApiError('conflict', `base_port ${base} is within ${port_step} of another environment's`)
    const release = wanted.release ?? all.find(({ name }) => name === 'home')?.release ?? ''
    const password = randomBytes(24).toString('base64url')
    await makeDatabase(wanted.name, password)
    const token = bootstrapToken(wanted.name)
    const id = databaseName(wanted.name)
    const [row] = await db.query<Row>(
      `insert into environments (name, base_port, release, processes, options, internal_token, bootstrap_token_sha256, database, created)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning *`,
      [
        wanted.name,
        base,
        release,
        JSON.stringify({ ...processes_default, ...wanted.processes }),
        JSON.stringify(wanted.options ?? {}),
        wanted.name === 'home' ? config.internal_token : randomBytes(32).toString('base64url'),
        createHash('sha256').update(token).digest('hex'),
        JSON.stringify({ host: postgres?.host, port: postgres?.port, database: id, user: id, password }),
        Date.now() / 1000,
      ],
    )
    return { row: row as Row, token }
  }

  app.post<{ Body: Wanted[] }>(
    '/admin/environments',
    {
      schema: {
        summary: 'Create environments: a full set of processes each',
        body: {
          type: 'array',
          minItems: 1,
          maxItems: 10,
          items: {
            type: 'object',
            required: ['name'],
            additionalProperties: false,
            properties: { name: nameSchema, ...editable },
          },
        },
      },
    },
    async (request, reply) => {
      const { result, errors } = await eachItem(request.body, create)
      if (result.length === 0) return envelope(reply, [], errors)
      await reconcile()
      const made = await shown(result.map(({ row }) => row))
      // The token is shown this once; afterwards it is in its file alone.
      return envelope(
        reply,
        made.map((environment, i) => ({ ...environment, token: result[i]?.token })),
        errors,
      )
    },
  )

  async function select(text: string): Promise<{ found: Row[]; errors: ApiError[] }> {
    const selector = parseSelector(text)
    const { where, values } = toSql(selector, ['id', 'name', 'base_port', 'release'])
    const found = await db.query<Row>(`select * from environments where ${where} order by id`, values)
    return {
      found,
      errors: missingIds(
        selector,
        found.map(({ id }) => id),
      ).map((id) => new ApiError('not_found', `there is no environment ${id}`, { id })),
    }
  }

  app.get<Selected>(
    '/admin/environments/:selector',
    {
      schema: {
        summary: 'Environments and their processes',
        querystring: { type: 'object', additionalProperties: false, properties: { fields: fieldsQuery } },
      },
    },
    async (request, reply) => {
      const { found, errors } = await select(request.params.selector)
      return envelope(
        reply,
        (await shown(found)).map((e) => pickFields(e, request.query.fields, environmentFields)),
        errors,
      )
    },
  )

  app.put<Selected & { Body: Omit<Wanted, 'name'> }>(
    '/admin/environments/:selector',
    {
      schema: {
        summary: 'Edit environments; name=X creates it when it is missing',
        body: { type: 'object', additionalProperties: false, properties: editable },
      },
    },
    async (request, reply) => {
      const { body } = request
      let { found, errors } = await select(request.params.selector)
      const name = /^name=([a-z][a-z0-9-]{0,30})$/.exec(request.params.selector)?.[1]
      if (found.length === 0 && name) found = [(await create({ ...body, name })).row]
      for (const row of found) {
        if (body.base_port !== undefined && body.base_port !== row.base_port) {
          throw new ApiError(
            'conflict',
            `base_port of "${row.name}" is ${row.base_port} and stays; remove the environment to move it`,
          )
        }
        await db.query('update environments set release = $2, processes = $3, options = $4 where id = $1', [
          row.id,
          body.release ?? row.release,
          JSON.stringify({ ...row.processes, ...body.processes }),
          JSON.stringify(body.options ?? row.options),
        ])
      }
      if (found.length > 0) await reconcile()
      const after = found.length > 0 ? (await select(found.map(({ id }) => id).join(','))).found : []
      return envelope(reply, await shown(after), errors)
    },
  )

  app.delete<Selected>(
    '/admin/environments/:selector',
    { schema: { summary: 'Remove environments: processes, database, files' } },
    async (request, reply) => {
      const { found, errors } = await select(request.params.selector)
      const removed = await eachItem(found, async ({ id, name }) => {
        if (name === 'home') throw new ApiError('conflict', '"home" holds ADMIN itself: use npm run destroy', { id })
        await mustCall('DELETE', `${agent_url}/agent/environments/${name}`, { token: agent_token, timeout_ms: 60_000 })
        await server.query(`drop database if exists "${databaseName(name)}" with (force)`)
        await server.query(`drop role if exists "${databaseName(name)}"`)
        await db.query('delete from environments where id = $1', [id])
        rmSync(join(state, 'environments', name), { recursive: true, force: true })
        return { id, name }
      })
      return envelope(reply, removed.result, [...errors, ...removed.errors])
    },
  )

  app.get<Selected>(
    '/admin/processes/:selector',
    {
      schema: {
        summary: 'Processes of all environments',
        querystring: { type: 'object', additionalProperties: false, properties: { fields: fieldsQuery } },
      },
    },
    async (request, reply) => {
      const selector = parseSelector(request.params.selector)
      const found = (await processes()).filter((p) => matches(selector, p as never, processFields))
      return envelope(
        reply,
        found.map((p) => pickFields(p, request.query.fields, processFields)),
      )
    },
  )

  app.get<{ Params: { selector: string }; Querystring: { count?: number; level?: number; from?: number } }>(
    '/admin/processes/:selector/logs',
    {
      schema: {
        summary: 'Newest log lines of processes',
        querystring: {
          type: 'object',
          additionalProperties: false,
          properties: {
            count: { type: 'integer', minimum: 1, maximum: 10_000, default: 100 },
            level: { type: 'integer', description: '30 info, 40 warn, 50 error' },
            from: { type: 'number', description: 's since 1970 UTC' },
          },
        },
      },
    },
    async (request, reply) => {
      const selector = parseSelector(request.params.selector)
      const found = (await processes()).filter((p) => matches(selector, p as never, processFields))
      const query = new URLSearchParams(
        Object.entries(request.query).map(([key, value]): [string, string] => [key, String(value)]),
      )
      const asked = await eachItem(found, ({ environment, instance }) =>
        mustCall<Record<string, unknown>>('GET', `${agent_url}/agent/logs/${environment}/${instance}?${query}`, {
          token: agent_token,
        }),
      )
      const lines = asked.result.flat().sort((a, b) => Number(a.time ?? 0) - Number(b.time ?? 0))
      return envelope(reply, lines.slice(-(request.query.count ?? 100)), asked.errors)
    },
  )

  onStop(async () => {
    await db.close()
    await server.close()
  })
  onStop(() => app.close())
  await app.listen({ host: config.host, port: config.port ?? 0 })
})
