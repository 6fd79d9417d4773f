/** The archive's REST: days and jobs for the root account; containers and their records as MDB has them, from the files alone. */
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { root_account } from '#services/common/acl.ts'
import { type Api, eachItem, envelope, fieldsQuery, pickFields } from '#services/common/api.ts'
import { ApiError } from '#services/common/errors.ts'
import { count_default, type RecordsQuery, recordsQuery, toFields, toRange } from '#services/common/records.ts'
import { matches, missingIds, parseSelector } from '#services/common/selector.ts'
import { merged, pieces } from './answer.ts'
import { dayId, pastDay } from './days.ts'
import { type Jobs, kinds, type Wanted } from './jobs.ts'
import type { Known, Library } from './library.ts'
import type { Manifest } from './manifest.ts'

/** Answers carry it: all records before it are there, s since 1970. */
const as_of_header = 'x-archive-as-of'

const dayFields = ['id', 'day', 'created', 'records', 'bytes', 'containers', 'additions', 'postgres'] as const
const jobFields = [
  'id',
  'kind',
  'from_day',
  'to_day',
  'container',
  'status',
  'progress',
  'began',
  'ended',
  'outcome',
] as const
const containerFields = ['id', 'account_id', 'name', 'ttl', 'created', 'records', 'first_day', 'last_day'] as const

type Selected = { Params: { selector: string } }
type Listed = Selected & { Querystring: { fields?: string } }

const listQuery = { type: 'object', additionalProperties: false, properties: { fields: fieldsQuery } } as const
const dayName = { type: ['string', 'null'], description: 'a UTC day that is over: 2026-11-24' } as const

/** Days hold the records of all accounts. */
function forRoot(request: FastifyRequest): void {
  if (request.account !== undefined && request.account !== root_account)
    throw new ApiError('forbidden', 'days and jobs of the archive are for the root account')
}

const missing = (what: string, ids: number[]) =>
  ids.map((id) => new ApiError('not_found', `there is no ${what} ${id}`, { id }))

/** A day in a list. */
const summary = ({ day, created, records, parts, containers, additions, postgres }: Manifest) => ({
  id: dayId(day),
  day,
  created,
  records,
  bytes: parts.reduce((sum, { bytes }) => sum + bytes, 'bytes' in postgres ? postgres.bytes : 0),
  containers: containers.filter((container) => container.records > 0).length,
  additions: additions.length,
  postgres: 'file' in postgres ? 'dumped' : postgres.missing,
})

