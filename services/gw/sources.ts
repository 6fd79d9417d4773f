/** Sources that the gateways refuse or let pass, fed at run time: the operator's own collection. */

import { isIPv4 } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { root_account } from '#services/common/acl.ts'
import { eachItem, envelope, fieldsQuery, pickFields } from '#services/common/api.ts'
import { ApiError } from '#services/common/errors.ts'
import { missingIds, parseSelector, toSql } from '#services/common/selector.ts'
import { announce, change, type Selected, type Service, type Table } from './collection.ts'

export interface Source {
  id: number
  account_id: number
  /** IPv4 address or network: `192.0.2.7`, `192.0.2.0/24`. */
  source: string
  list: 'block' | 'allow'
  comment: string | null
  /** s since 1970 UTC; null: until it is removed. */
  expires: number | null
  created: number
}

/** A wider network in one entry is a slip of the finger that shuts the site. */
const prefix_min = 8
/** What the gateways' sets are made for. */
const sources_max = 100_000
/** A gateway that asks reads the table no more often than this. */
const lists_age_max_ms = 500

const fields = ['id', 'account_id', 'source', 'list', 'comment'] as const
const answerFields = [...fields, 'expires', 'created'] as const

export const sourceTable: Table = {
  name: 'sources',
  columns: `${fields.join(', ')}, extract(epoch from expires)::float8 as expires, extract(epoch from created)::float8 as created`,
  fields,
}

/** The address or network as it is kept: host bits zero, `/32` left out. Throws ApiError `malformed`. */
export function normalSource(text: string): string {
  const [address = '', length, more] = text.split('/')
  const prefix = length === undefined ? 32 : /^\d{1,2}$/.test(length) ? Number(length) : Number.NaN
  if (!isIPv4(address) || more !== undefined || !(prefix <= 32))
    throw new ApiError('malformed', `source "${text}": expected an IPv4 address or network such as 192.0.2.0/24`)
  if (prefix < prefix_min)
    throw new ApiError('malformed', `source "${text}" is wider than /${prefix_min}; enter the networks that are meant`)
  const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
  const first = number - (number % 2 ** (32 - prefix))
  const parts = [24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256)
  return prefix === 32 ? parts.join('.') : `${parts.join('.')}/${prefix}`
}

/** Adds the REST of sources, and `/lists`, which the gateways read. */
export function addSources(service: Service): void {
  const { api, db } = service
  // Who may shut the site's door is who runs the site.
  const asOperator = ({ account }: FastifyRequest): void => {
    if (account !== undefined && account !== root_account)
      throw new ApiError('forbidden', "the gateways' lists are the operator's: use a token of the first account")
  }

  interface Item {
    source: string
    list: Source['list']
    comment?: string
    ttl?: number
  }

  async function create(item: Item): Promise<Source> {
    const source = normalSource(item.source)
    const made = await change(service, sourceTable, async (query) => {
      // An entry that ran out is as good as none.
      await query('delete from sources where expires <= now()')
      const [taken] = await query<{ id: number }>('select id from sources where source = $1', [source])
      if (taken) throw new ApiError('conflict', `source: ${source} is on a list already`, { id: taken.id })
      const [count] = await query<{ n: number }>('select count(*) as n from sources')
      if ((count?.n ?? 0) >= sources_max)
        throw new ApiError('limit', `there are ${count?.n} sources, at most ${sources_max}`, { retryAfter: 60 })
      const [row] = await query<Source & Record<string, unknown>>(
        `insert into sources (account_id, source, list, comment, expires)
         values ($1, $2, $3, $4, now() + make_interval(secs => $5)) returning ${sourceTable.columns}`,
        [root_account, source, item.list, item.comment ?? null, item.ttl ?? null],
      )
      return row as Source
    })
    announce(service, sourceTable, 'created', made)
    return made
  }

  async function select(request: FastifyRequest<Selected>): Promise<{ found: Source[]; errors: ApiError[] }> {
    asOperator(request)
    const selector = parseSelector(request.params.selector)
    const { where, values } = toSql(selector, fields, 0)
    const found = await db.query<Source & Record<string, unknown>>(
      `select ${sourceTable.columns} from sources where (expires is null or expires > now()) and ${where} order by id`,
      values,
    )
    const missing = missingIds(
      selector,
      found.map(({ id }) => id),
    )
    const errors = missing.map((id) => new ApiError('not_found', `there is no source ${id}`, { id }))
    if (found.length === 0 && errors[0]) throw errors[0]
    return { found, errors }
  }

  api.post<{ Body: Item[] }>(
    '/gw/sources',
    {
      schema: {
        summary: 'Block or allow sources on every gateway, within two seconds',
        body: {
          type: 'array',
          minItems: 1,
          maxItems: 1_000,
          items: {
            type: 'object',
            required: ['source', 'list'],
            additionalProperties: false,
            properties: {
              source: { type: 'string', maxLength: 18, description: 'IPv4 address or network' },
              list: {
                enum: ['block', 'allow'],
                description: 'block: dropped before anything else; allow: passes all limits per source',
              },
              comment: { type: 'string', maxLength: 200, pattern: '^[^\\p{C}]*$' },
              ttl: { type: 'integer', minimum: 1, maximum: 315_360_000, description: 's; without: until removed' },
            },
          },
        },
      },
    },
    async (request, reply) => {
      asOperator(request)
      const { result, errors } = await eachItem(request.body, create)
      return envelope(reply, result, errors)
    },
  )

  api.get<Selected & { Querystring: { fields?: string } }>(
    '/gw/sources/:selector',
    {
      schema: {
        summary: 'Sources that are blocked or allowed',
        querystring: { type: 'object', additionalProperties: false, properties: { fields: fieldsQuery } },
      },
    },
    async (request, reply) => {
      const { found, errors } = await select(request)
      return envelope(
        reply,
        found.map((row) => pickFields(row, request.query.fields, answerFields)),
        errors,
      )
    },
  )

  api.delete<Selected>('/gw/sources/:selector', { schema: { summary: 'Remove sources' } }, async (request, reply) => {
    const { found, errors } = await select(request)
    const removed = await eachItem(found, async (row) => {
      await change(service, sourceTable, (query) => query('delete from sources where id = $1', [row.id]))
      announce(service, sourceTable, 'deleted', row)
      return { id: row.id }
    })
    return envelope(reply, removed.result, [...errors, ...removed.errors])
  })

  let lists: { at: number; answer: Promise<Record<Source['list'], string[]>> } | undefined
  async function read(): Promise<Record<Source['list'], string[]>> {
    const rows = await db.query<{ source: string; list: Source['list'] }>(
      'select source, list from sources where expires is null or expires > now() order by source',
    )
    const of = (list: Source['list']) => rows.filter((row) => row.list === list).map(({ source }) => source)
    return { block: of('block'), allow: of('allow') }
  }

  // Without a token, as the probes: a gateway, which stands in the wind, is to hold none that opens more than this.
  api.get('/lists', { schema: { hide: true } }, () => {
    const now = Date.now()
    if (lists === undefined || now - lists.at > lists_age_max_ms) {
      const answer = read()
      lists = { at: now, answer }
      answer.catch(() => {
        lists = undefined
      })
    }
    return lists.answer
  })
}
