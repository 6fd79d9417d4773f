/** MDB's REST: containers. Records, and what is made of them, are in files of their own. */
import type { FastifyRequest } from 'fastify'
import { type Api, eachItem, envelope, fieldsQuery, pickFields } from '#services/common/api.ts'
import { ApiError } from '#services/common/errors.ts'
import { matches, missingIds, parseSelector } from '#services/common/selector.ts'
import type { Engine } from './engine.ts'
import type { Jobs } from './jobs.ts'
import type { Publish } from './replay.ts'
import { addJobRoutes } from './routes-jobs.ts'
import { addRecordRoutes } from './routes-records.ts'
import type { Container } from './store.ts'

const containerFields = ['id', 'account_id', 'name', 'ttl', 'records', 'bytes', 'created'] as const
const name = { type: 'string', minLength: 1, maxLength: 200 } as const
const ttl = {
  type: 'integer',
  minimum: 0,
  description: 'seconds a record is kept after its timestamp; 0: for ever',
} as const

export type Selected = { Params: { selector: string } }

/** The containers of a selector that the caller may see. Explicit ids that match nothing: `not_found`. */
export async function select(
  engine: Engine,
  request: FastifyRequest<Selected>,
): Promise<{ found: Container[]; errors: ApiError[] }> {
  const selector = parseSelector(request.params.selector)
  if (selector.kind === 'ids') await engine.find(selector.ids)
  const mine = visible(engine, request)
  const found = mine.filter((c) => matches(selector, c as never, containerFields)).sort((a, b) => a.id - b.id)
  const missing = missingIds(
    selector,
    found.map((c) => c.id),
  )
  return { found, errors: missing.map((id) => new ApiError('not_found', `there is no container ${id}`, { id })) }
}

/** As `select`, but finds at least one or throws. */
export async function mustSelect(engine: Engine, request: FastifyRequest<Selected>) {
  const { found, errors } = await select(engine, request)
  const first = errors[0]
  if (found.length === 0 && first) throw first
  return { found, errors }
}

/** Containers of the caller's account; of all, if a service asks. */
export function visible(engine: Engine, request: FastifyRequest): Container[] {
  return engine.containers().filter((c) => request.account === undefined || c.account_id === request.account)
}

/** Adds MDB's REST to an application. `engine` throws while there is none yet. */
export function addRoutes(app: Api, engine: () => Engine, jobs: Jobs, publish?: Publish): void {
  app.post<{ Body: { name: string; ttl?: number }[] }>(
    '/mdb/containers',
    {
      schema: {
        summary: 'Create containers',
        body: {
          type: 'array',
          minItems: 1,
          maxItems: 1_000,
          items: { type: 'object', required: ['name'], additionalProperties: false, properties: { name, ttl } },
        },
      },
    },
    async (request, reply) => {
      const create = (item: { name: string; ttl?: number }) =>
        engine().create({ account_id: request.account ?? 0, name: item.name, ttl: item.ttl ?? 0 })
      const { result, errors } = await eachItem(request.body, create)
      return envelope(reply, result, errors)
    },
  )

  app.get<Selected & { Querystring: { fields?: string } }>(
    '/mdb/containers/:selector',
    {
      schema: {
        summary: 'Containers and their sizes',
        querystring: { type: 'object', additionalProperties: false, properties: { fields: fieldsQuery } },
      },
    },
    async (request, reply) => {
      const { found, errors } = await select(engine(), request)
      return envelope(
        reply,
        found.map((c) => pickFields(c, request.query.fields, containerFields)),
        errors,
      )
    },
  )

  app.put<Selected & { Body: { name?: string; ttl?: number } }>(
    '/mdb/containers/:selector',
    {
      schema: {
        summary: 'Edit containers',
        body: { type: 'object', additionalProperties: false, minProperties: 1, properties: { name, ttl } },
      },
    },
    async (request, reply) => {
      const { found, errors } = await select(engine(), request)
      const edited = await eachItem(found, (c) => engine().edit(c.id, request.body))
      return envelope(reply, edited.result, [...errors, ...edited.errors])
    },
  )

  app.delete<Selected>(
    '/mdb/containers/:selector',
    { schema: { summary: 'Remove containers with their records' } },
    async (request, reply) => {
      const { found, errors } = await select(engine(), request)
      const removed = await eachItem(found, async (c) => {
        await engine().remove(c.id)
        return { id: c.id }
      })
      return envelope(reply, removed.result, [...errors, ...removed.errors])
    },
  )

  app.get<Selected>(
    '/mdb/containers/:selector/statistics',
    { schema: { summary: 'Records, bytes, pages and time range of containers' } },
    async (request, reply) => {
      const { found, errors } = await select(engine(), request)
      const { result, errors: more } = await eachItem(found, (c) => engine().statistics(c.id))
      return envelope(reply, result, [...errors, ...more])
    },
  )

  app.get<Selected & { Querystring: { fields?: string } }>(
    '/mdb/containers/:selector/telemetry',
    {
      schema: {
        summary: 'Newest value of each parameter, with the timestamp of its record',
        querystring: { type: 'object', additionalProperties: false, properties: { fields: fieldsQuery } },
      },
    },
    async (request, reply) => {
      const { found, errors } = await select(engine(), request)
      const names = request.query.fields === undefined ? undefined : new Set(request.query.fields.split(','))
      const { result, errors: more } = await eachItem(found, async ({ id }) => {
        const newest = await engine().telemetry(id)
        const telemetry = Object.fromEntries([...newest].filter(([name]) => names?.has(name) ?? true).sort())
        return { id, telemetry }
      })
      return envelope(reply, result, [...errors, ...more])
    },
  )

  addRecordRoutes(app, engine)
  addJobRoutes(app, engine, jobs, publish)
}
