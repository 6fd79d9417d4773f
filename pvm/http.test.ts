import test from 'ava'
import { loadProtocol, type Packet, Session } from './index.ts'

const program = loadProtocol('osmAnd')
const now = () => 1_700_000_000
const request = (head: string, ...pieces: string[]) =>
  Buffer.from(`POST /?x HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\n${pieces.join('')}`)
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
const chunked = (...pieces: string[]) => request('Transfer-Encoding: chunked', ...pieces)
const position = (ident: number) =>
  `{"device_id":"${ident}","location":{"timestamp":1700000100,"coords":{"latitude":60.5}}}`
const essence = (packets: Packet[]) =>
  packets.map((p) => ({ ...p, reply: p.reply && Buffer.from(p.reply).toString('hex') }))

/** All cuts into two, byte by byte, and at once; interpreter and generated code. All the same. */
function decoded(t: { deepEqual(a: unknown, b: unknown, message: string): unknown }, bytes: Buffer): Packet[] {
  const run = (pieces: Buffer[], interpret: boolean) => {
    const session = new Session(program, { now, interpret })
    return essence(pieces.flatMap((piece) => session.feed(piece)))
  }
  const whole = new Session(program, { now }).feed(bytes)
  for (const interpret of [false, true]) {
    t.deepEqual(run([bytes], interpret), essence(whole), `at once, interpreted: ${interpret}`)
    const single = Array.from(bytes, (byte) => Buffer.of(byte))
    t.deepEqual(run(single, interpret), essence(whole), `byte by byte, interpreted: ${interpret}`)
  }
  for (let at = 1; at < bytes.length; at++)
    t.deepEqual(run([bytes.subarray(0, at), bytes.subarray(at)], false), essence(whole), `cut at ${at}`)
  return whole
}

test('a body in chunks is the same as in one piece; the next request follows it', (t) => {
  const body = position(77)
  const plain = request(`Content-Length: ${body.length}`, body)
  const inPieces = chunked(chunk(body.slice(0, 9)), chunk(body.slice(9, 10)), chunk(body.slice(10)), '0\r\n\r\n')
  const packets = decoded(t, Buffer.concat([inPieces, plain, inPieces]))
  t.is(packets.length, 3)
  t.like(packets[0]?.messages[0], { ident: '77', 'position.latitude': 60.5 })
  t.deepEqual(packets[0]?.messages, packets[1]?.messages)
  t.deepEqual(packets[2]?.messages, packets[1]?.messages)
})

test('extensions of chunks, lines behind the last, and other cases of letters', (t) => {
  const body = position(78)
  const [packet] = decoded(
    t,
    request(
      'TRANSFER-encoding:  Chunked ',
      `${body.length.toString(16).toUpperCase()} ;a="b"\r\n${body}\r\n`,
      '00\r\nX-Sum: 1\r\nY: 2\r\n\r\n',
    ),
  )
  t.is(packet?.messages[0]?.ident, '78')
})

test('what is no body in chunks is refused, however it is cut', (t) => {
  const wrong: [string, Buffer, string][] = [
    ['no number', chunked('x\r\nabc\r\n0\r\n\r\n'), 'malformed'],
    ['a sign', chunked('-1\r\nabc\r\n0\r\n\r\n'), 'malformed'],
    ['an empty size', chunked('\r\nabc\r\n0\r\n\r\n'), 'malformed'],
    ['more than its size', chunked('2\r\nabc\r\n0\r\n\r\n'), 'malformed'],
    ['a size of 4 GB', chunked('ffffffff\r\nabc'), 'too_long'],
    ['a size that goes on', chunked('0'.repeat(300)), 'malformed'],
    ['lines without an end', chunked(`0\r\n${'a: b\r\n'.repeat(4_000)}`), 'malformed'],
    ['two lengths', request('Content-Length: 3\r\nTransfer-Encoding: chunked', '3\r\nabc\r\n0\r\n\r\n'), 'malformed'],
    ['another coding', request('Transfer-Encoding: gzip, chunked', '0\r\n\r\n'), 'unsupported'],
    ['coded twice', request('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked', '0\r\n\r\n'), 'unsupported'],
  ]
  for (const [what, bytes, code] of wrong) {
    const at_once = new Session(program, { now }).feed(bytes)
    t.like(at_once, [{ messages: [], close: true, error: { code } }], what)
    const session = new Session(program, { now })
    const single = Array.from(bytes, (byte) => session.feed(Buffer.of(byte))).flat()
    t.deepEqual(essence(single), essence(at_once), what)
  }
})

test('a request is bounded: one byte more than the rule allows is refused', (t) => {
  const most = 65_536
  const empty = chunked(chunk('a'.repeat(0x1000)), '0\r\n\r\n').length - 0x1000
  const sized = (bytes: number) => chunked(chunk('a'.repeat(bytes - empty)), '0\r\n\r\n')
  t.is(sized(most).length, most)
  const fits = new Session(program, { now }).feed(sized(most))
  t.not(fits[0]?.error?.code, 'too_long')
  t.is(fits[0]?.bytes, most)
  t.like(new Session(program, { now }).feed(sized(most + 1)), [{ error: { code: 'too_long' }, close: true }])
})

test('a large body in very small pieces takes time that grows with it, not with its square', (t) => {
  // Looked at from its start for each piece, this would be 6 thousand million bytes.
  const bytes = chunked(...Array.from({ length: 10_000 }, () => chunk('a')), '0\r\n\r\n')
  const session = new Session(program, { now })
  const packets = Array.from({ length: Math.ceil(bytes.length / 3) }, (_, i) =>
    session.feed(bytes.subarray(i * 3, i * 3 + 3)),
  )
  t.is(packets.flat().length, 1)
  t.is(packets.at(-1)?.length, 1)
})
