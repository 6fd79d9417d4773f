import { DamagedError, encodePage, type Message, openPage, type Page, sortRecords } from './page.ts'

/** Content type of the compact body: `encodeBody`. */
export const rows_type = 'application/vnd.milepost.rows'

/** The records of one container in a body. */
export interface Block {
  container: number
  /** Rows or a page: what `openPage` opens, and what a store may keep verbatim. */
  bytes: Uint8Array
}

/** Rows: quick to make, self-contained, kept verbatim as a fresh page. Sorts and drops what is there twice. */
export function encodeRows(records: readonly Message[]): Buffer {
  return encodePage(sortRecords(records))
}

const body_magic = 0x4d444242

/** A body of any number of containers' blocks. */
export function encodeBody(blocks: readonly Block[]): Buffer {
  const parts: Uint8Array[] = []
  const head = Buffer.alloc(8)
  head.writeUInt32BE(body_magic, 0)
  head.writeUInt8(1, 4)
  parts.push(head)
  for (const { container, bytes } of blocks) {
    const frame = Buffer.alloc(8)
    frame.writeUInt32LE(container, 0)
    frame.writeUInt32LE(bytes.length, 4)
    parts.push(frame, bytes)
  }
  return Buffer.concat(parts)
}

/** The blocks of a body, as views into it: their own checks come with `openPage`/`checkRows`. Throws `DamagedError`. */
export function decodeBody(body: Buffer): Block[] {
  if (body.length < 8 || body.readUInt32BE(0) !== body_magic) throw new DamagedError('not a body of rows: no "MDBB"')
  if (body[4] !== 1) throw new DamagedError(`a body of rows of version ${body[4]}, this is 1`)
  const blocks: Block[] = []
  for (let at = 8; at < body.length; ) {
    if (at + 8 > body.length) throw new DamagedError('a body of rows ends within the head of a block')
    const size = body.readUInt32LE(at + 4)
    if (at + 8 + size > body.length) throw new DamagedError('a body of rows ends within a block')
    blocks.push({ container: body.readUInt32LE(at), bytes: body.subarray(at + 8, at + 8 + size) })
    at += 8 + size
  }
  return blocks
}

/**
 * Opens a block that came from outside: whole, in order, and each value one that a record may hold. Throws `DamagedError`
 * that names the record and parameter.
 */
export function checkRows(bytes: Uint8Array): Page {
  return openPage(bytes)
}
