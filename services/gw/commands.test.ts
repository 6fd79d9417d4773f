import test from 'ava'
import { loadProtocol, Session } from '#pvm/index.ts'
import { until } from '#services/common/testing.ts'
import { Device, type Rig, startRig, UdpDevice } from './rig.ts'

let rig: Rig
test.before(async (t) => {
  t.timeout(180_000)
  rig = await startRig(2)
})
test.after.always(() => rig?.stop())

const post = (path: string, ...body: object[]) => rig.gw('POST', path, body)

test.serial('a command goes out on a device’s TCP connection, and its answer comes back', async (t) => {
  const channel = await rig.channel({ protocol: 'wialon' })
  const device = await Device.connect(channel.port)
  device.send('#L#truck-1;NA\r\n')
  await device.answered('#AL#1')
  const commands = `/gw/channels/${channel.id}/commands`
  const asked = post(commands, { ident: 'truck-1', name: 'message', parameters: { text: 'Halt' }, answer_timeout: 20 })
  await device.answered('#M#Halt\r\n')
  device.send('#AM#1\r\n')
  const { status, result } = await asked
  t.is(status, 200)
  t.like(result, [{ ident: 'truck-1', 'channel.id': channel.id, transport: 'tcp', name: 'message', answer: '1' }])
  t.like((await post(commands, { ident: 'truck-1', name: 'snapshot' })).result, [{ name: 'snapshot', answer: null }])
  await device.answered('#QI#\r\n')
  t.like((await post(commands, { ident: 'truck-1', name: 'snapshot', answer_timeout: 0.2 })).result, [{ answer: null }])

  const unknown = await post(commands, { ident: 'truck-1', name: 'self_destruct' })
  t.is(unknown.status, 400)
  t.regex(unknown.errors[0]!.reason, /no command "self_destruct"; commands are message, snapshot/)
  const missing = await post(commands, { ident: 'truck-1', name: 'message' })
  t.regex(missing.errors[0]!.reason, /needs "text"/)
  const partly = await post(commands, { ident: 'truck-2', name: 'snapshot' }, { ident: 'truck-1', name: 'snapshot' })
  t.is(partly.status, 200)
  t.is(partly.result.length, 1)
  t.regex(partly.errors[0]!.reason, /truck-2 is not connected/)
  t.is((await post(commands, { ident: 'truck-1', name: 'snapshot', answer_timeout: 999 })).status, 400)
  await until('the log tells', async () => {
    const events = (await rig.logs(channel)).map(({ event, name, text }) => `${event} ${name} ${text}`)
    return events.includes('command message undefined') && events.includes('answer message 1')
  })
  device.socket.destroy()
})

test.serial('to a registered device by UDP: at the address it wrote from last', async (t) => {
  const channel = await rig.channel({ protocol: 'gt06' }, true)
  const { result } = await post('/gw/devices', { ident: '359339075005244', name: 'Boat' })
  const id = result[0]!.id as number
  const commands = `/gw/devices/${id}/commands`
  const away = await post(commands, { name: 'locate' })
  t.is(away.status, 404)
  t.like(away.errors, [{ id }])
  const login = Buffer.from('7878110103593390750052442200320100019def0d0a', 'hex')
  const older = await UdpDevice.open(channel.port)
  older.send(login)
  await older.answered(1)
  const newer = await UdpDevice.open(channel.port)
  newer.send(login)
  await newer.answered(1)
  // Through another tg the older one hears of it by the bus.
  const connections = async () => (await rig.gw('GET', `/gw/channels/${channel.id}/connections`)).result
  await until('the newer port alone is known', async () => (await connections()).length === 1)
  const sent = await post(commands, { name: 'locate' })
  t.is(sent.status, 200)
  t.like(sent.result, [
    { 'device.id': id, ident: '359339075005244', transport: 'udp', peer: `127.0.0.1:${newer.socket.address().port}` },
  ])
  await newer.answered(2)
  t.is(older.answers.length, 1)
  const session = new Session(loadProtocol('gt06'), { ident: '359339075005244' })
  t.is(newer.answers[1], Buffer.from(session.command('locate').bytes).toString('hex'))
  const other = { 'x-milepost-account': '2' }
  t.is((await rig.gw('POST', commands, [{ name: 'locate' }], other)).status, 404, 'another account’s device')
  older.close()
  newer.close()
})
