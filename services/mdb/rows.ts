/** The compact binary body: containers' records on their way in and out. See docs/mdb-format.md. */

import { timestamp_max } from '#services/common/records.ts'
import { checkPage, DamagedError, type Message, openPage, type Page, sortRecords, summarise } from './page.ts'
import { encodeRowsPage } from './page-open.ts'

/** Content type of `encodeBody`. */
export const rows_type = 'application/vnd.milepost.rows'

/** The records of one container in a body. */
export interface Block {
  container: number
  /** Rows or a page: what `openPage` opens, and what a store may keep verbatim. */
  bytes: Uint8Array
}

/**
 * Rows: quick to make, self-contained, kept verbatim as a fresh page. Sorts, and drops what is there twice. `json_bytes`: bytes
 * of the records as JSON, if the caller knows and none is there twice. Throws TypeError as `encodePage` does.
 */
export function encodeRows(records: readonly Message[], json_bytes?: number): Buffer {
  return encodeRowsPage(sortRecords(records), json_bytes)
}

const body_magic = 0x4d444242
const body_version = 1
const body_head_bytes = 8
const frame_bytes = 8

/** A body of any number of containers' blocks. */
export function encodeBody(blocks: readonly Block[]): Buffer {
  const size = blocks.reduce((sum, { bytes }) => sum + frame_bytes + bytes.length, body_head_bytes)
  const body = Buffer.alloc(size)
  body.writeUInt32BE(body_magic, 0)
  body[4] = body_version
  let at = body_head_bytes
  for (const { container, bytes } of blocks) {
    body.writeUInt32LE(container, at)
    body.writeUInt32LE(bytes.length, at + 4)
    body.set(bytes, at + frame_bytes)
    at += frame_bytes + bytes.length
  }
  return body
}

/** The blocks of a body, as views into it: their own checks come with `checkRows`. Throws `DamagedError`. */
export function decodeBody(body: Buffer): Block[] {
  if (body.length < body_head_bytes || body.readUInt32BE(0) !== body_magic)
    throw new DamagedError('not a body of rows: it does not begin with "MDBB"')
  if (body[4] !== body_version)
    throw new DamagedError(`a body of rows of version ${body[4]}: this reads ${body_version}`)
  const blocks: Block[] = []
  for (let at = body_head_bytes; at < body.length; ) {
    if (at + frame_bytes > body.length) throw new DamagedError(`block ${blocks.length} is cut off`)
    const end = at + frame_bytes + body.readUInt32LE(at + 4)
    if (end > body.length) throw new DamagedError(`block ${blocks.length} is cut off`)
    blocks.push({ container: body.readUInt32LE(at), bytes: body.subarray(at + frame_bytes, end) })
    at = end
  }
  return blocks
}

/** The longest name of a parameter; `toStored` holds records in JSON to the same. */
const name_length_max = 128

/**
 * Opens a block that came from outside: whole, in the order of (timestamp, hash), none twice, each value one that a record may
 * hold. Throws `DamagedError` that names the record or the parameter.
 */
export function checkRows(bytes: Uint8Array): Page {
  if (summarise(bytes).kind === 'bundle') throw new DamagedError('a bundle: send rows or columns')
  const page = openPage(bytes)
  if (!(page.from >= 0 && page.to < timestamp_max))
    throw new DamagedError(`timestamps from ${page.from} to ${page.to} are not between 1970 and 2200`)
  for (const name of page.parameters)
    if (name.length === 0 || name.length > name_length_max)
      throw new DamagedError(
        `the name "${name.slice(0, 32)}…" has ${name.length} characters, at most ${name_length_max}`,
      )
  checkPage(page)
  return page
}
