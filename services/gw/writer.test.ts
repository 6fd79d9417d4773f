import { createServer, type IncomingMessage } from 'node:http'
import test from 'ava'
import { pino } from 'pino'
import { call } from '#services/common/client.ts'
import { freePort, startProcess, temporaryFolder } from '#services/common/testing.ts'
import { type Entry, type Outcome, Writer } from './writer.ts'

const log = pino({ level: 'silent' })

/** Adds packets to a writer and waits for what becomes of each. */
async function write(url: string, packets: Pick<Entry, 'containers' | 'messages'>[]): Promise<Outcome[]> {
  const writer = new Writer({ url, token: 'internal', log, onStored: () => {}, onDrain: () => {} })
  const outcomes = packets.map(
    (packet) => new Promise<Outcome>((settle) => writer.add({ ...packet, bytes: 100, settle })),
  )
  const settled = await Promise.all(outcomes)
  await writer.idle()
  return settled
}

test('packets of many devices go to MDB as rows; of a batch that is refused the one at fault is found', async (t) => {
  t.timeout(120_000)
  const folder = temporaryFolder()
  const port = await freePort()
  const mdb = await startProcess('services/mdb/mdb.ts', { data: folder.path, port })
  const url = `http://127.0.0.1:${port}`
  const rest = <T>(method: string, path: string, body?: unknown) =>
    call<T>(method, url + path, { token: 'internal', body })
  const made = await rest<{ id: number }>('POST', '/mdb/containers', [{ name: 'channel' }, { name: 'device' }])
  const [channel = 0, device = 0] = made.result.map(({ id }) => id)
  const packets = Array.from({ length: 20 }, (_, i) => ({
    containers: i === 7 ? [999_999] : i % 2 ? [channel, device] : [channel],
    messages: [
      { timestamp: 100 + i, ident: `d${i}`, list: [i, { a: null }] },
      { timestamp: 100 + i, ident: `e${i}`, none: i === 3 ? Number.NaN : 1 },
    ],
  }))
  const outcomes = await write(url, packets)
  t.deepEqual(
    outcomes,
    packets.map((_, i) => (i === 7 ? 'refused' : 'stored')),
  )
  const read = await rest<Record<string, unknown>>('GET', `/mdb/containers/${channel}/records?count=1000`)
  t.is(read.result.length, 38)
  t.deepEqual(
    read.result.find(({ ident }) => ident === 'd5'),
    { timestamp: 105, ident: 'd5', list: [5, { a: null }] },
  )
  t.is(read.result.find(({ ident }) => ident === 'e3')?.none, null, 'what no JSON can hold is null')
  t.is((await rest('GET', `/mdb/containers/${device}/records?count=1000`)).result.length, 18)
  t.deepEqual(await write(url, packets.slice(0, 3)), ['stored', 'stored', 'stored'])
  t.is(
    (await rest('GET', `/mdb/containers/${channel}/records?count=1000`)).result.length,
    38,
    'a re-send is there once',
  )
  await mdb.stop()
  folder.remove()
})

test('while MDB says that it is busy the writer tries again', async (t) => {
  let calls = 0
  const seen: (string | undefined)[] = []
  const server = createServer(async (request: IncomingMessage, response) => {
    for await (const _ of request);
    seen.push(request.headers['content-type'])
    const busy = ++calls < 3
    response.writeHead(busy ? 503 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(busy ? { result: [], errors: [{ code: 1008, reason: 'busy' }] } : { result: [] }))
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as { port: number }
  const packet = { containers: [1], messages: [{ timestamp: 1 }] }
  t.deepEqual(await write(`http://127.0.0.1:${port}`, [packet]), ['stored'])
  t.deepEqual(seen, Array(3).fill('application/vnd.milepost.rows'))
  server.closeAllConnections()
  server.close()
})
