import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { open } from 'lmdb'
import { pino } from 'pino'
import { call } from '#services/common/client.ts'
import { departures } from '#services/common/guideline.ts'
import { recordHash } from '#services/common/record-hash.ts'
import { freePort, startProcess, temporaryFolder, until } from '#services/common/testing.ts'
import { Engine } from './engine.ts'
import { migrate } from './lmdb-migrate.ts'
import { LmdbStore } from './lmdb-store.ts'
import type { Message } from './page.ts'
import { toAppend } from './record.ts'
import { checkRows, decodeBody, encodeBody, encodeRows, rows_type } from './rows.ts'
import { storeSuite } from './suite.ts'

const log = pino({ level: 'silent' })

storeSuite('lmdb', {
  operations: 500,
  async make() {
    const folder = temporaryFolder()
    return { open: async () => new LmdbStore(folder.path, { log }), remove: async () => folder.remove() }
  },
})

async function all(engine: Engine, id: number): Promise<Message[]> {
  const found: Message[] = []
  for await (const batch of engine.read(id, { from: 0, to: 7e9 })) found.push(...batch)
  return found
}

test('a record is the same whatever the order of its parameters, when and from where it came', (t) => {
  const hash = (record: Record<string, unknown>) => recordHash(record).toString('hex')
  t.is(
    hash({ timestamp: 1, a: { x: 1, y: [2] } }),
    hash({ a: { y: [2], x: 1 }, peer: '1.1.1.1:5', timestamp: 1, 'server.timestamp': 9 }),
  )
  t.not(hash({ timestamp: 1, a: 1 }), hash({ timestamp: 1, a: '1' }))
})

test('a store of the first layout, a key per record, is read over without loss, also after a stop in between', async (t) => {
  const folder = temporaryFolder()
  // As the release before this one wrote it.
  const root = open({ path: folder.path, mapSize: 2 ** 30, maxDbs: 4, overlappingSync: false, noMemInit: true })
  const records = root.openDB({ name: 'records', keyEncoding: 'binary', encoding: 'binary' })
  const meta = root.openDB({ name: 'meta', encoding: 'json' })
  const wanted = new Map<number, Message[]>()
  for (const id of [3, 5]) {
    const messages = Array.from({ length: 3_000 }, (_, i) => ({ timestamp: 86_000 + i / 4, n: i, ident: `d${id}` }))
    for (const message of messages) {
      const key = Buffer.alloc(20)
      key.writeUInt32BE(id, 0)
      key.writeBigUInt64BE(BigInt(Math.round(message.timestamp * 1e6)), 4)
      recordHash(message).copy(key, 12)
      records.put(key, Buffer.from(JSON.stringify(message)))
    }
    const container = { id, account_id: 1, name: `c${id}`, ttl: 0, records: 3_000, bytes: 99, created: 7 }
    await meta.put(`container:${id}`, container)
    wanted.set(id, messages)
  }
  await meta.put('container:4', { doomed: true })
  await meta.put('next_id', 6)
  await root.close()

  const first = new LmdbStore(folder.path, { log })
  let steps = 0
  const stop = () => {
    if (++steps === 3) throw new Error('stopped in between')
  }
  await t.throwsAsync(migrate(first, log, stop), { message: 'stopped in between' })
  await first.close()
  const store = new LmdbStore(folder.path, { log })
  const told: string[] = []
  await migrate(store, log, (text) => told.push(text))
  t.regex(told.at(-1) ?? '', /100 % of 6000 records/)
  const engine = await Engine.open(store, { log })
  for (const [id, messages] of wanted) {
    t.deepEqual(await all(engine, id), messages)
    const { bytes, ...container } = engine.containers().find((c) => c.id === id)!
    t.deepEqual(container, { id, account_id: 1, name: `c${id}`, ttl: 0, records: 3_000, created: 7 })
    t.is(
      bytes,
      messages.reduce((sum, message) => sum + JSON.stringify(message).length, 0),
    )
    t.deepEqual((await engine.telemetry(id)).get('n'), { timestamp: 86_000 + 2_999 / 4, value: 2_999 })
    const [again] = await engine.append([toAppend(id, messages.slice(0, 500), '')!])
    t.deepEqual(again, { container: id, stored: 0, duplicates: 500 })
  }
  t.is((await engine.create({ account_id: 0, name: 'next', ttl: 0 })).id, 6)
  await engine.close()
  const again = new LmdbStore(folder.path, { log })
  await migrate(again, log, () => t.fail('nothing is left to move'))
  await again.close()
  folder.remove()
})

