import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Api, eachItem, envelope, fieldsQuery, pickFields } from '#services/common/api.ts'
import { ApiError } from '#services/common/errors.ts'
import { matches, missingIds, parseSelector } from '#services/common/selector.ts'
import type { Container, Engine, Range } from './engine.ts'
import { timestamp_max, toStored } from './record.ts'

/** Records of one answer when `count` does not say otherwise. */
const count_default = 1_000
const count_max = 100_000_000
/** Text of a stream is handed on in pieces of about this many bytes. */
const piece_bytes = 64 * 1024

const containerFields = ['id', 'account_id', 'name', 'ttl', 'records', 'bytes', 'created'] as const
const name = { type: 'string', minLength: 1, maxLength: 200 } as const
const ttl = {
  type: 'integer',
  minimum: 0,
  description: 'seconds a record is kept after its timestamp; 0: for ever',
} as const

interface ReadQuery {
  from?: number
  to?: number
  count?: number
  reverse?: boolean
  fields?: string
}

type Selected = { Params: { selector: string } }

const readQuery = {
  type: 'object',
  additionalProperties: false,
  properties: {
    from: { type: 'number', minimum: 0, description: 's since 1970, included' },
    to: { type: 'number', minimum: 0, description: 's since 1970, excluded' },
    count: { type: 'integer', minimum: 1, maximum: count_max, default: count_default },
    reverse: { type: 'boolean', default: false, description: 'newest first' },
    fields: fieldsQuery,
  },
} as const

/** The containers of a selector that the caller may see. Explicit ids that match nothing: `not_found`. */
function select(engine: Engine, request: FastifyRequest<Selected>): { found: Container[]; errors: ApiError[] } {
  const selector = parseSelector(request.params.selector)
  const mine = engine.containers().filter((c) => request.account === undefined || c.account_id === request.account)
  const found = mine.filter((c) => matches(selector, c as never, containerFields)).sort((a, b) => a.id - b.id)
  const missing = missingIds(
    selector,
    found.map((c) => c.id),
  )
  return { found, errors: missing.map((id) => new ApiError('not_found', `there is no container ${id}`, { id })) }
}

function toRange(query: ReadQuery): Range {
  const { from = 0, to = timestamp_max, reverse = false } = query
  if (from > to) throw new ApiError('malformed', `from ${from} is after to ${to}`)
  return { from, to: Math.min(to, timestamp_max), reverse }
}

/** Several containers as one list in the order of time. */
function* merged(engine: Engine, containers: Container[], range: Range): Generator<Buffer> {
  const heads = containers.map((c) => engine.read(c.id, range)).map((reader) => ({ reader, next: reader.next() }))
  for (;;) {
    let best: (typeof heads)[number] | undefined
    for (const head of heads) {
      if (head.next.done) continue
      if (best === undefined || best.next.done) best = head
      else if (head.next.value.timestamp < best.next.value.timestamp !== range.reverse) {
        if (head.next.value.timestamp !== best.next.value.timestamp) best = head
      }
    }
    if (best === undefined || best.next.done) return
    yield best.next.value.json
    best.next = best.reader.next()
  }
}

/** JSON texts as the pieces of the envelope, or of NDJSON. */
function* pieces(records: Generator<Buffer>, query: ReadQuery, ndjson: boolean, tail: string): Generator<string> {
  let left = query.count ?? count_default
  let piece = ndjson ? '' : '{"result":['
  let first = true
  for (const json of records) {
    if (left-- <= 0) break
    const text =
      query.fields === undefined
        ? json.toString()
        : JSON.stringify(pickFields(JSON.parse(json.toString()), query.fields))
    piece += ndjson ? `${text}\n` : first ? text : `,${text}`
    first = false
    if (piece.length > piece_bytes) {
      yield piece
      piece = ''
    }
  }
  yield ndjson ? piece : `${piece}]${tail}}`
}

