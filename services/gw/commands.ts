/** Commands for devices: tgctl asks every tg, the one that has the device's connection sends. */
import type { FastifyRequest } from 'fastify'
import { envelope } from '#services/common/api.ts'
import { call } from '#services/common/client.ts'
import { ApiError } from '#services/common/errors.ts'
import { channelTable } from './channels.ts'
import { type Selected, type Service, select } from './collection.ts'
import { type AddressedCommand, type Command, commandSchema, type SentCommand } from './command.ts'
import { deviceTable } from './devices.ts'
import type { Channel, Device } from './model.ts'

const tg_time_max_ms = 3_000
const commands_max = 1_000
/** Adds the REST of commands. */
export function addCommands(service: Service): void {
  const { api, config, db } = service

  /** Result of each command in order, or why it was not sent. */
  async function send(commands: AddressedCommand[], request: FastifyRequest): Promise<(SentCommand | ApiError)[]> {
    const results = commands.map(
      ({ ident }): SentCommand | ApiError => new ApiError('not_found', `ident: ${ident} is not connected`),
    )
    const longest = Math.max(...commands.map(({ answer_timeout = 0 }) => answer_timeout))
    await Promise.all(
      config.urls.tg.map(async (url) => {
        const options = {
          token: config.internal_token,
          requestId: request.id,
          body: commands,
          timeout_ms: tg_time_max_ms + longest * 1000,
        }
        try {
          const answer = await call<SentCommand & { item: number }>('POST', `${url}/gw/commands`, options)
          for (const { item, ...sent } of answer.result) results[item] = sent
          for (const { id, code, reason } of answer.errors)
            if (code === 1001 && typeof id === 'number') results[id] = new ApiError('malformed', reason)
        } catch (error) {
          if (!(error instanceof ApiError)) throw error
          // A device may be connected there.
          for (const [item, result] of results.entries())
            if (result instanceof ApiError && result.kind === 'not_found') results[item] = error
        }
      }),
    )
    return results
  }

  api.post<Selected & { Body: (Command & { ident: string })[] }>(
    '/gw/channels/:selector/commands',
    {
      schema: {
        summary: 'Send commands to connected devices of channels, by ident',
        body: {
          type: 'array',
          minItems: 1,
          maxItems: commands_max,
          items: {
            type: 'object',
            required: ['ident', 'name'],
            additionalProperties: false,
            properties: { ...commandSchema, ident: { type: 'string', minLength: 1, maxLength: 64 } },
          },
        },
      },
    },
    async (request, reply) => {
      const { found, errors } = await select<Channel>(service, channelTable, request)
      const channels = found.map(({ id }) => id)
      const sent = await send(
        request.body.map((command) => ({ ...command, channels })),
        request,
      )
      return envelope(
        reply,
        sent.filter((one) => !(one instanceof ApiError)),
        [...errors, ...sent.filter((one) => one instanceof ApiError)],
      )
    },
  )

  api.post<Selected & { Body: Command[] }>(
    '/gw/devices/:selector/commands',
    {
      schema: {
        summary: 'Send commands to devices that are connected now',
        body: {
          type: 'array',
          minItems: 1,
          maxItems: commands_max,
          items: { type: 'object', required: ['name'], additionalProperties: false, properties: commandSchema },
        },
      },
    },
    async (request, reply) => {
      const { found, errors } = await select<Device>(service, deviceTable, request)
      const count = found.length * request.body.length
      if (count > commands_max)
        throw new ApiError('malformed', `${count} commands at once, at most ${commands_max}: select fewer devices`)
      if (count === 0) return envelope(reply, [], errors)
      const rows = await db.query<{ id: number; account_id: number }>('select id, account_id from channels')
      const channels = Map.groupBy(rows, (row) => row.account_id)
      const targets = found.flatMap((device) => request.body.map((command) => ({ device, command })))
      const sent = await send(
        targets.map(({ device: { account_id, ident }, command }) => ({
          ...command,
          ident,
          channels: (channels.get(account_id) ?? []).map(({ id }) => id),
        })),
        request,
      )
      const result: (SentCommand & { 'device.id': number })[] = []
      for (const [i, one] of sent.entries()) {
        const { id } = targets[i]!.device
        if (one instanceof ApiError) errors.push(new ApiError(one.kind, one.message, { id }))
        else result.push({ 'device.id': id, ...one })
      }
      return envelope(reply, result, errors)
    },
  )
}
