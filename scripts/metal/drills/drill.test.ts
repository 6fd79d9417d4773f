import test from 'ava'
import { faultsOf, figureText, longestPause } from './drill.ts'
import { mirrorsOf } from './drives.ts'
import { drills, drillsNamed } from './series.ts'

test('the longest pause counts from the strike, and up to the end', (t) => {
  const times = [900, 990, 1_010, 1_150, 1_160]
  t.is(longestPause(times, 1_000, 1_200), 140)
  t.is(longestPause(times, 1_000, 1_400), 240)
  t.is(longestPause([], 1_000, 1_400), 400)
})

test('a figure over its limit is a fault, one that could not be measured too', (t) => {
  const figures = [
    { label: 'gap', value: 200, unit: 'ms', max: 200 },
    { label: 'stall', value: 500.25, unit: 'ms', max: 500 },
    { label: 'wrong', value: Number.NaN, unit: 'bytes', max: 0 },
    { label: 'up after', value: 81, unit: 's' },
  ] as const
  t.deepEqual(faultsOf({ figures, faults: ['x'] }), [
    'x',
    'stall 500.3 ms, 500 are allowed',
    'wrong NaN bytes, 0 are allowed',
  ])
  // On a machine that does much else only times may be longer.
  t.deepEqual(faultsOf({ figures, faults: [] }, 3), ['wrong NaN bytes, 0 are allowed'])
  t.is(figureText(figures[0]), 'gap 200 ms (≤ 200)')
  t.is(figureText(figures[3]), 'up after 81 s')
})

test('a mirror is whole when all of its drives work', (t) => {
  const text = `Personalities : [raid1]
md127 : active raid1 sda3[0] sdb3[1](F)
      3508224 blocks super 1.2 [2/1] [U_]
      bitmap: 0/1 pages [0KB], 65536KB chunk

md1 : active raid1 sdb2[1] sda2[0]
      1024 blocks super 1.2 [2/2] [UU]

unused devices: <none>
`
  t.deepEqual(mirrorsOf(text), [
    { name: 'md127', whole: false },
    { name: 'md1', whole: true },
  ])
})

test('drills have names of their own, and what is not there is answered with what is', (t) => {
  t.is(new Set(drills.map(({ name }) => name)).size, drills.length)
  t.deepEqual(drillsNamed(['all']), [...drills])
  t.is(drillsNamed(['silent'])[0]!.name, 'silent')
  t.throws(() => drillsNamed(['flood']), { message: /no drill "flood"; there are link, switch, silent/ })
})
