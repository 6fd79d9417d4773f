/** MDB's REST: copies of a range into another container, and replays of a range on MQTT, as jobs. */
import type { FastifyRequest } from 'fastify'
import { type Api, eachItem, envelope } from '#services/common/api.ts'
import { ApiError } from '#services/common/errors.ts'
import { fromQuery, toQuery, toRange } from '#services/common/records.ts'
import { missingIds, parseSelector } from '#services/common/selector.ts'
import type { Engine } from './engine.ts'
import type { Job, Jobs } from './jobs.ts'
import { copyRange, type Publish, replayRange } from './replay.ts'
import { mustSelect, type Selected, visible } from './routes.ts'

const jobs_in_request_max = 100
/** Times faster than it was. */
const speed_max = 100_000

type JobSelected = { Params: { selector: string; job: string } }

/** Jobs of the containers that a request selects. */
async function jobsOf(
  engine: Engine,
  jobs: Jobs,
  kind: Job['kind'],
  request: FastifyRequest<Selected>,
): Promise<Job[]> {
  const { found } = await mustSelect(engine, request)
  const ids = new Set(found.map(({ id }) => id))
  return jobs.list(kind).filter(({ container }) => ids.has(container))
}

const shown = ({ kind: _kind, account_id: _account, details, ...job }: Job) => ({ ...job, ...details })

export function addJobRoutes(app: Api, engine: () => Engine, jobs: Jobs, publish?: Publish): void {
  app.post<Selected & { Body: { target: number; from?: number; to?: number }[] }>(
    '/mdb/containers/:selector/copies',
    {
      schema: {
        summary: 'Copy the records of a time range into another container; a job, whose progress GET tells',
        body: {
          type: 'array',
          minItems: 1,
          maxItems: jobs_in_request_max,
          items: {
            type: 'object',
            required: ['target'],
            additionalProperties: false,
            properties: { target: { type: 'integer', description: 'container id' }, from: fromQuery, to: toQuery },
          },
        },
      },
    },
    async (request, reply) => {
      const { found, errors } = await mustSelect(engine(), request)
      const wanted = found.flatMap((container) => request.body.map((item) => ({ container, item })))
      const { result, errors: more } = await eachItem(wanted, async ({ container: { id, account_id }, item }) => {
        const { from, to } = toRange(item)
        const { target } = item
        if (!visible(engine(), request).some((c) => c.id === target))
          throw new ApiError('not_found', `target: there is no container ${target}`, { id: target })
        if (target === id) throw new ApiError('malformed', `target: container ${id} cannot be copied into itself`)
        const details = { target, from, to, stored: 0, duplicates: 0 }
        const start = { kind: 'copy' as const, container: id, account_id, details }
        return shown(jobs.start(start, (job, signal) => copyRange(engine(), job, details, signal)))
      })
      return envelope(reply, result, [...errors, ...more])
    },
  )

  app.post<Selected & { Body: { topic?: string; speed?: number; from?: number; to?: number; fields?: string[] }[] }>(
    '/mdb/containers/:selector/replays',
    {
      schema: {
        summary: 'Publish the records of a time range on MBUS, at the pace at which they came or faster',
        description: 'The topic is milepost/message/mdb/containers/{id}/{topic}.',
        body: {
          type: 'array',
          minItems: 1,
          maxItems: jobs_in_request_max,
          items: {
            type: 'object',
            additionalProperties: false,
            properties: {
              topic: { type: 'string', pattern: '^[^#+\\u0000-\\u001f/]+(/[^#+\\u0000-\\u001f/]+)*$', maxLength: 200 },
              speed: {
                type: 'number',
                exclusiveMinimum: 0,
                maximum: speed_max,
                description: '1: as it was; 60: a minute a second',
              },
              from: fromQuery,
              to: toQuery,
              fields: { type: 'array', items: { type: 'string' }, maxItems: 1_000 },
            },
          },
        },
      },
    },
    async (request, reply) => {
      const { found, errors } = await mustSelect(engine(), request)
      if (!publish) throw new ApiError('unavailable', 'this MDB has no MBUS to publish on: set urls.mbus')
      const wanted = found.flatMap((container) => request.body.map((item) => ({ container, item })))
      const { result, errors: more } = await eachItem(wanted, async ({ container, item }) => {
        const { id, account_id } = container
        const { topic: name = 'replay', speed = 1, fields } = item
        const topic = `milepost/message/mdb/containers/${id}/${name}`
        const details = { topic, speed, ...toRange(item), fields }
        const start = { kind: 'replay' as const, container: id, account_id, details }
        return shown(
          jobs.start(start, (job, signal) => replayRange(engine(), container, job, details, publish, signal)),
        )
      })
      return envelope(reply, result, [...errors, ...more])
    },
  )

  for (const [kind, path, text] of [
    ['copy', 'copies', 'Copies'],
    ['replay', 'replays', 'Replays'],
  ] as const) {
    app.get<Selected>(
      `/mdb/containers/:selector/${path}`,
      { schema: { summary: `${text} under way, and the last that ended, of these containers` } },
      async (request) => ({ result: (await jobsOf(engine(), jobs, kind, request)).map(shown) }),
    )
    app.delete<JobSelected>(
      `/mdb/containers/:selector/${path}/:job`,
      { schema: { summary: `Stop ${path}` } },
      async (request, reply) => {
        const own = await jobsOf(engine(), jobs, kind, request)
        const selector = parseSelector(request.params.job)
        if (selector.kind === 'where') throw new ApiError('malformed', `${path}: expected all, or ids such as 1,2`)
        const some = own.filter(({ id }) => selector.kind === 'all' || selector.ids.includes(id))
        const missing = missingIds(
          selector,
          some.map(({ id }) => id),
        )
        for (const { id } of some) await jobs.stop(id)
        const errors = missing.map((id) => new ApiError('not_found', `there is no ${kind} ${id}`, { id }))
        return envelope(
          reply,
          some.map(({ id }) => ({ id })),
          errors,
        )
      },
    )
  }
}
