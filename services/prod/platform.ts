import { randomBytes } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { type AclRule, root_account } from '#services/common/acl.ts'
import { type Api, eachItem, envelope, fieldsQuery, pickFields } from '#services/common/api.ts'
import { mustCall } from '#services/common/client.ts'
import { type Db, isUniqueViolation } from '#services/common/db.ts'
import { ApiError } from '#services/common/errors.ts'
import { missingIds, parseSelector, type Selector, toSql } from '#services/common/selector.ts'
import { type Authority, grants, hashOf } from './authority.ts'
import { aclSchema, limitsSchema } from './schema.ts'

const accountFields = ['id', 'parent_id', 'name', 'limits', 'blocked', 'created'] as const
const tokenFields = ['id', 'account_id', 'name', 'acl', 'expires', 'created', 'last_used'] as const
const counterFields = ['id', 'account_id', 'day', 'requests', 'bytes_in', 'bytes_out'] as const

const token_bytes = 32
const items_max = 1_000

interface Account {
  id: number
  parent_id: number | null
  name: string
  limits: Record<string, number>
  blocked: boolean
}

interface Token {
  id: number
  account_id: number
  name: string
  acl: AclRule[]
  expires: number | null
}

type NewAccount = { name: string; parent_id?: number; limits?: Record<string, number>; blocked?: boolean }
type NewToken = { name: string; account_id?: number; acl: AclRule[]; expires?: number | null }
type Selected = { Params: { selector: string } }
type Listed = Selected & { Querystring: { fields?: string } }

const name = { type: 'string', minLength: 1, maxLength: 200 } as const
const blocked = { type: 'boolean', description: 'its tokens, and those of accounts below it, are refused' } as const
const expires = { type: ['number', 'null'], minimum: 0, description: 's since 1970 UTC; null: never' } as const
const listQuery = { type: 'object', additionalProperties: false, properties: { fields: fieldsQuery } } as const

const arrayOf = (required: string[], properties: object) => ({
  type: 'array',
  minItems: 1,
  maxItems: items_max,
  items: { type: 'object', additionalProperties: false, required, properties },
})
const edit = (properties: object) => ({ type: 'object', additionalProperties: false, minProperties: 1, properties })

/** SQL that holds for account ids at and below `$1`; an internal caller (null) sees all. */
const visible = (column: string) => `($1::bigint is null or ${column} in (
  with recursive down as (select id from accounts where id = $1 union all select a.id from accounts a join down on a.parent_id = down.id)
  select id from down))`

export interface PlatformOptions {
  db: Db
  authority: Authority
  /** tgctl, asked before an account is removed. */
  gw: string
  internalToken: string
}

