import { ApiError } from '#services/common/errors.ts'
import { recordHash } from '#services/common/record-hash.ts'
import type { StoredRecord } from './engine.ts'

/** A record with more parameters is not a device's message. */
const parameters_max = 2_000
/** Bytes of one record as JSON: a picture's chunk fits, a film does not. */
const record_bytes_max = 256 * 1024
const name_length_max = 128
/** 2200-01-01 UTC: a later timestamp is a broken clock, not a time. */
export const timestamp_max = 7_258_118_400

export { recordHash }

/** Checks one record of a request. `place` (`[0].records[3]`) says which in the error. */
export function toStored(record: unknown, place: string): StoredRecord {
  const refuse = (reason: string) => new ApiError('malformed', `${place}${reason}`)
  if (typeof record !== 'object' || record === null || Array.isArray(record)) throw refuse(' must be an object')
  const fields = record as Record<string, unknown>
  const { timestamp } = fields
  if (typeof timestamp !== 'number') throw refuse('.timestamp is missing: a number, seconds since 1970 UTC')
  if (!(timestamp >= 0 && timestamp < timestamp_max))
    throw refuse(`.timestamp ${timestamp} is not between 1970 and 2200`)
  const names = Object.keys(fields)
  if (names.length > parameters_max) throw refuse(` has ${names.length} parameters, at most ${parameters_max}`)
  for (const name of names) {
    if (name.length === 0 || name.length > name_length_max) {
      throw refuse(
        `: the parameter name "${name.slice(0, 32)}…" has ${name.length} characters, at most ${name_length_max}`,
      )
    }
  }
  const json = Buffer.from(JSON.stringify(fields))
  if (json.length > record_bytes_max) throw refuse(` has ${json.length} bytes, at most ${record_bytes_max}`)
  return { timestamp, hash: recordHash(fields), json }
}
