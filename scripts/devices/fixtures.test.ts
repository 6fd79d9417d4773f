import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'ava'
import { protocolNames } from '#pvm/index.ts'
import { temporaryFolder } from '#services/common/testing.ts'
import { type Rig, startRig } from '#services/gw/rig.ts'
import { fixtureOf, fixtureTransports } from './fixture.ts'
import { differences } from './play.ts'

let rig: Rig
const folder = temporaryFolder()
test.before(async (t) => {
  t.timeout(180_000)
  rig = await startRig(2)
  writeFileSync(join(folder.path, 'token'), 'internal')
})
test.after.always(async () => {
  await rig?.stop()
  folder.remove()
})

/** `npm run simulate -- --fixtures …` against the rig. */
function simulate(...words: string[]): Promise<{ code: number; output: string }> {
  const file = resolve(import.meta.dirname, '../simulate.ts')
  const site = ['--url', `http://127.0.0.1:${rig.ports.tgctl}`, '--token-file', join(folder.path, 'token')]
  return new Promise((done) =>
    execFile(process.execPath, [file, '--fixtures', ...site, ...words], (error, stdout, stderr) =>
      done({ code: error ? Number(error.code) : 0, output: stdout + stderr }),
    ),
  )
}

test('by TCP, UDP and HTTP: a real tg answers and stores what the recordings say', async (t) => {
  const { code, output } = await simulate('--protocol', 'wialon,gt06,calAmp,suntech,osmAnd,jt808')
  t.is(code, 0, output)
  for (const line of [
    /^wialon +tcp .*fine$/m,
    /^gt06 +udp .*fine$/m,
    /^calAmp +udp .*fine$/m,
    /^osmAnd +http .*fine$/m,
  ])
    t.regex(output, line)
  t.regex(output, /6 protocols, \d+ packets, (\d+) of \1 answers, (\d+) of \2 messages: all as the fixtures say$/m)
  t.deepEqual((await rig.gw('GET', '/gw/channels/all')).result, [], 'the channels are removed')
})

test('a protocol and a transport that are not there are told', async (t) => {
  const unknown = await simulate('--protocol', 'walion')
  t.is(unknown.code, 2)
  t.regex(unknown.output, /there is no protocol "walion"/)
  const transport = await simulate('--protocol', 'calAmp', '--transport', 'tcp')
  t.is(transport.code, 2)
  t.regex(transport.output, /calAmp.*tcp/)
})

test('every protocol can be played, most of its packets by each of its transports', (t) => {
  for (const protocol of protocolNames()) {
    let played = 0
    for (const transport of fixtureTransports(protocol)) {
      const { steps } = fixtureOf(protocol, transport, '861234567890123')
      t.true(steps.length > 0, `${protocol} ${transport}`)
      played = Math.max(played, steps.length / (steps.length + fixtureOf(protocol, transport).others))
    }
    t.true(played >= 0.7, `${protocol}: ${played}`)
  }
})

test('what is missing, what is too much and what differs is told; the time of coming is not compared', (t) => {
  const wanted = [
    { message: { ident: '1', timestamp: 5, 'ain.1': 2 }, volatile: new Set<string>() },
    { message: { ident: '1', timestamp: 1_700_000_000 }, volatile: new Set(['timestamp']) },
  ]
  const added = { 'server.timestamp': 9, peer: 'x', 'channel.id': 3, 'protocol.id': 'p' }
  const fine = [
    { ident: '1', timestamp: 5, 'ain.1': 2, ...added },
    { ident: '1', timestamp: 77, ...added },
  ]
  t.deepEqual(differences(wanted, fine), [])
  t.regex(differences(wanted, fine.slice(1)).join(), /^missing: .*"ain.1":2/)
  t.is(differences(wanted, [{ ...fine[0]!, 'ain.1': 3 }, fine[1]!]).length, 2)
  t.regex(differences(wanted, [...fine, { ident: '2', timestamp: 1 }]).join(), /^not wanted: .*"ident":"2"/)
})