test('rows that must leave the journal go as bundles, read as before, and become columns when the day rests', async (t) => {
  const folder = temporaryFolder()
  let engine = await Engine.open(new LmdbStore(folder.path, { log }), { log })
  const { id } = await engine.create({ account_id: 0, name: 'c', ttl: 0 })
  const record = (n: number): Message => ({ timestamp: 86_400 + ((n * 37) % 101), n })
  const kinds = async () => (await engine.store.heads(id, 1)).map(({ kind }) => kind)
  for (let n = 0; n < 100; n++) {
    await engine.append([toAppend(id, [record(n)], '')!])
    if (n % 40 === 39) await engine.merger.settle(id, [1], false)
  }
  const wanted = Array.from({ length: 100 }, (_, n) => record(n)).sort((a, b) => a.timestamp - b.timestamp)
  t.deepEqual(await kinds(), ['bundle', 'bundle', ...Array<string>(20).fill('rows')])
  await engine.merger.settle(id, [1], false)
  await engine.append([toAppend(id, [{ timestamp: 86_600, n: -1 }], '')!])
  wanted.push({ timestamp: 86_600, n: -1 })
  await engine.merger.settle(id, [1], false)
  t.deepEqual(await kinds(), ['bundle', 'bundle', 'bundle'], 'a small bundle is bundled again')
  for (const reopened of [false, true]) {
    if (reopened) {
      await engine.close()
      engine = await Engine.open(new LmdbStore(folder.path, { log }), { log })
    }
    t.deepEqual(await all(engine, id), wanted)
    t.deepEqual((await engine.telemetry(id)).get('n'), { timestamp: 86_600, value: -1 })
    t.is((await engine.statistics(id)).fresh_pages, 3)
    t.deepEqual(await engine.store.unmerged(9), [{ container: id, day: 1 }])
    const [again] = await engine.append([toAppend(id, wanted.slice(40, 90), '')!])
    t.like(again, { stored: 0, duplicates: 50 })
    const sent: Message[] = []
    for await (const bytes of engine.blocks(id, { from: 0, to: 7e9 })) sent.push(...checkRows(bytes).read())
    t.deepEqual(sent, wanted)
  }
  await engine.merger.settle(id, [1])
  t.deepEqual(await kinds(), ['page'])
  t.deepEqual(await all(engine, id), wanted)
  t.deepEqual(await engine.store.unmerged(9), [])
  await engine.close()
  folder.remove()
})

test('a second process is refused, and one after a kill is not', async (t) => {
  const folder = temporaryFolder()
  const store = new LmdbStore(folder.path, { log })
  t.throws(() => new LmdbStore(folder.path, { log }), { message: /is open in this process: stop it first/ })
  await store.close()
  t.false(existsSync(join(folder.path, 'owner')))
  const next = new LmdbStore(folder.path, { log })
  t.regex(readFileSync(join(folder.path, 'owner'), 'utf8'), new RegExp(`^${process.pid} `))
  await next.close()
  folder.remove()
})

