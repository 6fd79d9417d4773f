/** How records are asked for by REST, the same of MDB and of the archive. */
import { ApiError } from './errors.ts'

/** Latest timestamp of a record, excluded: 2200-01-01 UTC, s since 1970. */
export const timestamp_max = 7_258_118_400
/** Records of one answer when `count` does not say otherwise. */
export const count_default = 1_000
const count_max = 100_000_000

export const fromQuery = { type: 'number', minimum: 0, description: 's since 1970, included' } as const
export const toQuery = { type: 'number', minimum: 0, description: 's since 1970, excluded' } as const

export interface RecordsQuery {
  from?: number
  to?: number
  count?: number
  reverse?: boolean
  fields?: string
  every?: number
}

export const recordsQuery = {
  type: 'object',
  additionalProperties: false,
  properties: {
    from: fromQuery,
    to: toQuery,
    count: {
      type: 'integer',
      minimum: 1,
      maximum: count_max,
      description: `records at most; ${count_default} if absent, all in an answer of rows`,
    },
    reverse: { type: 'boolean', default: false, description: 'newest first' },
    fields: {
      type: 'string',
      maxLength: 20_000,
      description: 'only these parameters, comma separated; timestamp comes anyway',
    },
    every: {
      type: 'number',
      exclusiveMinimum: 0,
      description: 'only the first record of each period of so many seconds, of each container',
    },
  },
} as const

/** A time range within what there can be. */
export function toRange({ from = 0, to = timestamp_max }: { from?: number; to?: number }): {
  from: number
  to: number
} {
  if (from > to) throw new ApiError('malformed', `from ${from} is after to ${to}`)
  return { from, to: Math.min(to, timestamp_max) }
}

/** Names of parameters, comma separated. */
export const toFields = (fields?: string): string[] | undefined => fields?.split(',').filter(Boolean)
