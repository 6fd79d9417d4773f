/** What a record may be. */

import { ApiError } from '#services/common/errors.ts'
import { timestamp_max } from '#services/common/records.ts'
import type { Append } from './engine-sift.ts'
import { DamagedError, type Message, openPage, type Page } from './page.ts'
import { checkRows, encodeRows } from './rows.ts'

/** A record with more parameters is not a device's message. */
export const parameters_max = 2_000
/** Bytes of one record as JSON: a picture's chunk fits, a film does not. */
export const record_bytes_max = 256 * 1024
export const name_length_max = 128
/** Names of parameters in one block of rows: many devices' records of one channel. */
const block_parameters_max = 20_000

export { recordHash } from '#services/common/record-hash.ts'

const refuse = (reason: string) => new ApiError('malformed', reason)

/** Checks one record of a request. `place` (`[0].records[3]`) says which in the error. Timestamps are kept to the µs. */
export function checkRecord(record: unknown, place: string): Message {
  if (typeof record !== 'object' || record === null || Array.isArray(record))
    throw refuse(`${place} must be an object of parameters`)
  const fields = record as Message
  const { timestamp } = fields
  if (typeof timestamp !== 'number') throw refuse(`${place}.timestamp is missing: a number, seconds since 1970 UTC`)
  checkTimestamp(timestamp, place)
  const names = Object.keys(fields)
  if (names.length > parameters_max)
    throw refuse(`${place} has ${names.length} parameters, at most ${parameters_max}: send several records`)
  let size = 0
  for (const name of names) {
    checkName(name, place)
    const value = fields[name]
    if (typeof value === 'string') size += value.length
    else if (typeof value === 'object') size += 1
  }
  const rounded = Math.round(timestamp * 1e6) / 1e6
  if (rounded !== timestamp) fields.timestamp = rounded
  // Most records need no second look: numbers and short strings.
  if (size + names.length * (name_length_max + 30) > record_bytes_max || hasObjects(fields, names)) {
    const bytes = Buffer.byteLength(JSON.stringify(fields))
    if (bytes > record_bytes_max) throw refuse(`${place} has ${bytes} bytes, at most ${record_bytes_max}`)
  }
  return fields
}

function hasObjects(fields: Message, names: string[]): boolean {
  return names.some((name) => typeof fields[name] === 'object' && fields[name] !== null)
}

function checkTimestamp(timestamp: number, place: string): void {
  if (timestamp >= 0 && timestamp < timestamp_max) return
  throw refuse(`${place}.timestamp ${timestamp} is not between 1970 and 2200: seconds since 1970 UTC, not ms`)
}

function checkName(name: string, place: string): void {
  if (name.length === 0) throw refuse(`${place} has a parameter with an empty name`)
  if (name === '__proto__') throw refuse(`${place}: "__proto__" is no name of a parameter`)
  if (name.length > name_length_max) {
    const much = `${name.length} characters, at most ${name_length_max}`
    throw refuse(`${place}: the parameter name "${name.slice(0, 32)}…" has ${much}`)
  }
}

/** Checked records of a request as an append. */
export function toAppend(container: number, records: readonly unknown[], place: string): Append | undefined {
  if (records.length === 0) return undefined
  const bytes = encodeRows(records.map((record, i) => checkRecord(record, `${place}[${i}]`)))
  return { container, page: openPage(bytes), bytes, sent: records.length }
}

/** Lists of names that were found to be good. */
const checked = new WeakSet<readonly string[]>()

/** A block of a binary body as an append. Other bytes than those of rows: `malformed`, with what is wrong. */
export function blockToAppend(container: number, bytes: Buffer, place: string): Append {
  let page: Page
  try {
    page = checkRows(bytes)
  } catch (error) {
    if (error instanceof DamagedError) throw refuse(`${place}: ${error.message}`)
    throw error
  }
  checkTimestamp(page.from, `${place}: the first record`)
  checkTimestamp(page.to, `${place}: the last record`)
  if (page.parameters.length > block_parameters_max)
    throw refuse(`${place} has ${page.parameters.length} names of parameters, at most ${block_parameters_max}`)
  // Blocks of a fleet share their lists of names.
  if (!checked.has(page.parameters)) {
    for (const name of page.parameters) checkName(name, place)
    checked.add(page.parameters)
  }
  if (page.json_bytes > page.records * record_bytes_max)
    throw refuse(`${place}: records have ${record_bytes_max} bytes at most`)
  return { container, page, bytes, sent: page.records }
}
