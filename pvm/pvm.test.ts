import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { temporaryFolder } from '#services/common/testing.ts'
import { assemble, disassemble } from './asm.ts'
import { compile } from './compile.ts'
import { loadProtocol, messageSchema, type Packet, protocolNames, Session } from './index.ts'
import { crc16 } from './vm.ts'

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

/** The same numbers in [0, 1) for the same seed. */
function random(seed: number): () => number {
  let a = seed
  return () => {
    a = (Math.imul(a, 1664525) + 1013904223) >>> 0
    return a / 2 ** 32
  }
}

const essence = (packets: Packet[]) =>
  packets.map((p) => ({ ...p, reply: p.reply && Buffer.from(p.reply).toString('hex') }))

for (const name of protocolNames()) {
  test(`${name}: the recorded session decodes as it was checked by hand`, (t) => {
    const got = execFileSync(
      process.execPath,
      [join(import.meta.dirname, 'cli.ts'), 'decode', name, join(folder, `${name}.session`)],
      { encoding: 'utf8' },
    )
    const expected = readFileSync(join(folder, `${name}.expected`), 'utf8')
    t.deepEqual(
      got
        .trim()
        .split('\n')
        .map((l) => JSON.parse(l)),
      expected
        .trim()
        .split('\n')
        .map((l) => JSON.parse(l)),
    )
  })

  test(`${name}: byte by byte, in random pieces or at once is the same`, (t) => {
    const all = Buffer.concat(packetsOf(name))
    const whole = essence(new Session(loadProtocol(name), { now }).feed(all))
    const next = random(11)
    for (let round = 0; round < 50; round++) {
      const session = new Session(loadProtocol(name), { now })
      const packets: Packet[] = []
      for (let at = 0; at < all.length; ) {
        const size = round === 0 ? 1 : 1 + Math.floor(next() * 60)
        packets.push(...session.feed(all.subarray(at, at + size)))
        at += size
      }
      t.deepEqual(essence(packets), whole)
    }
  })

  test(`${name}: mutated packets give packets or errors, never more`, (t) => {
    const next = random(5)
    const packets = packetsOf(name)
    const schema = Object.keys((messageSchema() as { properties: object }).properties)
    t.true(schema.includes('timestamp'))
    for (let round = 0; round < 5_000; round++) {
      const session = new Session(loadProtocol(name), { now })
      session.feed(packets[0] as Buffer)
      const bytes = Buffer.from(packets[Math.floor(next() * packets.length)] as Buffer)
      for (let change = 0; change < 4; change++) bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256)
      const cut = next() < 0.3 ? bytes.subarray(0, Math.floor(next() * bytes.length)) : bytes
      for (const { messages, error } of session.feed(cut)) {
        if (error) t.deepEqual(messages, [])
        for (const message of messages) if (typeof message.timestamp !== 'number') t.fail(JSON.stringify(message))
      }
    }
  })

  test(`${name}: the assembler can be read back`, (t) => {
    const program = loadProtocol(name)
    const again = assemble(disassemble(program))
    t.is(disassemble({ ...again, lines: new Map() }), disassemble({ ...program, lines: new Map() }))
    const run = (p: typeof program) => essence(new Session(p, { now }).feed(Buffer.concat(packetsOf(name))))
    t.deepEqual(run(again), run(program))
  })
}

test('the CRC is the one of the standard check text', (t) => {
  t.is(crc16(Buffer.from('123456789')), 0xbb3d)
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
  const line = (type: string, body: string, crc = crc16(Buffer.from(body))) =>
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
  t.is(run('repeat 4000000000 { message { 1 -> timestamp } }'), 'fuel')
  t.is(run('while true { reply "aaaaaaaaaaaaaaaa" }'), 'malformed')
  t.is(run('text(99) -> $x'), 'malformed')
  t.is(run('skip 0 - 5'), 'malformed')
  remove()
})
