import test from 'ava'
import { difference, differences } from './difference.ts'

test('changed lines with a little around them', (t) => {
  const text = (middle: string) => `${Array.from({ length: 9 }, (_, n) => (n === 4 ? middle : String(n))).join('\n')}\n`
  t.deepEqual(difference(text('old'), text('new')), ['…', '  2', '  3', '- old', '+ new', '  5', '  6', '…'])
  t.deepEqual(difference('a\n', 'a\n'), [])
  t.deepEqual(difference('', 'a\nb\n'), ['+ a', '+ b'])
})

test('files that came, went and changed', (t) => {
  const before = new Map([
    ['same', 'x\n'],
    ['old', 'x\n'],
    ['edited', 'x\n'],
  ])
  const after = new Map([
    ['same', 'x\n'],
    ['edited', 'y\n'],
    ['fresh', 'x\n'],
  ])
  t.deepEqual(
    differences(before, after).map(({ path, kind }) => `${kind} ${path}`),
    ['changed edited', 'new fresh', 'gone old'],
  )
})
