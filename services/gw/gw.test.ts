import test from 'ava'
import mqtt from 'mqtt'
import { departures } from '#services/common/guideline.ts'
import { until } from '#services/common/testing.ts'
import { Device, type Rig, startRig, wialonPoint } from './rig.ts'

let rig: Rig
test.before(async (t) => {
  t.timeout(60_000)
  rig = await startRig(2)
})
test.after.always(() => rig?.stop())

const imei = Buffer.from('000f333536333037303432343431303133', 'hex')
const record = Buffer.from(
  '000000000000003608010000016B40D8EA30010000000000000000000000000000000105021503010101425E0F01F10000601A014E0000000000000000010000C7CF',
  'hex',
)

test.serial('a channel made over REST takes a packet cut at each byte; message and bus carry it', async (t) => {
  const channel = await rig.channel({ protocol: 'teltonika', name: 'cut' })
  const bus = await mqtt.connectAsync(rig.processes.mbus?.config.urls.mbus ?? '', {
    username: 'service',
    password: 'internal',
  })
  const heard: string[] = []
  bus.on('message', (topic) => heard.push(topic))
  await bus.subscribeAsync(`milepost/+/gw/channels/${channel.id}/#`, { qos: 1 })
  const device = await Device.connect(channel.port)
  for (const byte of Buffer.concat([imei, record])) {
    device.send(Buffer.of(byte))
    await new Promise((resolve) => setImmediate(resolve))
  }
  await device.answered('\x01\x00\x00\x00\x01')
  const messages = await rig.messages(channel)
  t.is(messages.length, 1)
  t.like(messages[0], {
    ident: '356307042441013',
    timestamp: 1560161086,
    'channel.id': channel.id,
    'protocol.id': 'teltonika',
  })
  t.true(String(messages[0]?.peer).startsWith('127.0.0.1:'))
  await until('the bus tells', () => heard.includes(`milepost/message/gw/channels/${channel.id}/356307042441013`))
  t.true(heard.includes(`milepost/state/gw/channels/${channel.id}/config`))
  const { result } = await rig.gw('GET', `/gw/channels/${channel.id}/connections`)
  t.is(result.length, 1)
  t.like(result[0], { ident: '356307042441013', messages: 1 })
  t.is((await rig.gw('DELETE', `/gw/channels/${channel.id}/connections`)).status, 200)
  await device.ended()
  await until('the log tells', async () => {
    const events = (await rig.logs(channel)).map((item) => item.event)
    return events.includes('login') && events.includes('close')
  })
  const sent = await Device.connect(channel.port)
  sent.send(Buffer.concat([imei, ...Array.from({ length: 300 }, () => record)]))
  await until('all answers', () => sent.text.length === 1 + 300 * 4)
  t.is((await rig.messages(channel)).length, 1)
  await bus.endAsync()
})

test.serial('bad input: garbage, a wrong CRC, a length of 2 GB; others are unaffected', async (t) => {
  const channel = await rig.channel({ protocol: 'teltonika' })
  const good = await Device.connect(channel.port)
  good.send(imei)
  await good.answered('\x01')
  const garbage = await Device.connect(channel.port)
  garbage.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  const huge = await Device.connect(channel.port)
  huge.send(
    Buffer.concat([Buffer.from('000f333536333037303432343431303134', 'hex'), Buffer.from('000000007fffffff08', 'hex')]),
  )
  const wrong = await Device.connect(channel.port)
  wrong.send(Buffer.from('000f333536333037303432343431303135', 'hex'))
  await wrong.answered('\x01')
  const broken = Buffer.from(record)
  broken[broken.length - 1]! ^= 1
  wrong.send(broken)
  await Promise.all([garbage.ended(), huge.ended()])
  good.send(record)
  await good.answered('\x00\x00\x00\x01')
  t.is((await rig.messages(channel)).length, 1)
  await until('the codes are logged', async () => {
    const logs = await rig.logs(channel)
    const codes = logs.filter((item) => item.event === 'close').map((item) => item.code)
    return (
      codes.includes(11) &&
      codes.includes(10) &&
      logs.some((item) => item.event === 'error' && /crc/i.test(String(item.reason) + String(item.code)))
    )
  })
  good.socket.destroy()
  wrong.socket.destroy()
})

