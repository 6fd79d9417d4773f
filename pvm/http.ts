/** HTTP/1.1 requests in a stream of bytes (RFC 9112): where one ends, and its body without the chunks. */

/** Request line and headers together; and what may follow the last chunk. */
const head_bytes_max = 16 * 1024
/** A chunk's size with extensions, which nobody sends. */
const chunk_line_bytes_max = 256

interface Wrong {
  code: string
  reason: string
}

const malformed = (reason: string): Wrong => ({ code: 'malformed', reason })
const tooLong = (max: number): Wrong => ({ code: 'too_long', reason: `a request of more than ${max} bytes` })
const chunkLine = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i

/** How far a request has come: each byte is looked at once, however the stream is cut. */
export class HttpRequest {
  /** Length of the head with its empty line; 0: it is not whole yet. */
  #head = 0
  /** Bytes of the body; undefined: it comes in chunks. */
  #length: number | undefined = 0
  /** Where the line of the next chunk, or the next line behind the last one, begins. */
  #at = 0
  /** Where the lines behind the last chunk begin; 0: it has not come. */
  #trailers = 0

  /** Bytes of the request that `bytes` begin with; undefined: the rest is still to come. No more than `max`. */
  size(bytes: Buffer, max: number): number | undefined | Wrong {
    if (this.#head === 0) {
      const end = bytes.indexOf('\r\n\r\n')
      if (end < 0 ? bytes.length > head_bytes_max : end > head_bytes_max)
        return { code: 'too_long', reason: `more than ${head_bytes_max} bytes of headers` }
      if (end < 0) return undefined
      const wrong = this.#begin(bytes.toString('latin1', 0, end))
      if (wrong) return wrong
      this.#head = this.#at = end + 4
    }
    return this.#length === undefined ? this.#chunks(bytes, max) : this.#head + this.#length
  }

  #begin(head: string): Wrong | undefined {
    const lengths = [...head.matchAll(/^content-length:\s*(\d{1,9})\s*$/gim)].map((match) => Number(match[1]))
    if (lengths.some((length) => length !== lengths[0])) return malformed('two content-lengths')
    const codings = [...head.matchAll(/^transfer-encoding:\s*(.*?)\s*$/gim)].map((match) => match[1]?.toLowerCase())
    this.#length = codings.length > 0 ? undefined : (lengths[0] ?? 0)
    if (codings.length === 0) return undefined
    if (codings.join() !== 'chunked') return { code: 'unsupported', reason: `a body that is ${codings.join(', ')}` }
    // Two ways to tell the end are how requests are smuggled past one reader to the next.
    return lengths.length > 0 ? malformed('a content-length beside chunks') : undefined
  }

  #chunks(bytes: Buffer, max: number): number | undefined | Wrong {
    for (;;) {
      const end = bytes.indexOf('\r\n', this.#at)
      const line_bytes = (end < 0 ? bytes.length : end) - this.#at
      if (this.#trailers > 0) {
        if (this.#at + line_bytes - this.#trailers > head_bytes_max) return malformed('too much behind the last chunk')
        if (end < 0) return undefined
        this.#at = end + 2
        if (line_bytes === 0) return this.#at
        continue
      }
      if (line_bytes > chunk_line_bytes_max) return malformed('a chunk without a size')
      if (end < 0) return undefined
      const found = chunkLine.exec(bytes.toString('latin1', this.#at, end))
      if (!found) return malformed('the size of a chunk is no number')
      const length = Number.parseInt(found[1] as string, 16)
      const next = end + 2 + length
      if (length === 0) {
        this.#at = this.#trailers = next
        continue
      }
      // The last chunk and an empty line are still to come.
      if (next + 7 > max) return tooLong(max)
      if (bytes.length < next + 2) return undefined
      if (bytes[next] !== 0x0d || bytes[next + 1] !== 0x0a) return malformed('a chunk is longer than its size')
      this.#at = next + 2
    }
  }
}

/** A whole request with its body in one piece, as a description reads it. What is no such request is left as it is. */
export function unchunked(bytes: Uint8Array): Uint8Array {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const head = buffer.indexOf('\r\n\r\n')
  if (head < 0 || !/^transfer-encoding:\s*chunked\s*$/im.test(buffer.toString('latin1', 0, head))) return bytes
  const pieces = [buffer.subarray(0, head + 4)]
  for (let at = head + 4; at < buffer.length; ) {
    const end = buffer.indexOf('\r\n', at)
    const found = end < 0 || end - at > chunk_line_bytes_max ? null : chunkLine.exec(buffer.toString('latin1', at, end))
    const length = found ? Number.parseInt(found[1] as string, 16) : 0
    if (length === 0) break
    pieces.push(buffer.subarray(end + 2, end + 2 + length))
    at = end + 2 + length + 2
  }
  return Buffer.concat(pieces)
}
