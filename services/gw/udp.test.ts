import { connect } from 'node:net'
import test from 'ava'
import { protocolNames, protocols } from '#pvm/index.ts'
import { until } from '#services/common/testing.ts'
import { Device, type Rig, startRig, UdpDevice } from './rig.ts'

const per_source_max = 200
const peers_max = 8

let rig: Rig
test.before(async (t) => {
  t.timeout(180_000)
  rig = await startRig(1, { udp_per_source_max: per_source_max, udp_peers_max: peers_max })
})
test.after.always(() => rig?.stop())

/** Codec 8, one record of 2019-06-10. */
const records =
  '08010000016B40D8EA30010000000000000000000000000000000105021503010101425E0F01F10000601A014E000000000000000001'
/** A Teltonika datagram; its number is in the answer. */
function avl(number: number, imei: string): Buffer {
  const rest = Buffer.concat([
    Buffer.from([0, number, 1, number, 0, imei.length]),
    Buffer.from(imei),
    Buffer.from(records, 'hex'),
  ])
  return Buffer.concat([Buffer.from([0, rest.length]), rest])
}
const acknowledged = (number: number) => {
  const hex = number.toString(16).padStart(2, '0')
  return `000500${hex}01${hex}01`
}
const imei = (number: number) => `86000000000${String(number).padStart(4, '0')}`
const metric = async (pattern: RegExp) => {
  const text = await (await fetch(`${rig.processes['tg-1']!.config.urls.tg[0]}/metrics`)).text()
  return Number(pattern.exec(text)?.[1] ?? 0)
}

test.serial('UDP beside TCP on one port: stored, answered; the same datagram again is answered again', async (t) => {
  const channel = await rig.channel({ protocol: 'teltonika' }, true)
  const device = await UdpDevice.open(channel.port)
  device.send(avl(7, imei(1)))
  await device.answered(1)
  t.deepEqual(device.answers, [acknowledged(7)])
  device.send(avl(7, imei(1)))
  await device.answered(2)
  t.deepEqual(device.answers, [acknowledged(7), acknowledged(7)])
  const messages = await rig.messages(channel)
  t.is(messages.length, 1)
  t.like(messages[0], { ident: imei(1), timestamp: 1560161086, 'channel.id': channel.id, 'protocol.id': 'teltonika' })
  t.is(messages[0]?.peer, `127.0.0.1:${device.socket.address().port}`)
  const byTcp = await Device.connect(channel.port)
  byTcp.send(Buffer.concat([Buffer.from([0, 15]), Buffer.from(imei(2))]))
  await byTcp.answered('\x01')
  const { result } = await rig.gw('GET', `/gw/channels/${channel.id}/connections`)
  t.deepEqual(
    result.map(({ transport, ident }) => `${transport} ${ident}`),
    [`udp ${imei(1)}`, `tcp ${imei(2)}`],
  )
  t.like(result[0], { packets: 2, messages: 2, errors: 0, pending: 0 })
  // Anyone can write an ident into a datagram: that ends no TCP connection.
  device.send(avl(8, imei(2)))
  await device.answered(3)
  byTcp.send(Buffer.from(`000000000000003608${records.slice(2)}0000C7CF`, 'hex'))
  await byTcp.answered('\x01\x00\x00\x00\x01')
  t.is((await rig.gw('DELETE', `/gw/channels/${channel.id}/connections`)).status, 200)
  await byTcp.ended()
  t.is((await rig.gw('GET', `/gw/channels/${channel.id}/connections`)).result.length, 0)
  await until('the log tells', async () => {
    const events = (await rig.logs(channel)).filter((item) => item.transport === 'udp').map((item) => item.event)
    return ['listen', 'connect', 'login', 'close'].every((event) => events.includes(event))
  })
  device.close()
})

test.serial(
  'a session is its peer’s; another port has none; the newest port of a device replaces the older',
  async (t) => {
    const channel = await rig.channel({ protocol: 'gt06' }, true)
    const login = Buffer.from('7878110103593390750052442200320100019def0d0a', 'hex')
    const status = Buffer.from('78780a1346050400020002b4890d0a', 'hex')
    const stranger = await UdpDevice.open(channel.port)
    const device = await UdpDevice.open(channel.port)
    stranger.send(status)
    device.send(login)
    await device.answered(1)
    device.send(status)
    await device.answered(2)
    t.deepEqual(stranger.answers, [])
    t.deepEqual(
      (await rig.messages(channel)).map((message) => message.ident),
      ['359339075005244'],
    )
    const again = await UdpDevice.open(channel.port)
    again.send(login)
    await again.answered(1)
    const { result } = await rig.gw('GET', `/gw/channels/${channel.id}/connections`)
    t.deepEqual(
      result.map(({ peer }) => peer),
      [`127.0.0.1:${again.socket.address().port}`],
    )
    await until('codes are logged', async () => {
      const logs = await rig.logs(channel)
      return logs.some((item) => item.code === 21) && logs.some((item) => item.event === 'error')
    })
    for (const one of [stranger, device, again]) one.close()
  },
)