test.serial('silence, half a packet, and 2000 connections that say nothing', async (t) => {
  t.timeout(60_000)
  const channel = await rig.channel({ protocol: 'teltonika', login_timeout: 6, idle_timeout: 2 })
  const silent = await Promise.all(Array.from({ length: 2_000 }, () => Device.connect(channel.port)))
  const half = await Device.connect(channel.port)
  half.send(Buffer.concat([imei, record.subarray(0, 20)]))
  await half.answered('\x01')
  const good = await Device.connect(channel.port)
  good.send(Buffer.concat([Buffer.from('000f333536333037303432343431303134', 'hex'), record]))
  await good.answered('\x01\x00\x00\x00\x01')
  await Promise.all(silent.map((device) => device.ended()))
  await Promise.all([half.ended(), good.ended()])
  await until('the codes are logged', async () => {
    const codes = (await rig.logs(channel)).map((item) => item.code)
    return codes.includes(13)
  })
  const logs = await rig.logs(channel)
  t.true(logs.length < 1_500, `${logs.length} records`)
  t.true(logs.some((item) => item.event === 'suppressed'))
})

test.serial('registered: only the account’s devices; ident twice; a channel edited, disabled, deleted', async (t) => {
  const channel = await rig.channel({ protocol: 'wialon', policy: 'registered', name: 'fleet' })
  const stranger = await Device.connect(channel.port)
  stranger.send('#L#unknown;NA\r\n')
  await stranger.ended()
  const { result } = await rig.gw('POST', '/gw/devices', [{ ident: 'truck-7', name: 'Truck 7' }])
  const [registered] = result as { id: number }[]
  let device: Device
  await until('the device may come in', async () => {
    device = await Device.connect(channel.port)
    device.send('#L#truck-7;NA\r\n')
    await device.answered('#AL#1', 500)
    return true
  })
  device!.send(wialonPoint(1_700_000_000))
  await device!.answered('#ASD#1')
  t.like((await rig.messages(channel))[0], { ident: 'truck-7', 'device.id': registered?.id })
  t.is((await rig.gw('GET', `/gw/devices/ident=truck-7/messages`)).result.length, 1)

  await rig.gw('PUT', `/gw/channels/${channel.id}`, { idle_timeout: 100 })
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.false(device!.closed)
  const again = await Device.connect(channel.port)
  again.send('#L#truck-7;NA\r\n')
  await again.answered('#AL#1')
  await device!.ended()
  await rig.gw('PUT', `/gw/channels/name=fleet`, { enabled: false })
  await again.ended(2_000)
  // Each tg shuts its port when it hears of the change.
  await until('no tg listens', () =>
    Device.connect(channel.port).then(
      (d) => void d.socket.destroy() as never,
      (e) => e.code === 'ECONNREFUSED',
    ),
  )
  t.is((await rig.gw('DELETE', `/gw/channels/${channel.id}`)).status, 200)
  t.is((await rig.gw('GET', `/gw/channels/${channel.id}`)).status, 404)
})

test.serial('an account over its messages a day is blocked, and comes back', async (t) => {
  const channel = await rig.channel({ protocol: 'wialon' })
  const device = await Device.connect(channel.port)
  device.send('#L#b1;NA\r\n')
  await device.answered('#AL#1')
  device.send(wialonPoint(1_700_000_001))
  await device.answered('#ASD#1')
  await until('it is counted', async () => Number((await rig.gw('GET', '/gw/counters')).result[0]?.messages) > 0)
  const [account] = rig.accounts
  account!.limits = { messages_per_day: 1 }
  await device.ended()
  t.is((await rig.gw('GET', `/gw/channels/${channel.id}`)).result[0]?.blocked, 'messages_per_day')
  account!.limits = {}
  // Each tg hears of it by itself: ten connections in a row reach all of them.
  await until('it is taken again', async () => {
    for (let i = 0; i < 10; i++) {
      const again = await Device.connect(channel.port)
      again.send('#L#b1;NA\r\n')
      await again.answered('#AL#1', 300)
      again.socket.destroy()
    }
    return true
  })
})

