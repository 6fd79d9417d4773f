import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { temporaryFolder } from '#services/common/testing.ts'
import { checksums, crcs } from './checksums.ts'
import { compile } from './compile.ts'
import { loadProtocol, Session } from './index.ts'

const folder = join(import.meta.dirname, 'protocols')
const now = () => 1_700_000_000

/** The packets of a session file as bytes. */
function packetsOf(name: string): Buffer[] {
  const lines = readFileSync(join(folder, `${name}.session`), 'utf8')
    .trim()
    .split('\n')
  return lines.map((line) =>
    line.startsWith('hex:') ? Buffer.from(line.slice(4), 'hex') : Buffer.from(`${line.slice(5)}\r\n`),
  )
}

test('every CRC gives its check value over the standard text', (t) => {
  const text = Buffer.from('123456789')
  for (const [name, { check }] of Object.entries(crcs)) t.is(checksums[name]?.(text, 0, 9), check, name)
  const others = { xor8: 0x31, sum8: 0xdd, lrc8: 0x23, fletcher16: 0x1ede, adler32: 0x091e01de }
  for (const [name, check] of Object.entries(others)) t.is(checksums[name]?.(text, 0, 9), check, name)
})

test('a length field of 2 GB, garbage, and a packet before the log-in', (t) => {
  const feed = (hex: string) => new Session(loadProtocol('teltonika'), { now }).feed(Buffer.from(hex, 'hex'))
  t.like(feed('00000000800000000801')[0], { close: true, error: { code: 'too_long' } })
  t.like(feed('474554202f20485454502f312e310d0a')[0], { close: true, error: { code: 'too_long' } })
  t.like(new Session(loadProtocol('wialon')).feed(Buffer.from('GET / HTTP'))[0], {
    close: true,
    error: { code: 'unframed' },
  })
  const [, early] = packetsOf('teltonika')
  t.like(feed((early as Buffer).toString('hex'))[0], { messages: [], error: { code: 'refused' } })
  t.is(feed('00000000000000').length, 0, 'half a packet waits')
})

test('an ident that may not come in is told so', (t) => {
  const session = new Session(loadProtocol('teltonika'), { authorize: () => false })
  const [packet] = session.feed(packetsOf('teltonika')[0] as Buffer)
  t.deepEqual([Buffer.from(packet?.reply ?? []).toString('hex'), packet?.close, session.closed], ['00', true, true])
})

test('Wialon IPS 2.0: a right CRC is taken, a wrong one is answered with its code', (t) => {
  const line = (type: string, body: string, crc = checksums.crc16_ibm?.(Buffer.from(body), 0, body.length) ?? 0) =>
    Buffer.from(`#${type}#${body}${crc.toString(16).toUpperCase()}\r\n`)
  const answers = (...lines: Buffer[]) => {
    const session = new Session(loadProtocol('wialon'), { now })
    return lines
      .flatMap((bytes) => session.feed(bytes))
      .map(({ reply, messages }) => [
        Buffer.from(reply ?? [])
          .toString()
          .trim(),
        messages.length,
      ])
  }
  const login = line('L', '2.0;350;NA;')
  const short = '101118;061143;5544.6025;N;03739.6834;E;18;99;170;10;'
  const record = '101118;061143;5544.6025;N;03739.6834;E;18;99;170;10;0.8;3;0;1.5;NA;a:1:2'
  t.deepEqual(
    answers(
      login,
      line('SD', short),
      line('SD', short, 1),
      line('D', `${record};`),
      line('D', `${record};`, 1),
      line('B', `${record}|${record}|`),
    ),
    [
      ['#AL#1', 0],
      ['#ASD#1', 1],
      ['#ASD#13', 0],
      ['#AD#1', 1],
      ['#AD#16', 0],
      ['#AB#2', 2],
    ],
  )
  t.deepEqual(answers(line('L', '2.0;350;NA;', 1)), [['#AL#10', 0]])
})

test('mistakes in a description are named with their place and a hint', (t) => {
  const { path, remove } = temporaryFolder()
  const file = join(path, 'x.pvm')
  const mistakes: [text: string, message: RegExp][] = [
    ['protocol x { }\nframe { any size 1 -> a }\nsub a { u16(2) -> $x }', /x\.pvm:3:9: u16 has its own size\n.*\n +\^/],
    ['protocol x { }\nframe { any size 1 -> b }\nsub a { }', /no sub "b"\n(?:.|\n)*subs are a/],
    [
      'protocol x { }\nframe { any size 1 -> a }\nsub a { message { u8 -> position.speeed } }',
      /the registry has no parameter "position\.speeed"/,
    ],
    ['protocol x { }\nframe { any size 1 -> a }\nsub a { $y -> $x }', /\$y is never given a value/],
    ['protocol x { }\nframe { any size 1 -> a }\nsub a { u8 }', /expected "->" and where the value goes/],
    ['protocol x { }\nsub a { if true { ', /a block that was opened is not closed/],
    ['protocol x { title "no end }', /unexpected character/],
    ['use "none.pvm"', /"none.pvm" cannot be read/],
  ]
  for (const [text, message] of mistakes) {
    writeFileSync(file, text)
    t.throws(() => compile(file), { message }, text)
  }
  remove()
})

test('a description cannot hang, dig too deep or answer without end', (t) => {
  const { path, remove } = temporaryFolder()
  const file = join(path, 'x.pvm')
  const run = (body: string) => {
    writeFileSync(file, `protocol x { }\nframe { any size 1 -> a }\nsub a { login "x"\n${body} }`)
    return new Session(compile(file)).feed(Uint8Array.of(1))[0]?.error?.code
  }
  t.is(run('while true { 1 -> $x }'), 'fuel')
  t.is(run('call a'), 'malformed')
  t.is(run('repeat 4000000000 { 1 -> $x }'), 'fuel')
  t.is(run('while true { reply "aaaaaaaaaaaaaaaa" }'), 'malformed')
  t.is(run('text(99) -> $x'), 'malformed')
  t.is(run('skip 0 - 5'), 'malformed')
  remove()
})
