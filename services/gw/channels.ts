import type { FastifyRequest } from 'fastify'
import { protocolNames, protocols } from '#pvm/index.ts'
import { root_account } from '#services/common/acl.ts'
import { eachItem, envelope, fieldsQuery, pickFields } from '#services/common/api.ts'
import { call } from '#services/common/client.ts'
import { ApiError } from '#services/common/errors.ts'
import {
  announce,
  change,
  checkLimit,
  nameSchema,
  type Query,
  recordsQuery,
  type Selected,
  type Service,
  select,
  sendRecords,
  type Table,
  ttlSchema,
  update,
} from './collection.ts'
import type { Channel } from './model.ts'

const device_ports_default = [7100, 7999]
/** Events of channels are kept for a month. */
const log_ttl_s = 30 * 86_400
const tg_time_max_ms = 3_000

const fields = [
  'id',
  'account_id',
  'name',
  'protocol',
  'port',
  'policy',
  'enabled',
  'idle_timeout',
  'login_timeout',
  'connections_max',
  'connections_per_peer_max',
  'messages_ttl',
  'container_id',
  'log_container_id',
] as const
const answerFields = [...fields, 'created', 'blocked'] as const

export const channelTable: Table = {
  name: 'channels',
  columns: `${fields.join(', ')}, extract(epoch from created)::float8 as created`,
  fields,
}

const properties = {
  name: nameSchema,
  protocol: { type: 'string', minLength: 1, maxLength: 64 },
  port: { type: 'integer', minimum: 1, maximum: 65_535 },
  policy: { type: 'string', enum: ['open', 'registered'] },
  enabled: { type: 'boolean' },
  idle_timeout: { type: 'integer', minimum: 1, maximum: 86_400, description: 's of silence' },
  login_timeout: { type: 'integer', minimum: 1, maximum: 3_600, description: 's to the first whole packet' },
  connections_max: { type: 'integer', minimum: 1, maximum: 1_000_000 },
  connections_per_peer_max: { type: 'integer', minimum: 1, maximum: 1_000_000 },
  messages_ttl: ttlSchema,
} as const

type Editable = Pick<Channel, keyof typeof properties>

const defaults: Omit<Editable, 'name' | 'protocol' | 'port'> = {
  policy: 'open',
  enabled: true,
  idle_timeout: 600,
  login_timeout: 30,
  connections_max: 20_000,
  connections_per_peer_max: 10_000,
  messages_ttl: 0,
}

