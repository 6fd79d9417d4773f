import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { readReinstalled } from '#infra/site/machines.ts'
import { type Event, fresh, next, readState, type ServerState, stages, writeState } from './state.ts'
import { tableOf } from './table.ts'

const serials = ['B', 'A']
const way: readonly Event[] = [
  { kind: 'begin' },
  { kind: 'doing', what: 'starting over the network' },
  { kind: 'inventory' },
  { kind: 'agreed' },
  { kind: 'install', installation: 'f00d', serials },
  { kind: 'progress', percent: 43.7 },
  { kind: 'installed', machine_id: 'm1', host_key: 'ssh-ed25519 AAAA' },
  { kind: 'booted' },
  { kind: 'ready' },
]
const after = (events: readonly Event[], from: ServerState = fresh) =>
  events.reduce((state, event, n) => next(state, event, 1_000 * n), from)

test('from blank to ready, through every stage', (t) => {
  const seen = way.map((_, n) => after(way.slice(0, n + 1)).stage)
  t.deepEqual([...new Set(seen)], [...stages])
  const ready = after(way)
  t.is(ready.machine_id, 'm1')
  t.is(ready.installation, 'f00d')
  t.deepEqual(ready.overwritable, [], 'what is on the drives is a system now')
})

test('an installation that was cut short begins again, and may write over what it began', (t) => {
  const cut = after([...way.slice(0, 6), { kind: 'fault', why: 'its power went' }])
  t.is(cut.percent, 43)
  t.is(cut.fault, 'its power went')
  const again = next(cut, { kind: 'begin' }, 9_000)
  t.is(again.stage, 'waiting')
  t.is(again.fault, undefined)
  t.is(again.percent, 0)
  t.deepEqual(again.overwritable, ['A', 'B'])
})

test('one that was installed when the deploy ended is awaited, and installed again only when it does not start', (t) => {
  const installed = after(way.slice(0, 7))
  const resumed = next({ ...installed, fault: 'interrupted' }, { kind: 'resume' }, 9_000)
  t.is(resumed.machine_id, 'm1')
  t.is(resumed.fault, undefined)
  const lost = next(resumed, { kind: 'unbooted', why: 'no answer' }, 9_000)
  t.is(lost.machine_id, undefined)
  t.is(lost.fault, 'no answer')
  t.deepEqual(next(lost, { kind: 'begin' }, 9_001).overwritable, ['A', 'B'])
})

test('a server that is ready takes nothing but the word of the operator', (t) => {
  const ready = after(way)
  for (const event of way)
    if (event.kind !== 'doing')
      t.throws(() => next(ready, event, 0), { message: /that is ready cannot have/ }, event.kind)
  const ordered = next(ready, { kind: 'reinstall', serials }, 5)
  t.is(ordered.stage, 'waiting')
  t.deepEqual(ordered.overwritable, ['A', 'B'])
  t.is(ordered.machine_id, undefined)
  t.is(ordered.reinstalled, 1)
})

test('nothing is installed that was not found to be as the site says', (t) => {
  const install: Event = { kind: 'install', installation: 'x', serials }
  for (let n = 0; n < 4; n++)
    if (after(way.slice(0, n)).stage !== 'checked') t.throws(() => next(after(way.slice(0, n)), install, 0))
  t.is(next(after(way.slice(0, 4)), install, 0).stage, 'installing')
})

test('a server that answers to the key of the site was installed by somebody', (t) => {
  t.is(next(fresh, { kind: 'found' }, 0).stage, 'ready')
})

test('the table: a line a server, a bar for one that is being installed, why for one that stopped', (t) => {
  const servers = ['gw1', 'srv1', 'srv2'].map((name, n) => ({ name, rack: 'r1', unit: 20 + n })) as never
  const states = new Map([
    ['gw1', after(way)],
    ['srv1', after(way.slice(0, 6))],
    ['srv2', next(after(way.slice(0, 1)), { kind: 'fault', why: 'srv2 (rack r1, unit 22): no answer\nmore' }, 0)],
  ])
  t.deepEqual(tableOf(servers, states, 9_000), [
    'server  rack, unit  stage                         doing',
    'gw1     r1 20       ready                         installed',
    'srv1    r1 21       installing  ████░░░░░░  43 %  begins (4 s)',
    'srv2    r1 22       stopped                       srv2 (rack r1, unit 22): no answer',
  ])
})

test('states are files of the site; what is not there is fresh', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'milepost-states-'))
  try {
    t.deepEqual(readState('x', 'gw1', folder), fresh)
    const state = after(way)
    writeState('x', 'gw1', state, folder)
    t.deepEqual(readState('x', 'gw1', folder), state)
    t.deepEqual(readReinstalled(folder, 'x'), { gw1: 0 })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
