/** Recorded packets, one a line, as the tools read them. */
import type { Program } from './program.ts'
import { type Packet, Session } from './session.ts'

/** A packet of a reference vector or of a session file. */
export interface Recorded {
  hex?: string
  text?: string
  /** `GET /?id=1` or `POST /path`, with `body` in hex. */
  http?: string
  body?: string
}

/** One line of a session file: `hex:…`, `text:…` or `http:METHOD /path [body in hex]`; undefined: an empty line or a comment. */
export function parseLine(line: string): Recorded | undefined {
  const trimmed = line.replace(/\r$/, '')
  if (trimmed.trim() === '' || trimmed.startsWith('#')) return undefined
  const [, kind, rest = ''] = /^(hex|text|http):(.*)$/s.exec(trimmed) ?? []
  if (kind === 'text') return { text: rest }
  if (kind === 'hex') {
    const hex = rest.replace(/\s/g, '')
    if (!/^([0-9a-fA-F]{2})*$/.test(hex)) throw new Error('not hexadecimal bytes')
    return { hex }
  }
  if (kind === 'http') {
    const [, request = '', body = ''] = /^(\S+ \S+)(?: ([0-9a-fA-F]*))?$/.exec(rest.trim()) ?? []
    if (request === '') throw new Error('a request is METHOD /path and, where there is one, its body in hex')
    return { http: request, body }
  }
  throw new Error('a line begins with hex:, text: or http:')
}

/** The bytes of a recorded packet. */
export function bytesOf(packet: Recorded): Buffer {
  if (packet.hex !== undefined) return Buffer.from(packet.hex, 'hex')
  if (packet.text !== undefined) return Buffer.from(packet.text)
  const body = Buffer.from(packet.body ?? '', 'hex')
  const type = body[0] === 0x7b || body[0] === 0x5b ? 'application/json' : 'application/x-www-form-urlencoded'
  const headers = body.length > 0 ? `Content-Type: ${type}\r\nContent-Length: ${body.length}\r\n` : ''
  return Buffer.concat([Buffer.from(`${packet.http} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`), body])
}

/** Decodes one recorded packet; what is left over of it is no beginning of the next. */
export function decodeRecorded(session: Session, packet: Recorded): Packet[] {
  const packets = session.packet(bytesOf(packet))
  session.resume()
  return packets
}

/** A recorded packet as it comes in a stream: with an ending of the protocol where its own was taken off; undefined: not by stream. */
export function streamBytes(program: Program, packet: Recorded): Buffer | undefined {
  const bytes = bytesOf(packet)
  const endings = program.frames.flatMap(({ size }) => (size.kind === 'line' ? size.endings : []))
  return ['', ...endings]
    .map((ending) => Buffer.concat([bytes, Buffer.from(ending, 'hex')]))
    .find((candidate) => {
      const session = new Session(program, { ident: 'unknown' })
      return session.whole(candidate)
    })
}

/** What the tools print for one recorded packet. */
export interface LineAnswer {
  messages: Packet['messages']
  reply: string | null
  answers?: NonNullable<Packet['answers']>
  error?: string
}

export function lineAnswer(packets: Packet[]): LineAnswer {
  const replies = packets.map(({ reply }) => (reply ? Buffer.from(reply).toString('hex') : '')).join('')
  const error = packets.find((packet) => packet.error)?.error
  const answers = packets.flatMap((packet) => packet.answers ?? [])
  return {
    messages: packets.flatMap(({ messages }) => messages),
    reply: replies === '' ? null : replies,
    ...(answers.length > 0 ? { answers } : {}),
    ...(error ? { error: `${error.code}: ${error.reason}` } : {}),
  }
}
