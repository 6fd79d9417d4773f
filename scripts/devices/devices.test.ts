import test from 'ava'
import { loadProtocol, Session } from '#pvm/index.ts'
import { encoderOf, identOf } from './index.ts'
import { Trip } from './trip.ts'

const close = (a: unknown, b: number, within: number) => Math.abs(Number(a) - b) <= within

for (const protocol of ['teltonika', 'wialon']) {
  for (const size of [1, 7]) {
    test(`${protocol}: ${size} fixes come out of the protocol's own decoder as they went in`, (t) => {
      const encoder = encoderOf(protocol)
      const ident = identOf(1, 42)
      const session = new Session(loadProtocol(protocol))
      const [login] = session.feed(encoder.login(ident))
      t.is(login?.login, ident)
      t.deepEqual(encoder.answer(Buffer.from(login!.reply!), 'login')?.accepted, 1)
      const trip = new Trip(7)
      for (let i = 0; i < 500; i++) trip.next(1_700_000_000 + i)
      const fixes = Array.from({ length: size }, (_, i) => trip.next(1_700_000_500.25 + i))
      const [packet] = session.feed(encoder.packet(fixes))
      t.is(packet?.error, undefined)
      t.is(packet?.messages.length, size)
      for (const [i, fix] of fixes.entries()) {
        const message = packet!.messages[i]!
        t.is(message.ident, ident)
        t.is(message.timestamp, fix.timestamp)
        t.true(close(message['position.latitude'], fix.latitude, 1e-5))
        t.true(close(message['position.longitude'], fix.longitude, 1e-5))
        t.true(close(message['position.speed'], fix.speed, 0.6))
        t.is(message['position.satellites'], fix.satellites)
      }
      t.deepEqual(encoder.answer(Buffer.from(packet!.reply!), 'packet')?.accepted, size)
    })
  }
}

test('a trip is the same for the same seed, and looks like driving', (t) => {
  const drive = (seed: number) => {
    const trip = new Trip(seed)
    return Array.from({ length: 3_000 }, (_, i) => ({ ...trip.next(1_700_000_000 + i) }))
  }
  const fixes = drive(3)
  t.deepEqual(fixes, drive(3))
  t.notDeepEqual(fixes, drive(4))
  t.true(fixes.every((fix) => fix.speed >= 0 && fix.speed < 140))
  t.true(fixes.some((fix) => fix.speed === 0) && fixes.some((fix) => fix.speed > 40))
  for (const [i, fix] of fixes.entries()) {
    if (i > 0) t.true(fix.odometer >= fixes[i - 1]!.odometer)
  }
})

test('idents are valid IMEIs', (t) => {
  t.regex(identOf(1, 1), /^\d{15}$/)
  t.is(identOf(352093, 81).length, 15)
})
