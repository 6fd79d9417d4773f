/**
 * Every protocol there is, by its files alone: pvm/protocols/NAME.pvm with NAME.session (packets as `pvm decode` reads them) and
 * NAME.expected (what `pvm decode NAME NAME.session --now 1700000000` prints, checked by hand). Nothing here names a protocol.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import { assemble, disassemble } from './asm.ts'
import { bytesOf, decodeRecorded, lineAnswer, parseLine, type Recorded, streamBytes } from './lines.ts'
import { folder, loadProtocol, protocolNames, protocols } from './protocols.ts'
import { registered } from './registry.ts'
import { toolSession } from './score.ts'
import { type Packet, Session } from './session.ts'

const now = () => 1_700_000_000

function fixture(name: string, kind: 'session' | 'expected'): string[] {
  const file = join(folder, `${name}.${kind}`)
  if (!existsSync(file)) throw new Error(`pvm/protocols/${name}.${kind} is missing: it is what tests ${name}`)
  return readFileSync(file, 'utf8').trimEnd().split('\n')
}

const recorded = (name: string): Recorded[] =>
  fixture(name, 'session')
    .map((line) => parseLine(line))
    .filter((packet) => packet !== undefined)

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
    const session = toolSession(loadProtocol(name), 'unknown', now)
    const got = recorded(name).map((packet) => JSON.parse(JSON.stringify(lineAnswer(decodeRecorded(session, packet)))))
    t.deepEqual(
      got,
      fixture(name, 'expected').map((line) => JSON.parse(line)),
    )
  })

  test(`${name}: byte by byte, in random pieces or at once is the same`, async (t) => {
    await setImmediate()
    const program = loadProtocol(name)
    const streamed = recorded(name).flatMap((packet) => streamBytes(program, packet) ?? [])
    const byStream = program.frames.some(({ transports }) => transports.includes('tcp'))
    t.is(streamed.length > 0, byStream, 'no packet of the session can come by a stream')
    const all = Buffer.concat(streamed)
    const open = () => new Session(program, { now, ident: 'unknown' })
    const whole = essence(open().feed(all))
    const next = random(11)
    for (let round = 0; round < 10; round++) {
      const session = open()
      const packets: Packet[] = []
      for (let at = 0; at < all.length; ) {
        const size = round === 0 ? 1 : 1 + Math.floor(next() * 60)
        packets.push(...session.feed(all.subarray(at, at + size)))
        at += size
      }
      t.deepEqual(essence(packets), whole)
    }
  })

  test(`${name}: mutated packets give packets or errors, never more`, async (t) => {
    // Lets ava hear of the tests before.
    await setImmediate()
    const next = random(5)
    const program = loadProtocol(name)
    const packets = recorded(name).map((packet) => streamBytes(program, packet) ?? bytesOf(packet))
    for (let round = 0; round < 300; round++) {
      const session = new Session(program, { now, ident: 'unknown' })
      const bytes = Buffer.from(packets[Math.floor(next() * packets.length)] as Buffer)
      for (let change = 0; change < 4; change++) bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256)
      const cut = next() < 0.3 ? bytes.subarray(0, Math.floor(next() * bytes.length)) : bytes
      const decoded =
        round % 3 === 0 ? session.packet(cut) : round % 3 === 1 ? session.datagram(cut) : session.feed(cut)
      for (const { messages, error } of decoded) {
        if (error) t.deepEqual(messages, [])
        for (const message of messages) if (typeof message.timestamp !== 'number') t.fail(JSON.stringify(message))
      }
    }
    t.pass()
  })

  test(`${name}: the assembler can be read back`, (t) => {
    const program = loadProtocol(name)
    const again = assemble(disassemble(program))
    t.is(disassemble({ ...again, lines: new Map() }), disassemble({ ...program, lines: new Map() }))
    const run = (p: typeof program) =>
      recorded(name).map((packet) => essence(new Session(p, { now, ident: 'unknown' }).packet(bytesOf(packet))))
    t.deepEqual(run(again), run(program))
  })

  test(`${name}: parameters have the types of the registry`, (t) => {
    for (const line of fixture(name, 'expected')) {
      for (const message of JSON.parse(line).messages) {
        for (const [key, value] of Object.entries(message)) {
          const type = registered(key)?.type.replace('integer', 'number')
          if (type && typeof value !== type) t.fail(`${key} is a ${typeof value}, not a ${type}`)
        }
      }
    }
    t.pass()
  })

  test(`${name}: the header says whose it is`, (t) => {
    const info = protocols().find((one) => one.name === name)
    const { header, frames } = loadProtocol(name)
    t.is(loadProtocol(name).name, name)
    for (const field of ['title', 'maker', 'document', 'transports'])
      t.true(typeof header[field] === 'string' && header[field] !== '', `the header needs ${field}`)
    t.true(Number.isInteger(info?.default_port) && Number(info?.default_port) > 1024, 'the header needs port')
    t.deepEqual(
      info?.transports.filter(
        (transport) => !frames.some((f) => f.transports.includes(transport === 'udp' ? 'udp' : 'tcp')),
      ),
      [],
      'every transport of the header has a frame',
    )
  })
}
