import type { FastifyRequest } from 'fastify'
import { root_account } from '#services/common/acl.ts'
import { eachItem, envelope, fieldsQuery, pickFields } from '#services/common/api.ts'
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
import type { Device } from './model.ts'

const fields = ['id', 'account_id', 'name', 'ident', 'type', 'messages_ttl', 'container_id'] as const
const answerFields = [...fields, 'created'] as const

export const deviceTable: Table = {
  name: 'devices',
  columns: `${fields.join(', ')}, extract(epoch from created)::float8 as created`,
  fields,
}

const properties = {
  name: nameSchema,
  ident: {
    type: 'string',
    minLength: 1,
    maxLength: 64,
    // It becomes a level of MQTT topics and a part of paths.
    pattern: '^[^#+/\\p{C}]+$',
    description: 'what the device logs in with: its IMEI or serial number; without # + /',
  },
  type: { anyOf: [nameSchema, { type: 'null' }] },
  messages_ttl: ttlSchema,
} as const

interface Editable {
  name?: string
  ident?: string
  type?: string | null
  messages_ttl?: number
}

/** Adds the REST of devices. */
export function addDevices(service: Service): void {
  const { api, db, containers } = service

  async function checkIdent(query: Query, account: number, ident: string, except = 0): Promise<void> {
    const [taken] = await query<{ id: number }>(
      'select id from devices where account_id = $1 and ident = $2 and id <> $3',
      [account, ident, except],
    )
    if (taken) throw new ApiError('conflict', `ident: a device "${ident}" exists`, { id: taken.id })
  }

  const plain: Query = (sql, values) => db.query(sql, values)

  async function create(item: Editable & { ident: string }, request: FastifyRequest): Promise<Device> {
    const account = request.account ?? root_account
    const check = async (query: Query) => {
      await checkLimit(query, deviceTable, account, request.limits)
      await checkIdent(query, account, item.ident)
    }
    // Before a container is made for nothing, and again in the transaction.
    await check(plain)
    const [next] = await db.query<{ id: number }>(`select nextval(pg_get_serial_sequence('devices', 'id')) as id`)
    const id = next?.id ?? 0
    const row = { name: item.ident, type: null, messages_ttl: 0, ...item }
    const [container_id = 0] = await containers.create(account, [
      { name: `gw.devices.${id}.messages`, ttl: row.messages_ttl },
    ])
    try {
      const device = await change(service, deviceTable, async (query) => {
        await check(query)
        const [made] = await query<Device & Record<string, unknown>>(
          `insert into devices (id, account_id, name, ident, type, messages_ttl, container_id)
           values ($1, $2, $3, $4, $5, $6, $7) returning ${deviceTable.columns}`,
          [id, account, row.name, row.ident, row.type, row.messages_ttl, container_id],
        )
        return made as Device
      })
      announce(service, deviceTable, 'created', device)
      return device
    } catch (error) {
      await containers.discard([container_id])
      throw error
    }
  }

  async function edit(device: Device, set: Editable): Promise<Device> {
    if (set.messages_ttl !== undefined) await containers.setTtl(device.container_id, set.messages_ttl)
    const edited = await change(service, deviceTable, async (query) => {
      if (set.ident !== undefined) await checkIdent(query, device.account_id, set.ident, device.id)
      return update<Device>(query, deviceTable, device.id, set as Record<string, unknown>)
    })
    announce(service, deviceTable, 'updated', edited)
    return edited
  }

  api.post<{ Body: (Editable & { ident: string })[] }>(
    '/gw/devices',
    {
      schema: {
        summary: 'Register devices',
        body: {
          type: 'array',
          minItems: 1,
          maxItems: 1_000,
          items: { type: 'object', required: ['ident'], additionalProperties: false, properties },
        },
      },
    },
    async (request, reply) => {
      const { result, errors } = await eachItem(request.body, (item) => create(item, request))
      return envelope(reply, result, errors)
    },
  )

  api.get<Selected & { Querystring: { fields?: string } }>(
    '/gw/devices/:selector',
    {
      schema: {
        summary: 'Devices',
        querystring: { type: 'object', additionalProperties: false, properties: { fields: fieldsQuery } },
      },
    },
    async (request, reply) => {
      const { found, errors } = await select<Device>(service, deviceTable, request)
      return envelope(
        reply,
        found.map((device) => pickFields(device, request.query.fields, answerFields)),
        errors,
      )
    },
  )

  api.put<Selected & { Body: Editable }>(
    '/gw/devices/:selector',
    {
      schema: {
        summary: 'Edit devices',
        body: { type: 'object', additionalProperties: false, minProperties: 1, properties },
      },
    },
    async (request, reply) => {
      const { found, errors } = await select<Device>(service, deviceTable, request)
      const edited = await eachItem(found, (device) => edit(device, request.body))
      return envelope(reply, edited.result, [...errors, ...edited.errors])
    },
  )

  api.delete<Selected>(
    '/gw/devices/:selector',
    { schema: { summary: 'Remove devices, with their messages' } },
    async (request, reply) => {
      const { found, errors } = await select<Device>(service, deviceTable, request)
      for (const device of found) {
        await change(service, deviceTable, async (query) => {
          await query('delete from devices where id = $1', [device.id])
          await containers.discard([device.container_id], query)
        })
        announce(service, deviceTable, 'deleted', device)
      }
      void containers.sweep()
      return envelope(
        reply,
        found.map(({ id }) => ({ id })),
        errors,
      )
    },
  )

  api.get<Selected>(
    '/gw/devices/:selector/messages',
    { schema: { summary: 'Messages of devices by time', querystring: recordsQuery } },
    async (request, reply) => {
      const { found } = await select<Device>(service, deviceTable, request)
      const ids = found.map((device) => device.container_id)
      return sendRecords(service, request, reply, ids)
    },
  )
}
