import test from 'ava'
import { type Reference, scoreProtocol } from './score.ts'

const packet =
  '40404400053630333130303530333531320000000000000000420600010e0b17160d161480d60488c57218e8038403bf000000005043e4ae000000009527f1e5d4c20d0a'
const position: Reference = {
  deviceTime: 1_700_000_002_000,
  fixTime: 1_700_000_002_000,
  valid: true,
  outdated: false,
  latitude: 22.54621,
  longitude: 113.93746,
  altitude: 0,
  speedKnots: 36 / 1.852,
  course: 90,
  attributes: { sat: 11, odometer: 11461699 },
}

test('a vector is right when places, times and attributes are the reference’s', (t) => {
  const score = scoreProtocol('castel', [[{ hex: packet, result: [position] }]])
  t.like(score, { packets: 1, right: 1, attributes: 2, carried: 2, notes: [] })
  const elsewhere = scoreProtocol('castel', [[{ hex: packet, result: [{ ...position, latitude: 22.5 }] }]])
  t.like(elsewhere, { packets: 1, right: 0, carried: 2 })
  t.regex(elsewhere.notes.join('\n'), /latitude 22.54621 instead of 22.5/)
})

test('of several packets in a recording the reference has the first', (t) => {
  const score = scoreProtocol('castel', [[{ hex: packet + packet, result: [position] }]])
  t.like(score, { packets: 1, right: 1, carried: 2 })
  t.regex(score.notes.join('\n'), /2 packets/)
})

test('a checksum that no longer fits is let pass and said, unless the reference made nothing of it', (t) => {
  const changed = packet.replace('d4c20d0a', 'd4c30d0a')
  const score = scoreProtocol('castel', [[{ hex: changed, result: [position] }]])
  t.like(score, { packets: 1, right: 1, carried: 2 })
  t.regex(score.notes.join('\n'), /checksum is wrong/)
  t.like(scoreProtocol('castel', [[{ hex: changed, result: null }]]), { packets: 1, right: 1 })
})
