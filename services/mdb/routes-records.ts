/** MDB's REST: records in, out, and away. */
import type { FastifyRequest } from 'fastify'
import { type Api, eachItem, envelope } from '#services/common/api.ts'
import { ApiError } from '#services/common/errors.ts'
import {
  count_default,
  fromQuery,
  type RecordsQuery,
  recordsQuery,
  toFields,
  toQuery,
  toRange,
} from '#services/common/records.ts'
import { damage, formatOf, sendRecords } from './answer.ts'
import type { Append, Engine, ReadQuery } from './engine.ts'
import { DamagedError } from './page.ts'
import { blockToAppend, toAppend } from './record.ts'
import { mustSelect, type Selected, select, visible } from './routes.ts'
import { type Block, decodeBody, rows_type } from './rows.ts'

const batch_containers_max = 20_000
const batch_records_max = 100_000

function toQueryOf(request: FastifyRequest<{ Querystring: RecordsQuery }>): ReadQuery {
  const { count, reverse = false, fields, every, ...range } = request.query
  const query: ReadQuery = { ...toRange(range), reverse, fields: toFields(fields), every }
  if (count !== undefined || formatOf(request) !== 'rows') query.count = count ?? count_default
  return query
}

/** Bodies that are buffers: those of rows. */
const isRows = (body: unknown): body is Buffer => Buffer.isBuffer(body)

export function addRecordRoutes(app: Api, engine: () => Engine): void {
  app.addContentTypeParser(rows_type, { parseAs: 'buffer' }, (_request, body, done) => done(null, body))

  app.get<Selected & { Querystring: RecordsQuery }>(
    '/mdb/containers/:selector/records',
    {
      schema: {
        summary: 'Records by time; as Accept asks: the envelope, application/x-ndjson, text/csv or rows',
        description: `Accept: ${rows_type} gives pages as they are stored, where the whole of one is asked for.`,
        querystring: recordsQuery,
      },
    },
    async (request, reply) => {
      const { found, errors } = await mustSelect(engine(), request)
      return sendRecords(engine(), request, reply, found, toQueryOf(request), errors)
    },
  )

  app.delete<Selected & { Querystring: { from?: number; to?: number } }>(
    '/mdb/containers/:selector/records',
    {
      schema: {
        summary: 'Remove the records of a time range',
        querystring: { type: 'object', additionalProperties: false, properties: { from: fromQuery, to: toQuery } },
      },
    },
    async (request, reply) => {
      const { found, errors } = await select(engine(), request)
      const { from, to } = toRange(request.query)
      const remove = async ({ id }: { id: number }) => ({ id, removed: await engine().removeRange(id, from, to) })
      const removed = await eachItem(found, remove).catch((error) => {
        throw damage(error)
      })
      return envelope(reply, removed.result, [...errors, ...removed.errors])
    },
  )

  app.post<Selected & { Body: unknown[] }>(
    '/mdb/containers/:selector/records',
    {
      schema: {
        summary: 'Append records; answered when they are on the disk',
        description: 'Records have free fields: any parameters.',
        body: { type: 'array', maxItems: batch_records_max },
      },
    },
    async (request, reply) => {
      if (isRows(request.body)) throw new ApiError('malformed', `${rows_type} is for POST /mdb/records`)
      const { found, errors } = await select(engine(), request)
      const first = errors[0]
      if (first) throw first
      const append = toAppend(0, request.body, '')
      if (!append)
        return envelope(
          reply,
          found.map(({ id }) => ({ container: id, stored: 0, duplicates: 0 })),
        )
      return envelope(reply, await engine().append(found.map(({ id }) => ({ ...append, container: id }))))
    },
  )

  app.post<{ Body: { container: number; records: unknown[] }[] | Buffer }>(
    '/mdb/records',
    {
      schema: {
        summary: 'Append to any number of containers in one durable commit: all or nothing',
        description: `JSON, or ${rows_type}: a block of rows for each container, see docs/mdb-format.md.`,
        body: {
          content: {
            'application/json': {
              schema: {
                type: 'array',
                maxItems: batch_containers_max,
                items: {
                  type: 'object',
                  required: ['container', 'records'],
                  additionalProperties: false,
                  properties: {
                    container: { type: 'integer' },
                    records: { type: 'array', maxItems: batch_records_max },
                  },
                },
              },
            },
            [rows_type]: { schema: {} },
          },
        },
      },
    },
    async (request, reply) => {
      const { body } = request
      const blocks = isRows(body) ? blocksOf(body) : body
      await engine().find(blocks.map(({ container }) => container))
      // A service may write to all; of an account it is looked up which are its own.
      const mine = request.account === undefined ? undefined : new Set(visible(engine(), request).map(({ id }) => id))
      const appends: Append[] = []
      for (const [i, block] of blocks.entries()) {
        const { container } = block
        if (mine ? !mine.has(container) : !engine().has(container))
          throw new ApiError('not_found', `[${i}].container: there is no container ${container}`, { id: container })
        const append =
          'bytes' in block
            ? blockToAppend(container, block.bytes as Buffer, `block ${i}`)
            : toAppend(container, block.records, `[${i}].records`)
        if (append) appends.push(append)
      }
      const answers = await engine().append(appends)
      if (appends.length === blocks.length) return envelope(reply, answers)
      let next = 0
      const all = blocks.map((block) =>
        'bytes' in block || block.records.length > 0
          ? answers[next++]!
          : { container: block.container, stored: 0, duplicates: 0 },
      )
      return envelope(reply, all)
    },
  )
}

function blocksOf(body: Buffer): Block[] {
  try {
    const blocks = decodeBody(body)
    if (blocks.length > batch_containers_max)
      throw new ApiError('malformed', `${blocks.length} blocks, at most ${batch_containers_max}: send several requests`)
    return blocks
  } catch (error) {
    if (error instanceof DamagedError) throw new ApiError('malformed', error.message)
    throw error
  }
}