/** Adds `/platform`: accounts, tokens, counters. */
export function addPlatform(app: Api, options: PlatformOptions): void {
  const { db, authority } = options

  async function select<T extends { id: number }>(
    table: 'accounts' | 'tokens' | 'counters',
    fields: readonly string[],
    request: FastifyRequest<Selected>,
  ): Promise<{ found: T[]; errors: ApiError[] }> {
    const { selector: text } = request.params
    const current = table === 'tokens' && text === 'current'
    if (current && !request.caller) throw new ApiError('not_found', 'the internal token is not among the tokens')
    const selector: Selector = current ? { kind: 'ids', ids: [request.caller!.token] } : parseSelector(text)
    const { where, values } = toSql(selector, fields, 1)
    const columns = fields.map((field) => `"${field}"`).join(', ')
    const owner = table === 'accounts' ? 'id' : 'account_id'
    const found = await db.query<T & Record<string, unknown>>(
      `select ${columns} from ${table} where ${visible(owner)} and (${where}) order by id`,
      [request.account ?? null, ...values],
    )
    const missing = missingIds(
      selector,
      found.map((item) => item.id),
    )
    const what = table.slice(0, -1)
    return { found, errors: missing.map((id) => new ApiError('not_found', `there is no ${what} ${id}`, { id })) }
  }

  /** Throws unless the caller may act for this account; returns it. */
  async function seen(request: FastifyRequest, id: number): Promise<Account> {
    const [account] = await db.query<Account & Record<string, unknown>>(
      `select ${accountFields.join(', ')} from accounts where ${visible('id')} and id = $2`,
      [request.account ?? null, id],
    )
    if (!account) throw new ApiError('not_found', `account_id: there is no account ${id}`, { id })
    return account
  }

  /** A parent gives at most what it has; what is not said is taken over from it. */
  function bounded(limits: Record<string, number>, parent: Record<string, number>): Record<string, number> {
    for (const [limit, most] of Object.entries(parent)) {
      if ((limits[limit] ?? most) > most) throw new ApiError('forbidden', `limits.${limit}: at most ${most} here`)
    }
    return { ...parent, ...limits }
  }

  function checkGrant(request: FastifyRequest, token: { acl?: AclRule[]; expires?: number | null }, id?: number) {
    const details = id === undefined ? {} : { id }
    if (request.caller && token.acl && !grants(token.acl, request.caller.acl)) {
      throw new ApiError('forbidden', "acl: a token cannot grant more than the caller's own", details)
    }
    const own = request.caller?.expires ?? null
    if (own !== null && token.expires !== undefined && (token.expires === null || token.expires > own)) {
      throw new ApiError('forbidden', `expires: at most ${own}, when the caller's own token ends`, details)
    }
  }

  const conflict = (error: unknown, what: string): never => {
    throw isUniqueViolation(error) ? new ApiError('conflict', what) : error
  }

  app.get<Listed>(
    '/platform/accounts/:selector',
    { schema: { summary: 'The own account and those below it', querystring: listQuery } },
    async (request, reply) => {
      const { found, errors } = await select<Account>('accounts', accountFields, request)
      return envelope(
        reply,
        found.map((item) => pickFields(item, request.query.fields, accountFields)),
        errors,
      )
    },
  )

  app.post<{ Body: NewAccount[] }>(
    '/platform/accounts',
    {
      schema: {
        summary: 'Create accounts below an own one',
        body: arrayOf(['name'], { name, parent_id: { type: 'integer' }, limits: limitsSchema, blocked }),
      },
    },
    async (request, reply) => {
      const { result, errors } = await eachItem(request.body, async (item) => {
        const parent = await seen(request, item.parent_id ?? request.account ?? root_account)
        const limits = bounded(item.limits ?? {}, parent.limits)
        return db
          .transaction(async (query) => {
            await query('select 1 from accounts where id = $1 for update', [parent.id])
            const [children] = await query<{ n: number }>('select count(*) as n from accounts where parent_id = $1', [
              parent.id,
            ])
            if ((children?.n ?? 0) >= (parent.limits.accounts ?? Number.POSITIVE_INFINITY)) {
              throw new ApiError('limit', `limits.accounts: account ${parent.id} may have ${parent.limits.accounts}`)
            }
            const rows = await query(
              `insert into accounts (parent_id, name, limits, blocked) values ($1, $2, $3, $4) returning ${accountFields.join()}`,
              [parent.id, item.name, JSON.stringify(limits), item.blocked ?? false],
            )
            return rows[0]
          })
          .catch((error) => conflict(error, `name: there is an account "${item.name}" below account ${parent.id}`))
      })
      return envelope(reply, result, errors)
    },
  )

  app.put<Selected & { Body: Partial<NewAccount> }>(
    '/platform/accounts/:selector',
    { schema: { summary: 'Edit accounts', body: edit({ name, limits: limitsSchema, blocked }) } },
    async (request, reply) => {
      const { found, errors } = await select<Account>('accounts', accountFields, request)
      const { body } = request
      const edited = await eachItem(found, async (account) => {
        const { id } = account
        const own = id === request.account
        if (body.blocked && own) throw new ApiError('conflict', 'blocked: an account cannot block itself', { id })
        if (body.limits && own && id !== root_account) {
          throw new ApiError('forbidden', 'limits: only an account above sets them', { id })
        }
        let limits = body.limits
        if (limits && account.parent_id !== null) {
          const [parent] = await db.query<{ limits: Record<string, number> }>(
            'select limits from accounts where id = $1',
            [account.parent_id],
          )
          limits = bounded(limits, parent?.limits ?? {})
        }
        const rows = await db
          .query(
            `update accounts set name = coalesce($2, name), limits = coalesce($3, limits), blocked = coalesce($4, blocked)
             where id = $1 returning ${accountFields.join()}`,
            [id, body.name ?? null, limits ? JSON.stringify(limits) : null, body.blocked ?? null],
          )
          .catch((error) => conflict(error, `name: there is an account "${body.name}" beside account ${id}`))
        return rows[0]
      })
      authority.forget()
      return envelope(reply, edited.result, [...errors, ...edited.errors])
    },
  )

  app.delete<Selected>(
    '/platform/accounts/:selector',
    { schema: { summary: 'Remove empty accounts with their tokens' } },
    async (request, reply) => {
      const { found, errors } = await select<Account>('accounts', accountFields, request)
      // Those below go first, so that a whole branch can be removed in one call.
      const removed = await eachItem(found.reverse(), async ({ id }) => {
        if (id === root_account || id === request.account) {
          throw new ApiError('conflict', `account ${id} cannot remove itself`, { id })
        }
        for (const collection of ['channels', 'devices']) {
          const items = await mustCall('GET', `${options.gw}/gw/${collection}/all?fields=id`, {
            token: options.internalToken,
            account: id,
            requestId: request.id,
          })
          if (items.length > 0)
            throw new ApiError('conflict', `account ${id} has ${items.length} ${collection}`, { id })
        }
        await db.query('delete from accounts where id = $1', [id]).catch((error) => {
          if (error.code === '23503') throw new ApiError('conflict', `there are accounts below account ${id}`, { id })
          throw error
        })
        return { id }
      })
      authority.forget()
      return envelope(reply, removed.result, [...errors, ...removed.errors])
    },
  )

  app.get<Listed>(
    '/platform/tokens/:selector',
    { schema: { summary: 'Tokens without their secret; selector "current": the one in use', querystring: listQuery } },
    async (request, reply) => {
      const { found, errors } = await select<Token>('tokens', tokenFields, request)
      return envelope(
        reply,
        found.map((item) => pickFields(item, request.query.fields, tokenFields)),
        errors,
      )
    },
  )

  app.post<{ Body: NewToken[] }>(
    '/platform/tokens',
    {
      schema: {
        summary: 'Create tokens; "token" is shown in this answer only',
        body: arrayOf(['name', 'acl'], { name, account_id: { type: 'integer' }, acl: aclSchema, expires }),
      },
    },
    async (request, reply) => {
      const { result, errors } = await eachItem(request.body, async (item) => {
        const account = await seen(request, item.account_id ?? request.account ?? root_account)
        const wanted = { ...item, expires: item.expires ?? null }
        checkGrant(request, wanted)
        const token = randomBytes(token_bytes).toString('base64url')
        return db.transaction(async (query) => {
          await query('select 1 from accounts where id = $1 for update', [account.id])
          const [there] = await query<{ n: number }>('select count(*) as n from tokens where account_id = $1', [
            account.id,
          ])
          if ((there?.n ?? 0) >= (account.limits.tokens ?? Number.POSITIVE_INFINITY)) {
            throw new ApiError('limit', `limits.tokens: account ${account.id} may have ${account.limits.tokens}`)
          }
          const [row] = await query(
            `insert into tokens (account_id, name, hash, acl, expires) values ($1, $2, $3, $4, $5) returning ${tokenFields.join()}`,
            [account.id, item.name, hashOf(token), JSON.stringify(item.acl), wanted.expires],
          )
          return { ...row, token }
        })
      })
      return envelope(reply, result, errors)
    },
  )

  app.put<Selected & { Body: Partial<NewToken> }>(
    '/platform/tokens/:selector',
    { schema: { summary: 'Edit tokens', body: edit({ name, acl: aclSchema, expires }) } },
    async (request, reply) => {
      const { found, errors } = await select<Token>('tokens', tokenFields, request)
      const { body } = request
      const edited = await eachItem(found, async ({ id }) => {
        checkGrant(request, body, id)
        const rows = await db.query(
          `update tokens set name = coalesce($2, name), acl = coalesce($3, acl), expires = case when $4 then $5 else expires end
           where id = $1 returning ${tokenFields.join()}`,
          [
            id,
            body.name ?? null,
            body.acl ? JSON.stringify(body.acl) : null,
            body.expires !== undefined,
            body.expires ?? null,
          ],
        )
        return rows[0]
      })
      authority.forget()
      return envelope(reply, edited.result, [...errors, ...edited.errors])
    },
  )

  app.delete<Selected>(
    '/platform/tokens/:selector',
    { schema: { summary: 'Withdraw tokens, at once' } },
    async (request, reply) => {
      const { found, errors } = await select<Token>('tokens', tokenFields, request)
      const removed = await eachItem(found, async ({ id }) => {
        await db.query('delete from tokens where id = $1', [id])
        return { id }
      })
      authority.forget()
      return envelope(reply, removed.result, [...errors, ...removed.errors])
    },
  )

  app.get<Listed>(
    '/platform/counters/:selector',
    {
      schema: {
        summary: 'Requests and bytes per account and UTC day',
        querystring: listQuery,
      },
    },
    async (request, reply) => {
      const { found, errors } = await select<{ id: number }>('counters', counterFields, request)
      return envelope(
        reply,
        found.map((item) => pickFields(item, request.query.fields, counterFields)),
        errors,
      )
    },
  )
}
