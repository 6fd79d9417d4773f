/** What channels and devices have in common: rows of an account, selected, edited, told of. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import type { Api } from '#services/common/api.ts'
import type { Bus } from '#services/common/bus.ts'
import { open } from '#services/common/client.ts'
import type { Db } from '#services/common/db.ts'
import { ApiError } from '#services/common/errors.ts'
import type { ProcessConfig } from '#services/common/process.ts'
import { missingIds, parseSelector, toSql } from '#services/common/selector.ts'
import type { Accounts } from './accounts.ts'
import type { Containers } from './containers.ts'

/** What the routes work with. */
export interface Service {
  api: Api
  config: ProcessConfig
  log: Logger
  db: Db
  bus: Bus
  containers: Containers
  accounts: Accounts
}

export type Query = Db['query']
export type Selected = { Params: { selector: string } }

/** A long read may pause while its reader is slow. */
const read_time_max_ms = 60_000
const read_count_max = 100_000_000

/** Printable, so that it can stand in a line of text. */
export const nameSchema = { type: 'string', minLength: 1, maxLength: 200, pattern: '^[^\\p{C}]+$' } as const

export const ttlSchema = {
  type: 'integer',
  minimum: 0,
  maximum: 3_153_600_000,
  description: 'seconds that messages are kept after their timestamp; 0: for ever',
} as const

const time = { type: 'number', minimum: 0, description: 's since 1970 UTC' } as const
export const recordsQuery = {
  type: 'object',
  additionalProperties: false,
  properties: {
    from: time,
    to: time,
    count: { type: 'integer', minimum: 1, maximum: read_count_max },
    reverse: { type: 'boolean', description: 'newest first' },
    fields: { type: 'string', pattern: '^[a-z0-9_.,]+$' },
  },
} as const

export interface Table {
  name: 'channels' | 'devices' | 'sources'
  /** SQL of the columns that answers show. */
  columns: string
  /** Columns that a condition may name. */
  fields: readonly string[]
}

/** Rows of the selector that the caller may see. Nothing of explicit ids: `not_found` is thrown. */
export async function select<T extends { id: number }>(
  service: Service,
  table: Table,
  request: FastifyRequest<Selected>,
): Promise<{ found: T[]; errors: ApiError[] }> {
  const selector = parseSelector(request.params.selector)
  const { where, values } = toSql(selector, table.fields, 1)
  let found: T[]
  try {
    found = await service.db.query<T>(
      `select ${table.columns} from ${table.name}
       where ($1::bigint is null or account_id = $1) and ${where} order by id`,
      [request.account ?? null, ...values],
    )
  } catch (error) {
    // Data exceptions: a text compared as a number, a zero byte.
    if (!(error as { code?: string }).code?.startsWith('22')) throw error
    throw new ApiError('malformed', `selector "${request.params.selector}": ${(error as Error).message}`)
  }
  const missing = missingIds(
    selector,
    found.map((row) => row.id),
  )
  const errors = missing.map((id) => new ApiError('not_found', `there is no ${table.name.slice(0, -1)} ${id}`, { id }))
  if (found.length === 0 && errors[0]) throw errors[0]
  return { found, errors }
}

/** One change of a collection at a time, with its revision raised: what tg reads next is whole. */
export function change<T>(service: Service, table: Table, work: (query: Query) => Promise<T>): Promise<T> {
  return service.db.transaction(async (query) => {
    await query('update gw_revisions set revision = revision + 1 where collection = $1', [table.name])
    return work(query)
  })
}

/** Throws `limit` if the account may have no more items. */
export async function checkLimit(
  query: Query,
  table: Table,
  account: number,
  limits: Record<string, number>,
): Promise<void> {
  const max = limits[table.name]
  if (max === undefined) return
  const [row] = await query<{ n: number }>(`select count(*) as n from ${table.name} where account_id = $1`, [account])
  if ((row?.n ?? 0) >= max) {
    throw new ApiError('limit', `the account has ${row?.n} ${table.name}, its limit is ${max}`, { retryAfter: 60 })
  }
}

/** Sets columns of one row; the names come from the route's schema. */
export async function update<T extends { id: number }>(
  query: Query,
  table: Table,
  id: number,
  set: Record<string, unknown>,
): Promise<T> {
  const names = Object.keys(set)
  const assignments = names.map((name, i) => `"${name}" = $${i + 2}`).join(', ')
  const [row] = await query<T>(`update ${table.name} set ${assignments} where id = $1 returning ${table.columns}`, [
    id,
    ...Object.values(set),
  ])
  if (!row) throw new ApiError('not_found', `there is no ${table.name.slice(0, -1)} ${id}`, { id })
  return row
}

/** Tells the bus: an event, and the state that stays. */
export function announce(
  service: Service,
  table: Table,
  event: 'created' | 'updated' | 'deleted',
  row: { id: number; account_id: number },
): void {
  const item = `gw/${table.name}/${row.id}`
  // The state first: it tells the broker whose the event is.
  if (event !== 'deleted') service.bus.publish(`milepost/state/${item}/config`, row, { retain: true })
  service.bus.publish(`milepost/log/${item}/${event}`, { timestamp: Date.now() / 1000, event, ...row })
  if (event === 'deleted') service.bus.publish(`milepost/state/${item}/config`, undefined, { retain: true })
}

/** Hands records of MDB's containers through as a stream. */
export async function sendRecords(
  service: Service,
  request: FastifyRequest,
  reply: FastifyReply,
  containers: number[],
): Promise<FastifyReply> {
  if (containers.length === 0) return reply.send({ result: [] })
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(request.query as object)) query.set(name, String(value))
  const { mdb } = service.config.urls
  const answer = await open('GET', `${mdb}/mdb/containers/${containers.join(',')}/records?${query}`, {
    token: service.config.internal_token,
    requestId: request.id,
    timeout_ms: read_time_max_ms,
  })
  reply.code(answer.statusCode ?? 503)
  if (answer.headers['retry-after']) reply.header('retry-after', answer.headers['retry-after'])
  reply.type(answer.headers['content-type'] ?? 'application/json; charset=utf-8')
  return reply.send(answer)
}
