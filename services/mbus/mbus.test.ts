import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import test from 'ava'
import mqtt, { type MqttClient } from 'mqtt'
import { freePort, startProcess, temporaryFolder, until } from '#services/common/testing.ts'

/** Answers as PROD does: three tokens, one of them of another account, one for channel 1 alone. */
function accounts() {
  const all = [{ system: '*', collection: '*' }]
  const tokens: Record<string, unknown> = {
    root: { account_id: 1, acl: all },
    other: { account_id: 2, acl: all },
    narrow: { account_id: 1, acl: [{ system: 'gw', collection: 'channels', ids: [1] }] },
  }
  const server = createServer((request, response) => {
    const found = tokens[(request.headers.authorization ?? '').slice(7)]
    response.statusCode = found ? 200 : 401
    response.end(
      JSON.stringify({
        result: found ? [found] : [],
        errors: found ? undefined : [{ code: 1002, reason: 'unknown token' }],
      }),
    )
  })
  return new Promise<{ url: string; close(): void; tokens: typeof tokens }>((resolve) =>
    server.listen(0, '127.0.0.1', () =>
      resolve({
        url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        close: () => server.close(),
        tokens,
      }),
    ),
  )
}

const connect = (url: string, username: string, password?: string) =>
  mqtt.connectAsync(
    url,
    { username, ...(password ? { password } : {}), reconnectPeriod: 0, connectTimeout: 3_000 },
    false,
  )

/** Subscribes and collects the topics that come. */
async function listen(client: MqttClient, filter: string): Promise<string[]> {
  const topics: string[] = []
  client.on('message', (topic) => topics.push(topic))
  await client.subscribeAsync(filter, { qos: 1 })
  return topics
}

test('who may log in, publish, subscribe and read; over TCP and WebSocket', async (t) => {
  t.timeout(40_000)
  const folder = temporaryFolder()
  const prod = await accounts()
  const [port, ws_port] = [await freePort(), await freePort()]
  const urls = { prod: prod.url, tgctl: '', mdb: '', admin: '', mbus: '', tg: [] }
  const mbus = await startProcess(
    'services/mbus/mbus.ts',
    { data: folder.path, port, options: { ws_port }, urls },
    ws_port,
  )
  const tcp = `mqtt://127.0.0.1:${port}`

  for (const [name, password] of [
    ['service', 'wrong'],
    ['x', 'unknown'],
    ['', ''],
  ]) {
    await t.throwsAsync(connect(tcp, name as string, password), { message: /Connection refused/ })
  }
  const service = await connect(tcp, 'service', 'internal')
  const root = await connect(`ws://127.0.0.1:${ws_port}`, 'me', 'root')
  const other = await connect(tcp, 'other')
  const narrow = await connect(tcp, 'me', 'narrow')
  await service.publishAsync('milepost/state/gw/channels/1/config', '{"account_id":1}', { qos: 1, retain: true })
  await service.publishAsync('milepost/state/gw/channels/2/config', '{"account_id":2}', { qos: 1, retain: true })
  const seen = {
    root: await listen(root, 'milepost/#'),
    other: await listen(other, 'milepost/#'),
    narrow: await listen(narrow, 'milepost/message/gw/channels/+/+'),
  }
  t.is((await root.subscribeAsync('$SYS/#').catch(() => [{ qos: 128 }]))[0]?.qos, 128)
  const message = (channel: number) => `milepost/message/gw/channels/${channel}/350`
  for (const channel of [1, 2, 3]) await service.publishAsync(message(channel), '{}', { qos: 1 })
  await until('all came', () => seen.root.length === 5 && seen.other.length === 2 && seen.narrow.length === 1)
  t.deepEqual(seen.other.toSorted(), [message(2), 'milepost/state/gw/channels/2/config'])
  t.deepEqual(seen.narrow, [message(1)])

  const cut = new Promise<void>((resolve) => root.once('close', () => resolve()))
  root.publish(message(1), '{}', { qos: 1 }, () => {})
  await cut
  await service.publishAsync(message(1), '{"last":true}', { qos: 1 })
  await until('the last came', () => seen.narrow.length >= 2)
  t.is(seen.narrow.length, 2, 'what a user publishes reaches nobody')

  for (const client of [service, root, other, narrow]) client.end(true)
  await mbus.stop()
  prod.close()
  folder.remove()
})

test('a server of the site tells of itself alone, with its own password, and hears nothing', async (t) => {
  t.timeout(60_000)
  const folder = temporaryFolder()
  const [port, ws_port] = [await freePort(), await freePort()]
  const servers = { srv1: createHash('sha256').update('secret').digest('hex') }
  const options = { ws_port, servers }
  const mbus = await startProcess('services/mbus/mbus.ts', { data: folder.path, port, options }, ws_port)
  const url = `mqtt://127.0.0.1:${port}`
  for (const [user, password] of [
    ['server/srv1', 'wrong'],
    ['server/srv2', 'secret'],
    ['server/', ''],
  ] as const)
    await t.throwsAsync(connect(url, user, password), { message: /Connection refused/ })
  const service = await connect(url, 'service', 'internal')
  const heard = await listen(service, 'milepost/#')
  for (const topic of [
    'milepost/log/hardware/servers/srv2/raised',
    'milepost/log/hardware/servers/srv1',
    'milepost/message/gw/channels/1/350',
  ]) {
    const server = await connect(url, 'server/srv1', 'secret')
    t.is((await server.subscribeAsync('milepost/#').catch(() => [{ qos: 128 }]))[0]?.qos, 128)
    const cut = new Promise<void>((resolve) => server.once('close', () => resolve()))
    server.publish(topic, '{}', { qos: 1 }, () => {})
    await cut
    server.end(true)
  }
  const server = await connect(url, 'server/srv1', 'secret')
  await server.publishAsync('milepost/log/hardware/servers/srv1/raised', '{}', { qos: 1 })
  await until('its own came', () => heard.length > 0)
  t.deepEqual(heard, ['milepost/log/hardware/servers/srv1/raised'])
  for (const client of [service, server]) client.end(true)
  await mbus.stop()
  folder.remove()
})

test('a subscriber that stops reading is cut and does not hold up the others', async (t) => {
  t.timeout(40_000)
  const folder = temporaryFolder()
  const [port, ws_port] = [await freePort(), await freePort()]
  const mbus = await startProcess('services/mbus/mbus.ts', { data: folder.path, port, options: { ws_port } }, ws_port)
  const url = `mqtt://127.0.0.1:${port}`
  const [service, frozen, fine] = [
    await connect(url, 'service', 'internal'),
    await connect(url, 'service', 'internal'),
    await connect(url, 'service', 'internal'),
  ]
  await frozen.subscribeAsync('milepost/#')
  const came = await listen(fine, 'milepost/#')
  frozen.stream.pause()
  const payload = 'x'.repeat(50_000)
  for (let i = 0; i < 1_000; i++) service.publish('milepost/log/a/b/1/c', payload, { qos: 0 })
  await until('the other has all', () => came.length === 1_000, 30_000)
  for (const client of [service, frozen, fine]) client.end(true)
  t.pass()
  await mbus.stop()
  folder.remove()
})