test.serial(
  'a protocol of datagrams alone has no TCP port; registered lets in only the account’s devices',
  async (t) => {
    const channel = await rig.channel({ protocol: 'calAmp', policy: 'registered' }, true)
    const refused = await new Promise((resolve) => {
      connect(channel.port, '127.0.0.1').once('error', (error) => resolve((error as NodeJS.ErrnoException).code))
    })
    t.is(refused, 'ECONNREFUSED')
    const report = Buffer.from(
      '8308356307042441013f0101010200055f5e10005f5e1000ebdfcdcf5a24904e00003039000005dc010f0920019affb90f080702031502000000000a00000014',
      'hex',
    )
    const device = await UdpDevice.open(channel.port)
    device.send(report)
    await until('it is logged', async () => (await rig.logs(channel)).some((item) => item.code === 20))
    t.is((await rig.gw('GET', `/gw/channels/${channel.id}/connections`)).result.length, 0)
    t.deepEqual(await rig.messages(channel), [])
    await rig.gw('POST', '/gw/devices', [{ ident: '356307042441013' }])
    await until('the device may come in', async () => {
      device.answers = []
      device.send(report)
      await device.answered(1, 300)
      return device.answers[0] === '02010005020000000000'
    })
    t.like(await rig.messages(channel), [{ ident: '356307042441013', timestamp: 1_600_000_000 }])
    t.is((await rig.gw('PUT', `/gw/channels/${channel.id}`, { enabled: false })).status, 200)
    await until('the port is shut', async () => {
      device.answers = []
      device.send(report)
      await new Promise((resolve) => setTimeout(resolve, 200))
      return device.answers.length === 0
    })
    device.close()
  },
)

test.serial('no answer before MDB has it; what was sent again is stored once', async (t) => {
  const channel = await rig.channel({ protocol: 'teltonika' }, true)
  const device = await UdpDevice.open(channel.port)
  rig.processes.mdb?.kill()
  await rig.processes.mdb?.exited
  device.send(avl(1, imei(3)))
  await until('it waits for the store', async () => (await metric(/^tg_waiting_bytes (\d+)$/m)) > 0)
  await until('its time is over', async () => (await metric(/^tg_waiting_bytes (\d+)$/m)) === 0)
  t.deepEqual(device.answers, [])
  await rig.start('mdb')
  for (let i = 0; i < 3; i++) device.send(avl(1, imei(3)))
  await device.answered(3)
  t.is((await rig.messages(channel)).length, 1)
  await until('it is logged', async () => (await rig.logs(channel)).some((item) => item.code === 50))
  t.is((await rig.gw('GET', `/gw/channels/${channel.id}/connections`)).result.length, 1, 'the peer is still known')
  device.close()
})

test.serial('what is remembered and taken of sources is bounded; noise is not remembered', async (t) => {
  const channel = await rig.channel({ protocol: 'teltonika' }, true)
  const devices = await Promise.all(Array.from({ length: peers_max * 3 }, () => UdpDevice.open(channel.port)))
  for (const [i, device] of devices.entries()) {
    device.send('GET / HTTP/1.1\r\n\r\n')
    device.send(avl(i, imei(i)))
    await device.answered(1)
  }
  const connections = async () => (await rig.gw('GET', `/gw/channels/${channel.id}/connections`)).result
  const idents = (await connections()).map(({ ident }) => ident)
  t.deepEqual(
    idents,
    devices.map((_, i) => imei(i)).slice(-idents.length),
    'those that were silent longest were forgotten',
  )
  t.true(idents.length > 0 && idents.length <= peers_max)
  devices[0]!.send(avl(99, imei(0)))
  await devices[0]!.answered(2)
  const [flood] = devices
  await until('its rate is bounded', async () => {
    for (let i = 0; i < per_source_max * 2; i++) flood!.send('noise')
    await new Promise((resolve) => setTimeout(resolve, 50))
    return (await metric(/^tg_datagrams_dropped\{reason="rate"\} (\d+)$/m)) > 0
  })
  await until('it is logged', async () => (await rig.logs(channel)).some((item) => item.code === 24))
  // Its time comes again.
  await until('it is served again', async () => {
    flood!.answers = []
    flood!.send(avl(100, imei(0)))
    await flood!.answered(1, 300)
    return true
  })
  for (const device of devices) device.close()
})

test.serial('every protocol there is can be chosen, and gets a port for each of its transports', async (t) => {
  const names = protocolNames()
  const { status, result, errors } = await rig.gw(
    'POST',
    '/gw/channels',
    names.map((protocol) => ({ protocol, name: `all ${protocol}` })),
  )
  t.is(status, 200)
  t.deepEqual(errors, [])
  t.deepEqual(
    result.map(({ protocol }) => protocol),
    names,
  )
  const wanted = protocols().flatMap(({ transports }, i) =>
    transports.map((transport) => `${result[i]!.id} ${transport}`),
  )
  const line = /"channel":(\d+),"port":\d+,"transport":"(tcp|udp)".*"a channel is open"/g
  await until(
    'each is open',
    () => {
      const text = rig.processes['tg-1']!.output()
      const open = new Set([...text.matchAll(line)].map(([, channel, transport]) => `${channel} ${transport}`))
      return wanted.every((one) => open.has(one))
    },
    50_000,
  )
  t.true((await fetch(`${rig.processes['tg-1']!.config.urls.tg[0]}/readyz`)).ok)
})
