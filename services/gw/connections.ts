/** tg's REST: the connections of its devices, and commands that go out on them. */
import { type Api, envelope, fieldsQuery, pickFields } from '#services/common/api.ts'
import { ApiError } from '#services/common/errors.ts'
import { matches, missingIds, parseSelector } from '#services/common/selector.ts'
import { type AddressedCommand, commandSchema, type SentCommand } from './command.ts'
import type { Connection } from './connection.ts'

const conditionFields = [
  'id',
  'channel.id',
  'transport',
  'ident',
  'peer',
  'since',
  'last_data',
  'packets',
  'messages',
] as const
const answerFields = [...conditionFields, 'errors', 'pending', 'received_bytes', 'sent_bytes'] as const

export interface Connections {
  all(): Iterable<Connection>
  /** The newest connection of an ident on a channel. */
  byIdent(channel_id: number, ident: string): Connection | undefined
}

export function addConnections(api: Api, connections: Connections): void {
  function select(selectorText: string): { found: Connection[]; errors: ApiError[] } {
    const selector = parseSelector(selectorText)
    const found = [...connections.all()].filter((c) => matches(selector, c.describe(), conditionFields))
    const ids = found.map((c) => c.id)
    const errors = missingIds(selector, ids).map(
      (id) => new ApiError('not_found', `there is no connection ${id}`, { id }),
    )
    return { found, errors }
  }

  api.get<{ Params: { selector: string }; Querystring: { fields?: string } }>(
    '/gw/connections/:selector',
    {
      schema: {
        summary: 'Open connections of this process',
        querystring: { type: 'object', additionalProperties: false, properties: { fields: fieldsQuery } },
      },
    },
    (request, reply) => {
      const { found, errors } = select(request.params.selector)
      const list = found.map((c) => pickFields(c.describe(), request.query.fields, answerFields))
      return envelope(reply, list, errors)
    },
  )

  api.delete<{ Params: { selector: string } }>(
    '/gw/connections/:selector',
    { schema: { summary: 'Close connections' } },
    (request, reply) => {
      const { found, errors } = select(request.params.selector)
      for (const connection of found) connection.close('request')
      return envelope(
        reply,
        found.map(({ id }) => ({ id })),
        errors,
      )
    },
  )

  async function send(command: AddressedCommand, index: number): Promise<SentCommand & { item: number }> {
    const { channels, ident, name, parameters = {}, answer_timeout = 0 } = command
    for (const id of channels) {
      const connection = connections.byIdent(id, ident)
      if (!connection) continue
      const answer = await connection.command(name, parameters, answer_timeout * 1000, index)
      const { transport, peer } = connection
      return { item: index, 'channel.id': id, connection: connection.id, ident, transport, peer, name, answer }
    }
    throw new ApiError('not_found', `${ident} is not connected`, { id: index })
  }

  api.post<{ Body: AddressedCommand[] }>(
    '/gw/commands',
    {
      schema: {
        summary: 'Sends commands to devices that are connected to this process',
        body: {
          type: 'array',
          minItems: 1,
          items: {
            type: 'object',
            required: ['channels', 'ident', 'name'],
            additionalProperties: false,
            properties: {
              ...commandSchema,
              channels: { type: 'array', items: { type: 'integer' } },
              ident: { type: 'string' },
            },
          },
        },
      },
    },
    async (request, reply) => {
      // Side by side: each may wait for its device.
      const settled = await Promise.allSettled(request.body.map(send))
      const errors = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
      const unknown = errors.find((error) => !(error instanceof ApiError))
      if (unknown) throw unknown
      const result = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
      return envelope(reply, result, errors)
    },
  )
}