/** Adds the archive's REST to an application. */
export function addRoutes(app: Api, library: Library, jobs: Jobs): void {
  async function selectDays(request: FastifyRequest<Selected>): Promise<{ found: Manifest[]; errors: ApiError[] }> {
    forRoot(request)
    const selector = parseSelector(request.params.selector)
    const names = library.days().filter((day) => selector.kind !== 'ids' || selector.ids.includes(dayId(day)))
    const found: Manifest[] = []
    const errors = missing('day', missingIds(selector, names.map(dayId)))
    for (const day of names) {
      const damaged = library.damaged().get(day)
      if (damaged) errors.push(new ApiError('unavailable', damaged.message, { id: dayId(day) }))
      else {
        const manifest = await library.manifest(day)
        if (matches(selector, summary(manifest), dayFields)) found.push(manifest)
      }
    }
    return { found, errors }
  }

  app.get<Listed>(
    '/archive/days/:selector',
    { schema: { summary: 'Archived days; their ids are 20261124, the 24th of November 2026', querystring: listQuery } },
    async (request, reply) => {
      const { found, errors } = await selectDays(request)
      const items = found.map((manifest) => pickFields(summary(manifest), request.query.fields, dayFields))
      return envelope(reply, items, errors)
    },
  )

  app.get<Selected>(
    '/archive/days/:selector/manifests',
    { schema: { summary: 'What the files of a day hold, with their SHA-256' } },
    async (request, reply) => {
      const { found, errors } = await selectDays(request)
      return envelope(reply, found, errors)
    },
  )

  app.get<Listed>(
    '/archive/jobs/:selector',
    { schema: { summary: 'Exports, checks and restorations since the process started', querystring: listQuery } },
    async (request, reply) => {
      forRoot(request)
      const selector = parseSelector(request.params.selector)
      const found = jobs.list().filter((job) => matches(selector, job as never, jobFields))
      const ids = found.map(({ id }) => id)
      return envelope(
        reply,
        found.map((job) => pickFields(job, request.query.fields, jobFields)),
        missing('job', missingIds(selector, ids)),
      )
    },
  )

  app.post<{ Body: Wanted[] }>(
    '/archive/jobs',
    {
      schema: {
        summary: 'Export, verify or restore now; the answer comes at once, the job goes on',
        body: {
          type: 'array',
          minItems: 1,
          maxItems: 10,
          items: {
            type: 'object',
            required: ['kind'],
            additionalProperties: false,
            properties: {
              kind: { type: 'string', enum: kinds },
              from_day: dayName,
              to_day: dayName,
              container: { type: ['integer', 'null'], description: 'restore: this container alone' },
            },
          },
        },
      },
    },
    async (request, reply) => {
      forRoot(request)
      const { result, errors } = await eachItem(request.body, async (wanted, index) => {
        const { kind, from_day, to_day, container } = wanted
        const days = [from_day, to_day].filter((day) => typeof day === 'string')
        for (const day of days) pastDay(day, `[${index}]`)
        if (days.length === 2 && days[0]! > days[1]!)
          throw new ApiError('malformed', `[${index}].from_day: ${from_day} is after to_day ${to_day}`)
        if (kind === 'restore' && days.length === 0)
          throw new ApiError(
            'malformed',
            `[${index}].from_day: which days? For one day, from_day and to_day are the same`,
          )
        if (kind !== 'restore' && typeof container === 'number')
          throw new ApiError('malformed', `[${index}].container: only restore takes one`)
        return jobs.add(wanted)
      })
      return envelope(reply, result, errors)
    },
  )

  /** The containers of a selector that the caller may see. */
  function select(request: FastifyRequest<Selected>): { found: Known[]; errors: ApiError[] } {
    const selector = parseSelector(request.params.selector)
    const found = library.containers(request.account).filter((c) => matches(selector, c as never, containerFields))
    const ids = found.map(({ id }) => id)
    return { found, errors: missing('container', missingIds(selector, ids)) }
  }

  app.get<Listed>(
    '/archive/containers/:selector',
    { schema: { summary: 'Containers that the archive has records of', querystring: listQuery } },
    async (request, reply) => {
      const { found, errors } = select(request)
      const items = found.map((c) => pickFields(c, request.query.fields, containerFields))
      const as_of = mark(reply)
      return { ...envelope(reply, items, errors), as_of }
    },
  )

  app.get<Selected & { Querystring: RecordsQuery }>(
    '/archive/containers/:selector/records',
    {
      schema: {
        summary: 'Records by time, as MDB has them; NDJSON with Accept: application/x-ndjson',
        querystring: recordsQuery,
      },
    },
    async (request, reply) => {
      const { found, errors } = select(request)
      const first = errors[0]
      if (found.length === 0 && first) throw first
      const { count = count_default, reverse = false, fields, every, ...range } = request.query
      const query = { ...toRange(range), count, reverse, fields: toFields(fields), every }
      const ndjson = request.headers.accept?.includes('application/x-ndjson') ?? false
      const as_of = mark(reply)
      const failed = errors.length === 0 ? '' : `,"errors":${JSON.stringify(errors.map((e) => e.item()))}`
      const text = pieces(merged(library, found, query), ndjson, `],"as_of":${as_of}${failed}}`)
      // What cannot begin is refused with a status of its own.
      const begin = await text.next()
      reply.type(ndjson ? 'application/x-ndjson' : 'application/json; charset=utf-8')
      return reply.send(Readable.from(continued(begin, text), { objectMode: false }))
    },
  )

  function mark(reply: FastifyReply): number | null {
    const as_of = library.asOf() ?? null
    if (as_of !== null) reply.header(as_of_header, String(as_of))
    return as_of
  }
}

async function* continued(begin: IteratorResult<string>, rest: AsyncGenerator<string>): AsyncGenerator<string> {
  if (begin.done) return
  yield begin.value
  yield* rest
}
