/** A command for a device, as tgctl passes it on to tg. */

/** A command's answer may be waited for so long (s): what PROD waits for an answer of ours is more. */
export const answer_timeout_max = 20
/** Parameters of one command, and what each may be. */
const parameters_max = 32
const parameter_length_max = 4_096

export interface Command {
  /** As `/gw/protocols` names it. */
  name: string
  parameters?: Record<string, string | number>
  /** s to wait for the device's answer; 0: not at all. */
  answer_timeout?: number
}

/** To the newest connection of an ident on one of these channels. */
export interface AddressedCommand extends Command {
  channels: number[]
  ident: string
}

export interface SentCommand {
  'channel.id': number
  connection: number
  ident: string
  transport: string
  peer: string
  name: string
  /** What the device said; null: nothing in time. */
  answer: string | null
}

export const commandSchema = {
  name: { type: 'string', minLength: 1, maxLength: 64 },
  parameters: {
    type: 'object',
    maxProperties: parameters_max,
    additionalProperties: { anyOf: [{ type: 'number' }, { type: 'string', maxLength: parameter_length_max }] },
  },
  answer_timeout: { type: 'number', minimum: 0, maximum: answer_timeout_max, description: 's; 0: does not wait' },
} as const