test.serial('REST: conflicts, limits, accounts, malformed bodies', async (t) => {
  const { gw } = rig
  const first = (await gw('POST', '/gw/channels', [{ protocol: 'wialon', name: 'one' }])).result[0]!
  const port = await gw('POST', '/gw/channels', [{ protocol: 'wialon', port: first.port }])
  t.is(port.status, 409)
  t.regex(port.errors[0]!.reason, /^port: \d+ is taken/)
  const name = await gw('POST', '/gw/channels', [{ protocol: 'wialon', name: 'one' }])
  t.is(name.status, 409)
  t.is(name.errors[0]?.id, first.id as number)
  const protocol = await gw('POST', '/gw/channels', [{ protocol: 'walion' }])
  t.is(protocol.status, 400)
  t.regex(protocol.errors[0]!.reason, /near it: wialon/)
  t.is((await gw('POST', '/gw/channels', '{"x"')).status, 400)
  t.regex(
    (await gw('POST', '/gw/channels', [{ protocol: 'wialon', prot: 1 }])).errors[0]!.reason,
    /unknown field "prot"/,
  )
  t.is((await gw('GET', '/gw/channels/name>5')).status, 400)
  t.is((await gw('GET', '/gw/channels/nothing=5')).status, 400)
  t.is((await gw('GET', '/gw/channels/all', undefined, { authorization: 'Bearer wrong' })).status, 401)
  const other = { 'x-milepost-account': '2', 'x-milepost-limits': 'channels=1,devices=1' }
  t.is((await gw('GET', '/gw/channels/all', undefined, other)).result.length, 0)
  t.is((await gw('GET', `/gw/channels/${first.id}`, undefined, other)).status, 404)
  t.is((await gw('POST', '/gw/channels', [{ protocol: 'wialon' }], other)).status, 200)
  t.is((await gw('POST', '/gw/channels', [{ protocol: 'wialon' }], other)).status, 429)
  const partly = await gw('POST', '/gw/devices', [{ ident: 'a' }, { ident: 'a' }])
  t.is(partly.status, 200)
  t.is(partly.errors[0]?.code, 1005)
  t.is((await gw('POST', '/gw/devices', [{ ident: 'a/b' }])).status, 400)
  t.is((await gw('PUT', '/gw/devices/ident=a', { ident: 'b' })).result[0]?.ident, 'b')
  t.is((await gw('DELETE', '/gw/devices/ident=b')).result.length, 1)
  t.deepEqual(
    (await gw('GET', '/gw/protocols')).result.map((p) => p.name).filter((n) => n === 'teltonika' || n === 'wialon'),
    ['teltonika', 'wialon'],
  )
})

test.serial('the OpenAPI documents of tgctl, tg and MDB follow the guidelines', async (t) => {
  const { urls } = rig.processes.tgctl!.config
  for (const url of [urls.tgctl, urls.tg[0], urls.mdb])
    t.deepEqual(departures(await (await fetch(`${url}/openapi.json`)).json()), [], url)
})

test.serial('no answer before MDB has it; after a re-send exactly once', async (t) => {
  t.timeout(60_000)
  const channel = await rig.channel({ protocol: 'wialon' })
  const device = await Device.connect(channel.port)
  device.send('#L#d1;NA\r\n')
  await device.answered('#AL#1')
  rig.processes.mdb?.kill()
  await rig.processes.mdb?.exited
  device.send(wialonPoint(1_700_000_000))
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  t.false(device.text.includes('#ASD#'))
  await rig.start('mdb')
  await device.answered('#ASD#1')
  rig.processes.mdb?.kill()
  await rig.processes.mdb?.exited
  device.send(wialonPoint(1_700_000_010))
  device.text = ''
  await device.ended(15_000)
  t.is(device.text, '')
  await rig.start('mdb')
  const again = await Device.connect(channel.port)
  again.send(`#L#d1;NA\r\n${wialonPoint(1_700_000_000)}${wialonPoint(1_700_000_010)}`)
  await until('both answers', () => again.text.split('#ASD#1').length === 3)
  t.deepEqual(
    (await rig.messages(channel)).map((m) => m.timestamp),
    [1_700_000_000, 1_700_000_010],
  )
})