/** Adds MDB's REST to an application. */
export function addRoutes(app: Api, engine: Engine): void {
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
        engine.create({ account_id: request.account ?? 0, name: item.name, ttl: item.ttl ?? 0 })
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
      const { found, errors } = select(engine, request)
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
      const { found, errors } = select(engine, request)
      const edited = await eachItem(found, (c) => engine.edit(c.id, request.body))
      return envelope(reply, edited.result, [...errors, ...edited.errors])
    },
  )

  app.delete<Selected>(
    '/mdb/containers/:selector',
    { schema: { summary: 'Remove containers with their records' } },
    async (request, reply) => {
      const { found, errors } = select(engine, request)
      const removed = await eachItem(found, async (c) => {
        await engine.remove(c.id)
        return { id: c.id }
      })
      return envelope(reply, removed.result, [...errors, ...removed.errors])
    },
  )

  app.get<Selected & { Querystring: ReadQuery }>(
    '/mdb/containers/:selector/records',
    { schema: { summary: 'Records by time; NDJSON with Accept: application/x-ndjson', querystring: readQuery } },
    async (request, reply) => {
      const { found, errors } = select(engine, request)
      const first = errors[0]
      if (found.length === 0 && first) throw first
      return stream(request, reply, merged(engine, found, toRange(request.query)), errors)
    },
  )

  app.delete<Selected & { Querystring: { from?: number; to?: number } }>(
    '/mdb/containers/:selector/records',
    {
      schema: {
        summary: 'Remove the records of a time range',
        querystring: {
          type: 'object',
          additionalProperties: false,
          properties: { from: readQuery.properties.from, to: readQuery.properties.to },
        },
      },
    },
    async (request, reply) => {
      const { found, errors } = select(engine, request)
      const range = toRange(request.query)
      const removed = await eachItem(found, async (c) => ({ id: c.id, removed: await engine.removeRange(c.id, range) }))
      return envelope(reply, removed.result, [...errors, ...removed.errors])
    },
  )

  app.post<Selected & { Body: unknown[] }>(
    '/mdb/containers/:selector/records',
    {
      schema: {
        summary: 'Append records; answered when they are on the disk',
        body: { type: 'array', maxItems: 100_000 },
      },
    },
    async (request, reply) => {
      const { found, errors } = select(engine, request)
      const first = errors[0]
      if (first) throw first
      const records = request.body.map((record, i) => toStored(record, `[${i}]`))
      return envelope(reply, await engine.append(found.map((c) => ({ container: c.id, records }))))
    },
  )

  app.post<{ Body: { container: number; records: unknown[] }[] }>(
    '/mdb/records',
    {
      schema: {
        summary: 'Append to any number of containers in one durable commit: all or nothing',
        body: {
          type: 'array',
          maxItems: 10_000,
          items: {
            type: 'object',
            required: ['container', 'records'],
            additionalProperties: false,
            properties: { container: { type: 'integer' }, records: { type: 'array', maxItems: 100_000 } },
          },
        },
      },
    },
    async (request, reply) => {
      const mine = new Set(
        engine
          .containers()
          .filter((c) => request.account === undefined || c.account_id === request.account)
          .map((c) => c.id),
      )
      const batch = request.body.map(({ container, records }, i) => {
        if (!mine.has(container))
          throw new ApiError('not_found', `[${i}].container: there is no container ${container}`, { id: container })
        return { container, records: records.map((record, j) => toStored(record, `[${i}].records[${j}]`)) }
      })
      return envelope(reply, await engine.append(batch))
    },
  )
}

function stream(
  request: FastifyRequest<{ Querystring: ReadQuery }>,
  reply: FastifyReply,
  records: Generator<Buffer>,
  errors: ApiError[],
): FastifyReply {
  const ndjson = request.headers.accept?.includes('application/x-ndjson') ?? false
  const tail = errors.length === 0 ? '' : `,"errors":${JSON.stringify(errors.map((e) => e.item()))}`
  reply.type(ndjson ? 'application/x-ndjson' : 'application/json; charset=utf-8')
  return reply.send(Readable.from(pieces(records, request.query, ndjson, tail), { objectMode: false }))
}
