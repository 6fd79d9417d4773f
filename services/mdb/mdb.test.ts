import test from 'ava'
import { pino } from 'pino'
import { call } from '#services/common/client.ts'
import { freePort, startProcess, temporaryFolder } from '#services/common/testing.ts'
import { LmdbEngine } from './lmdb-engine.ts'
import { recordHash, toStored } from './record.ts'

const log = pino({ level: 'silent' })
const all = { from: 0, to: 7e9, reverse: false }

/** A generator of the same numbers in [0, 1) for the same seed (mulberry32). */
function random(seed: number): () => number {
  let a = seed
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

test('a record is the same whatever the order of its parameters, when and from where it came', (t) => {
  const hash = (record: Record<string, unknown>) => recordHash(record).toString('hex')
  t.is(
    hash({ timestamp: 1, a: { x: 1, y: [2] } }),
    hash({ a: { y: [2], x: 1 }, peer: '1.1.1.1:5', timestamp: 1, 'server.timestamp': 9 }),
  )
  t.not(hash({ timestamp: 1, a: 1 }), hash({ timestamp: 1, a: '1' }))
})

test('the store answers as a sorted array does, also after it was opened again', async (t) => {
  const folder = temporaryFolder()
  let engine = new LmdbEngine(folder.path, log)
  const next = random(7)
  const model = new Map<number, Map<string, number>>()
  for (const name of ['a', 'b']) model.set((await engine.create({ account_id: 0, name, ttl: 0 })).id, new Map())
  const ids = [...model.keys()]
  for (let step = 0; step < 400; step++) {
    const id = ids[Math.floor(next() * ids.length)] as number
    const held = model.get(id) as Map<string, number>
    const what = next()
    if (what < 0.7) {
      const records = Array.from({ length: 1 + Math.floor(next() * 40) }, () => ({
        timestamp: Math.floor(next() * 2_000) / 4,
        v: Math.floor(next() * 3),
      }))
      const fresh = new Set(records.map((r) => JSON.stringify(r)).filter((json) => !held.has(json)))
      const [answer] = await engine.append([{ container: id, records: records.map((r) => toStored(r, '')) }])
      t.is(answer?.stored ?? -1, fresh.size)
      for (const r of records) held.set(JSON.stringify(r), r.timestamp)
    } else if (what < 0.75) {
      const from = next() * 500
      const removed = await engine.removeRange(id, { from, to: from + 20, reverse: false })
      let expected = 0
      for (const [json, timestamp] of held)
        if (timestamp >= from && timestamp < from + 20 && held.delete(json)) expected++
      t.is(removed, expected)
    } else if (what < 0.77) {
      await engine.close()
      engine = new LmdbEngine(folder.path, log)
    } else {
      const from = next() * 500
      const range = { from, to: from + next() * 200, reverse: next() < 0.5 }
      const read = [...engine.read(id, range)].map((r) => r.timestamp)
      const expected = [...held.values()]
        .filter((timestamp) => timestamp >= range.from && timestamp < range.to)
        .sort((x, y) => x - y)
      t.deepEqual(read, range.reverse ? expected.reverse() : expected)
    }
  }
  for (const id of ids) {
    t.is([...engine.read(id, all)].length, model.get(id)?.size ?? -1)
    t.is(engine.containers().find((c) => c.id === id)?.records, model.get(id)?.size ?? -1)
  }
  await engine.close()
  folder.remove()
})

test('expired records are not read; a removed container is gone for good', async (t) => {
  const folder = temporaryFolder()
  const engine = new LmdbEngine(folder.path, log)
  const now = Date.now() / 1000
  const { id } = await engine.create({ account_id: 0, name: 'short', ttl: 60 })
  await engine.append([
    { container: id, records: [{ timestamp: now - 61 }, { timestamp: now }].map((r) => toStored(r, '')) },
  ])
  t.is([...engine.read(id, all)].length, 1)
  await engine.remove(id)
  t.throws(() => [...engine.read(id, all)], { message: `there is no container ${id}` })
  await t.throwsAsync(engine.append([{ container: id, records: [] }]), { message: `there is no container ${id}` })
  t.not((await engine.create({ account_id: 0, name: 'short', ttl: 0 })).id, id)
  await engine.close()
  folder.remove()
})

test('REST: containers, records, and clear refusals', async (t) => {
  const folder = temporaryFolder()
  const port = await freePort()
  const mdb = await startProcess('services/mdb/mdb.ts', { data: folder.path, port })
  const rest = <T = Record<string, number>>(method: string, path: string, body?: unknown, account?: number) =>
    call<T>(method, `http://127.0.0.1:${port}${path}`, {
      token: 'internal',
      body,
      ...(account === undefined ? {} : { account }),
    })
  const [made] = (await rest('POST', '/mdb/containers', [{ name: 'c' }])).result
  const id = made?.id as number
  t.is((await rest('POST', '/mdb/containers', [{ name: 'c' }])).errors[0]?.id, id)

  const records = [{ timestamp: 2, ident: 'x' }, { timestamp: 1.5 }, { timestamp: 2, ident: 'x', peer: 'y' }]
  t.deepEqual((await rest('POST', '/mdb/records', [{ container: id, records }])).result, [
    { container: id, stored: 2, duplicates: 1 },
  ])
  t.deepEqual((await rest('GET', `/mdb/containers/${id}/records?from=1&to=2`)).result, [{ timestamp: 1.5 }])
  t.deepEqual((await rest('GET', `/mdb/containers/name=c/records?reverse=true&count=1&fields=ident`)).result, [
    { ident: 'x' },
  ] as never)

  const refusals: [string, string, unknown, number, RegExp][] = [
    [
      'POST',
      '/mdb/records',
      [{ container: id, records: [{ ident: 'x' }] }],
      400,
      /\[0\]\.records\[0\]\.timestamp is missing/,
    ],
    ['POST', '/mdb/records', [{ container: id, records: [{ timestamp: 8e9 }] }], 400, /between 1970 and 2200/],
    [
      'POST',
      '/mdb/records',
      [{ container: id, records: [{ timestamp: 1, text: 'x'.repeat(300_000) }] }],
      400,
      /bytes, at most/,
    ],
    ['POST', '/mdb/records', [{ container: 99, records: [] }], 404, /no container 99/],
    ['POST', '/mdb/containers', [{ name: 'd', colour: 1 }], 400, /unknown field "colour"/],
    ['GET', `/mdb/containers/${id}/records?from=5&to=1`, undefined, 400, /from 5 is after to 1/],
    ['GET', `/mdb/containers/${id}/records?counts=5`, undefined, 400, /unknown field "counts"/],
    ['GET', '/mdb/containers/99', undefined, 404, /no container 99/],
  ]
  for (const [method, path, body, status, reason] of refusals) {
    const answer = await rest(method, path, body)
    t.is(answer.status, status, path)
    t.regex(answer.errors[0]?.reason ?? '', reason)
  }
  t.is(
    (await rest('GET', `/mdb/containers/${id}`, undefined, 5)).status,
    404,
    'an account does not see what is not its own',
  )
  await mdb.stop()
  folder.remove()
})

test('kill -9 of the process: all that was acknowledged is there, once', async (t) => {
  t.timeout(60_000)
  const folder = temporaryFolder()
  const port = await freePort()
  const acknowledged: number[] = []
  let n = 0
  let id = 0
  for (let round = 0; round < 4; round++) {
    const mdb = await startProcess('services/mdb/mdb.ts', { data: folder.path, port })
    const url = `http://127.0.0.1:${port}/mdb`
    if (round === 0)
      id =
        (await call<{ id: number }>('POST', `${url}/containers`, { token: 'internal', body: [{ name: 'k' }] }))
          .result[0]?.id ?? 0
    const writer = async () => {
      for (;;) {
        const first = n
        n += 10
        const records = Array.from({ length: 10 }, (_, i) => ({ timestamp: first + i }))
        const answer = await call('POST', `${url}/records`, { token: 'internal', body: [{ container: id, records }] })
        if (answer.status !== 200) return
        for (const { timestamp } of records) acknowledged.push(timestamp)
      }
    }
    const writers = Array.from({ length: 8 }, () => writer().catch(() => {}))
    setTimeout(() => mdb.kill(), 250 + round * 60)
    await Promise.all(writers)
  }
  const mdb = await startProcess('services/mdb/mdb.ts', { data: folder.path, port })
  const read = await call<{ timestamp: number }>(
    'GET',
    `http://127.0.0.1:${port}/mdb/containers/${id}/records?count=10000000`,
    { token: 'internal' },
  )
  const times = read.result.map((r) => r.timestamp)
  const there = new Set(times)
  t.true(acknowledged.length > 100)
  t.is(new Set(times).size, times.length, 'each once')
  t.deepEqual(acknowledged.filter((timestamp) => !there.has(timestamp)).slice(0, 5), [])
  await mdb.stop()
  folder.remove()
})