test.serial('tg starts from what it knew while tgctl is away; SIGTERM closes with the code of a restart', async (t) => {
  t.timeout(60_000)
  const channel = await rig.channel({ protocol: 'wialon' })
  await rig.processes.tgctl?.stop()
  await Promise.all([rig.processes['tg-1']?.stop(), rig.processes['tg-2']?.stop()])
  await rig.start('tg-1')
  let device: Device
  await until('the channel is open', async () => {
    device = await Device.connect(channel.port)
    return true
  })
  device!.send(`#L#c1;NA\r\n${wialonPoint(1_700_000_000)}`)
  await device!.answered('#ASD#1')
  await rig.processes['tg-1']?.stop()
  await device!.ended()
  await Promise.all([rig.start('tgctl'), rig.start('tg-1'), rig.start('tg-2')])
  t.is((await rig.messages(channel)).length, 1)
  t.true((await rig.logs(channel)).some((item) => item.code === 40))
})

test.serial('a worker that is killed or hangs is replaced, REST goes on', async (t) => {
  t.timeout(60_000)
  const output = () => rig.processes.tgctl?.output() ?? ''
  const pids = () =>
    [...output().matchAll(/"pid":(\d+).*"worker":\d+.*"msg":"Server listening/g)].map((m) => Number(m[1]))
  await until('workers run', () => pids().length === 2)
  const [one, two] = pids() as [number, number]
  process.kill(one, 'SIGKILL')
  await until('it is replaced', () => pids().length === 3)
  t.is((await rig.gw('GET', '/gw/channels/all')).status, 200)
  // A real hang: an endless loop, put into the worker through its debugger.
  process.kill(two, 'SIGUSR1')
  const debug = /Debugger listening on (ws:\S+)/
  await until('it can be debugged', () => debug.test(output()))
  const debuggerSocket = new WebSocket(debug.exec(output())?.[1] ?? '')
  await new Promise((resolve) => debuggerSocket.addEventListener('open', resolve))
  const expression = 'setTimeout(function hang() { for (;;); })'
  debuggerSocket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression } }))
  await until('the hanging one is killed', () => output().includes('does not answer'), 20_000)
  debuggerSocket.close()
  const told =
    output()
      .split('\n')
      .find((line) => line.includes('does not answer')) ?? '{}'
  t.like(JSON.parse(told), { level: 50 })
  t.regex(JSON.stringify(JSON.parse(told).stack), /hang/, 'it tells where it hung')
  await until('it is replaced', () => pids().length === 4)
  for (let i = 0; i < 10; i++) t.is((await rig.gw('GET', '/gw/channels/all')).status, 200)
})

test.serial('sources that gateways block or let pass are the operator’s; what ran out is on no list', async (t) => {
  const lists = async () => {
    // A gateway asks without a token.
    const answer = await fetch(`http://127.0.0.1:${rig.ports.tgctl}/lists`)
    t.is(answer.status, 200)
    return (await answer.json()) as { block: string[]; allow: string[] }
  }
  const made = await rig.gw('POST', '/gw/sources', [
    { source: '192.0.2.9/24', list: 'block', comment: 'a scanner' },
    { source: '198.51.100.7', list: 'allow' },
    { source: '203.0.113.1', list: 'block', ttl: 1 },
  ])
  t.is(made.status, 200, JSON.stringify(made.errors))
  const [net, , brief] = made.result
  t.like(net, { source: '192.0.2.0/24', list: 'block', comment: 'a scanner', expires: null })
  t.true(Number(brief?.expires) > Number(brief?.created))
  await until('the first lists', async () => (await lists()).allow.length === 1)
  await until('the brief one runs out', async () => (await lists()).block.length === 1)
  t.deepEqual(await lists(), { block: ['192.0.2.0/24'], allow: ['198.51.100.7'] })
  const { result } = await rig.gw('GET', '/gw/sources/list=block')
  t.deepEqual(
    result.map(({ source }) => source),
    ['192.0.2.0/24'],
  )

  const again = await rig.gw('POST', '/gw/sources', [{ source: '192.0.2.0/24', list: 'allow' }])
  t.like(again.errors[0], { id: net?.id })
  t.is((await rig.gw('POST', '/gw/sources', [{ source: '0.0.0.0/0', list: 'block' }])).status, 400)
  const other = { 'x-milepost-account': '2' }
  t.is((await rig.gw('GET', '/gw/sources/all', undefined, other)).status, 403)
  t.is((await rig.gw('POST', '/gw/sources', [{ source: '192.0.2.1', list: 'block' }], other)).status, 403)

  t.is((await rig.gw('DELETE', '/gw/sources/all')).status, 200)
  await until('the lists are empty', async () => (await lists()).block.length === 0)
})
