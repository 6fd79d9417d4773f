import test from 'ava'
import { normalSource } from './sources.ts'

test('a source is kept as the network that it means', (t) => {
  t.is(normalSource('192.0.2.7'), '192.0.2.7')
  t.is(normalSource('192.0.2.7/32'), '192.0.2.7')
  t.is(normalSource('192.0.2.77/24'), '192.0.2.0/24')
  t.is(normalSource('203.0.113.255/25'), '203.0.113.128/25')
  t.is(normalSource('10.255.1.2/8'), '10.0.0.0/8')
})

test('what is no source, or too wide, is refused by name', (t) => {
  for (const text of ['', '192.0.2', '192.0.2.7/33', '192.0.2.7/', '192.0.2.7/24/1', '::1', '1.2.3.4/a', '192.0.2.07'])
    t.throws(() => normalSource(text), { message: /expected an IPv4 address or network/ }, text)
  for (const text of ['0.0.0.0/0', '128.0.0.0/7']) t.throws(() => normalSource(text), { message: /wider than \/8/ })
})