/** Changes of single letters that make one word of another. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + same))
    }
    row = next
  }
  return row[b.length] ?? 0
}

function checkProtocol(name: string): void {
  const names = protocolNames()
  if (names.includes(name)) return
  const near = names.sort((a, b) => distance(name, a) - distance(name, b)).slice(0, 5)
  throw new ApiError('malformed', `protocol: there is no "${name}"; near it: ${near.join(', ')}`)
}

/** Adds the REST of channels. */
export function addChannels(service: Service): void {
  const { api, db, config, containers } = service
  const [port_min = 0, port_max = 0] = (config.options.device_ports as number[] | undefined) ?? device_ports_default

  /** The port asked for if it may be had, else the first free one. */
  async function choosePort(query: Query, wanted: number | undefined, except = 0): Promise<number> {
    if (wanted === undefined) {
      const [free] = await query<{ port: number }>(
        `select p as port from generate_series($1::int, $2::int) p
         where not exists (select from channels where channels.port = p) order by p limit 1`,
        [port_min, port_max],
      )
      if (!free) throw new ApiError('conflict', `port: all of ${port_min}–${port_max} are taken`)
      return free.port
    }
    if (wanted < port_min || wanted > port_max)
      throw new ApiError('malformed', `port: ${wanted} is not between ${port_min} and ${port_max}`)
    const taken = await query('select 1 from channels where port = $1 and id <> $2', [wanted, except])
    if (taken.length > 0) throw new ApiError('conflict', `port: ${wanted} is taken by another channel`)
    return wanted
  }

  async function checkName(query: Query, account: number, name: string, except = 0): Promise<void> {
    const [taken] = await query<{ id: number }>(
      'select id from channels where account_id = $1 and name = $2 and id <> $3',
      [account, name, except],
    )
    if (taken) throw new ApiError('conflict', `name: a channel "${name}" exists`, { id: taken.id })
  }

  const plain: Query = (sql, values) => db.query(sql, values)

  async function create(item: Partial<Editable> & { protocol: string }, request: FastifyRequest): Promise<Channel> {
    const account = request.account ?? root_account
    checkProtocol(item.protocol)
    const check = async (query: Query) => {
      await checkLimit(query, channelTable, account, request.limits)
      if (item.name !== undefined) await checkName(query, account, item.name)
      return choosePort(query, item.port)
    }
    // Before containers are made for nothing, and again in the transaction.
    await check(plain)
    const [next] = await db.query<{ id: number }>(`select nextval(pg_get_serial_sequence('channels', 'id')) as id`)
    const id = next?.id ?? 0
    const row = { ...defaults, name: `${item.protocol} ${id}`, ...item }
    const [container_id = 0, log_container_id = 0] = await containers.create(account, [
      { name: `gw.channels.${id}.messages`, ttl: row.messages_ttl },
      { name: `gw.channels.${id}.logs`, ttl: log_ttl_s },
    ])
    try {
      const channel = await change(service, channelTable, async (query) => {
        const port = await check(query)
        const values = { ...row, id, account_id: account, port, container_id, log_container_id }
        const [made] = await query<Channel & Record<string, unknown>>(
          `insert into channels (${fields.join(', ')}) values (${fields.map((_, i) => `$${i + 1}`).join(', ')})
           returning ${channelTable.columns}`,
          fields.map((name) => values[name]),
        )
        return made as Channel
      })
      announce(service, channelTable, 'created', channel)
      return { ...channel, blocked: null }
    } catch (error) {
      await containers.discard([container_id, log_container_id])
      throw error
    }
  }

  async function edit(channel: Channel, set: Partial<Editable>): Promise<Channel> {
    if (set.protocol !== undefined) checkProtocol(set.protocol)
    if (set.messages_ttl !== undefined) await containers.setTtl(channel.container_id, set.messages_ttl)
    const edited = await change(service, channelTable, async (query) => {
      if (set.name !== undefined) await checkName(query, channel.account_id, set.name, channel.id)
      if (set.port !== undefined) await choosePort(query, set.port, channel.id)
      return update<Channel>(query, channelTable, channel.id, set as Record<string, unknown>)
    })
    announce(service, channelTable, 'updated', edited)
    return { ...edited, blocked: channel.blocked }
  }

  async function selected(request: FastifyRequest<Selected>) {
    const { found, errors } = await select<Channel>(service, channelTable, request)
    const blocked = new Map((await service.accounts.blocked()).map((b) => [b.account_id, b.reason]))
    return { found: found.map((c) => ({ ...c, blocked: blocked.get(c.account_id) ?? null })), errors }
  }

  api.post<{ Body: (Partial<Editable> & { protocol: string })[] }>(
    '/gw/channels',
    {
      schema: {
        summary: 'Create channels: ports that devices connect to',
        body: {
          type: 'array',
          minItems: 1,
          maxItems: 1_000,
          items: { type: 'object', required: ['protocol'], additionalProperties: false, properties },
        },
      },
    },
    async (request, reply) => {
      const { result, errors } = await eachItem(request.body, (item) => create(item, request))
      return envelope(reply, result, errors)
    },
  )

  api.get<Selected & { Querystring: { fields?: string } }>(
    '/gw/channels/:selector',
    {
      schema: {
        summary: 'Channels',
        querystring: { type: 'object', additionalProperties: false, properties: { fields: fieldsQuery } },
      },
    },
    async (request, reply) => {
      const { found, errors } = await selected(request)
      return envelope(
        reply,
        found.map((channel) => pickFields(channel, request.query.fields, answerFields)),
        errors,
      )
    },
  )

  api.put<Selected & { Body: Partial<Editable> }>(
    '/gw/channels/:selector',
    {
      schema: {
        summary: 'Edit channels',
        body: { type: 'object', additionalProperties: false, minProperties: 1, properties },
      },
    },
    async (request, reply) => {
      const { found, errors } = await selected(request)
      const edited = await eachItem(found, (channel) => edit(channel, request.body))
      return envelope(reply, edited.result, [...errors, ...edited.errors])
    },
  )

  api.delete<Selected>(
    '/gw/channels/:selector',
    { schema: { summary: 'Remove channels, with their messages and logs' } },
    async (request, reply) => {
      const { found, errors } = await select<Channel>(service, channelTable, request)
      for (const channel of found) {
        await change(service, channelTable, async (query) => {
          await query('delete from channels where id = $1', [channel.id])
          await containers.discard([channel.container_id, channel.log_container_id], query)
        })
        announce(service, channelTable, 'deleted', channel)
      }
      void containers.sweep()
      return envelope(
        reply,
        found.map(({ id }) => ({ id })),
        errors,
      )
    },
  )

  for (const [name, column, summary] of [
    ['messages', 'container_id', 'Messages of channels by time'],
    ['logs', 'log_container_id', 'Events of channels by time'],
  ] as const) {
    api.get<Selected>(
      `/gw/channels/:selector/${name}`,
      { schema: { summary, querystring: recordsQuery } },
      async (request, reply) => {
        const { found } = await select<Channel>(service, channelTable, request)
        const ids = found.map((channel) => channel[column])
        return sendRecords(service, request, reply, ids)
      },
    )
  }

  /** Asks every tg; one that is away is an error of the answer, not of the call. */
  async function connections(method: 'GET' | 'DELETE', request: FastifyRequest<Selected>) {
    const { found, errors } = await select<Channel>(service, channelTable, request)
    const result: Record<string, unknown>[] = []
    for (const url of config.urls.tg) {
      const asked = await eachItem(found, (channel) =>
        call(method, `${url}/gw/connections/channel.id=${channel.id}`, {
          token: config.internal_token,
          requestId: request.id,
          timeout_ms: tg_time_max_ms,
        }),
      )
      for (const answer of asked.result) result.push(...answer.result)
      if (asked.errors[0]) errors.push(asked.errors[0])
    }
    return { result, errors }
  }

  api.get<Selected>(
    '/gw/channels/:selector/connections',
    { schema: { summary: 'Open connections of devices' } },
    async (request, reply) => {
      const { result, errors } = await connections('GET', request)
      return envelope(reply, result, errors)
    },
  )
  api.delete<Selected>(
    '/gw/channels/:selector/connections',
    { schema: { summary: 'Close the connections of devices' } },
    async (request, reply) => {
      const { result, errors } = await connections('DELETE', request)
      return envelope(reply, result, errors)
    },
  )

  api.get('/gw/protocols', { schema: { summary: 'Protocols that a channel can speak' } }, () => ({
    result: protocols(),
  }))
}