test('REST: containers, records in every format, telemetry, statistics, and clear refusals', async (t) => {
  const folder = temporaryFolder()
  const port = await freePort()
  const mdb = await startProcess('services/mdb/mdb.ts', { data: folder.path, port })
  const at = `http://127.0.0.1:${port}`
  const rest = <T = Record<string, unknown>>(method: string, path: string, body?: unknown, account?: number) =>
    call<T>(method, `${at}${path}`, { token: 'internal', body, ...(account === undefined ? {} : { account }) })
  const raw = (method: string, path: string, headers: Record<string, string>, body?: Buffer | string) =>
    fetch(`${at}${path}`, { method, headers: { authorization: 'Bearer internal', ...headers }, body: body as never })
  const [made] = (await rest<{ id: number }>('POST', '/mdb/containers', [{ name: 'c' }])).result
  const id = made?.id as number
  t.is((await rest('POST', '/mdb/containers', [{ name: 'c' }])).errors[0]?.id, id)

  const records = [{ timestamp: 2, ident: 'x' }, { timestamp: 1.5 }, { timestamp: 2, ident: 'x', peer: 'y' }]
  t.deepEqual((await rest('POST', '/mdb/records', [{ container: id, records }])).result, [
    { container: id, stored: 2, duplicates: 1 },
  ])
  t.deepEqual((await rest('GET', `/mdb/containers/${id}/records?from=1&to=2`)).result, [{ timestamp: 1.5 }])
  t.deepEqual((await rest('GET', `/mdb/containers/name=c/records?reverse=true&count=1&fields=ident`)).result, [
    { timestamp: 2, ident: 'x' },
  ])
  const more = [
    { timestamp: 61, a: 'q"1,2', b: { x: 1 } },
    { timestamp: 62, a: null },
    { timestamp: 130, a: true },
  ]
  const body = encodeBody([{ container: id, bytes: encodeRows(more as Message[]) }])
  for (const stored of [3, 0]) {
    const answer = await raw('POST', '/mdb/records', { 'content-type': rows_type }, body)
    t.deepEqual(await answer.json(), { result: [{ container: id, stored, duplicates: 3 - stored }] })
  }
  t.deepEqual((await rest('GET', `/mdb/containers/${id}/records?every=60`)).result, [
    { timestamp: 1.5 },
    more[0],
    more[2],
  ])
  const lines = await raw('GET', `/mdb/containers/${id}/records?from=60`, { accept: 'application/x-ndjson' })
  t.deepEqual(
    (await lines.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    more,
  )
  const csv = await raw('GET', `/mdb/containers/${id}/records?from=60`, { accept: 'text/csv' })
  t.is(await csv.text(), 'timestamp,a,b\r\n61,"q""1,2","{""x"":1}"\r\n62,,\r\n130,true,\r\n')
  const rows = await raw('GET', `/mdb/containers/${id}/records?from=60`, { accept: rows_type })
  const blocks = decodeBody(Buffer.from(await rows.arrayBuffer()))
  const { openPage } = await import('./page.ts')
  t.deepEqual(
    blocks.flatMap(({ bytes }) => openPage(bytes).read()),
    more,
  )
  t.deepEqual((await rest('GET', `/mdb/containers/${id}/telemetry?fields=a,ident`)).result, [
    { id, telemetry: { a: { timestamp: 130, value: true }, ident: { timestamp: 2, value: 'x' } } },
  ])
  const [statistics] = (await rest<Record<string, unknown>>('GET', `/mdb/containers/${id}/statistics`)).result
  const days = [{ day: '1970-01-01', records: 5 }]
  t.like(statistics, { id, records: 5, from: 1.5, to: 130, pages: 2, fresh_pages: 2, days })

  const [other] = (await rest<{ id: number }>('POST', '/mdb/containers', [{ name: 'other' }])).result
  await rest('POST', `/mdb/containers/${id}/copies`, [{ target: other!.id, from: 2, to: 100 }])
  await until('the copy is done', async () => {
    const [copy] = (await rest('GET', `/mdb/containers/${id}/copies`)).result
    return copy?.state === 'done' && copy.stored === 3
  })
  t.is((await rest('GET', `/mdb/containers/${other!.id}/records`)).result.length, 3)
  t.is((await rest('DELETE', `/mdb/containers/${id}/copies/all`)).status, 200)
  t.deepEqual((await rest('GET', `/mdb/containers/${id}/copies`)).result, [])
  t.deepEqual((await rest('DELETE', `/mdb/containers/${other!.id}/records?from=60`)).result, [
    { id: other!.id, removed: 2 },
  ])

  const many = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`p${i}`, i]))
  const bulk = (records: unknown[]) => [{ container: id, records }]
  const refusals: [string, string, unknown, number, RegExp][] = [
    ['POST', '/mdb/records', bulk([{ ident: 'x' }]), 400, /\[0\]\.records\[0\]\.timestamp is missing/],
    ['POST', '/mdb/records', bulk([{ timestamp: null }]), 400, /\[0\]\.records\[0\]\.timestamp is missing/],
    ['POST', '/mdb/records', bulk([{ timestamp: '5' }]), 400, /timestamp is missing: a number/],
    ['POST', '/mdb/records', bulk([{ timestamp: 8e9 }]), 400, /between 1970 and 2200/],
    ['POST', '/mdb/records', bulk([{ timestamp: -2_208_988_800 }]), 400, /between 1970 and 2200/],
    ['POST', '/mdb/records', bulk([{ timestamp: 1, text: 'x'.repeat(10_000_000) }]), 400, /bytes, at most/],
    ['POST', '/mdb/records', bulk([{ timestamp: 1, ...many }]), 400, /100001 parameters, at most 2000/],
    ['POST', '/mdb/records', bulk([{ timestamp: 1, ['n'.repeat(200)]: 1 }]), 400, /has 200 characters, at most 128/],
    ['POST', '/mdb/records', bulk([{ timestamp: 1, '': 1 }]), 400, /empty name/],
    ['POST', '/mdb/records', bulk([5]), 400, /\[0\]\.records\[0\] must be an object/],
    ['POST', '/mdb/records', [{ container: 99, records: [] }], 404, /no container 99/],
    ['POST', `/mdb/containers/${id}/copies`, [{ target: 99 }], 404, /target: there is no container 99/],
    ['POST', `/mdb/containers/${id}/replays`, [{}], 503, /no MBUS/],
    ['POST', '/mdb/containers', [{ name: 'd', colour: 1 }], 400, /unknown field "colour"/],
    ['GET', `/mdb/containers/${id}/records?from=5&to=1`, undefined, 400, /from 5 is after to 1/],
    ['GET', `/mdb/containers/${id}/records?every=0`, undefined, 400, /every must be > 0/],
    ['GET', `/mdb/containers/${id}/records?counts=5`, undefined, 400, /unknown field "counts"/],
    ['GET', '/mdb/containers/99', undefined, 404, /no container 99/],
    ['GET', '/mdb/containers/99/records', undefined, 404, /no container 99/],
  ]
  for (const [method, path, body, status, reason] of refusals) {
    const answer = await rest(method, path, body)
    t.is(answer.status, status, `${path}: ${answer.errors[0]?.reason}`)
    t.regex(answer.errors[0]?.reason ?? '', reason)
  }
  const proto = await raw(
    'POST',
    '/mdb/records',
    { 'content-type': 'application/json' },
    `[{"container":${id},"records":[{"timestamp":1,"a":NaN}]}]`,
  )
  t.is(proto.status, 400, 'NaN is no JSON')
  for (const [name, bytes, reason] of [
    ['nothing', Buffer.alloc(0), /body/i],
    ['no rows', Buffer.from('MDBBx'), /not a body of rows/],
    ['cut off', body.subarray(0, -3), /cut off/],
    ['a flipped bit', flipped(body, body.length - 2), /block 0: .*checksum/],
  ] as const) {
    const answer = await raw('POST', '/mdb/records', { 'content-type': rows_type }, bytes)
    t.is(answer.status, 400, name)
    t.regex(((await answer.json()) as { errors: { reason: string }[] }).errors[0]!.reason, reason, name)
  }
  t.is((await rest('GET', `/mdb/containers/${id}/records`)).result.length, 5, 'nothing else was harmed')
  t.is((await rest('GET', `/mdb/containers/${id}`, undefined, 5)).status, 404, 'an account sees only what is its own')
  t.is((await rest('POST', '/mdb/records', [{ container: id, records }], 5)).status, 404)
  t.is((await rest('POST', `/mdb/containers/${id}/copies`, [{ target: other!.id }], 5)).status, 404)
  t.deepEqual(departures(await (await fetch(`${at}/openapi.json`)).json()), [])
  t.regex(await (await fetch(`${at}/metrics`)).text(), /mdb_records_stored 8/)
  await mdb.stop()
  folder.remove()
})

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at]! ^= 4
  return copy
}
