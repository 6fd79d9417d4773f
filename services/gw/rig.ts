/** What GW's tests stand on: real PostgreSQL, MDB, MBUS, tgctl and tg's, and devices that speak over sockets. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { loadProtocol, transportsOf } from '#pvm/index.ts'
import { call } from '#services/common/client.ts'
import type { ProcessConfig } from '#services/common/process.ts'
import {
  freePort,
  startPostgres,
  startProcess,
  type TestProcess,
  temporaryFolder,
  until,
} from '#services/common/testing.ts'
import type { Channel } from './model.ts'

/** More than the tests make channels. */
const device_ports = 200

export type Json = Record<string, unknown>

export interface Rig {
  ports: { tgctl: number; mdb: number; tg: number[]; device: number }
  processes: Record<string, TestProcess>
  postgresPid: number
  /** What PROD says of accounts; may be changed. */
  accounts: { id: number; limits: Json }[]
  start(name: string): Promise<void>
  gw(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<{ status: number; result: Json[]; errors: { code: number; reason: string; id?: number }[] }>
  /** A channel that all tg's listen on; `udp`: with datagrams, too. */
  channel(settings: Json, udp?: boolean): Promise<Channel>
  messages(channel: Channel): Promise<Json[]>
  logs(channel: Channel): Promise<Json[]>
  stop(): Promise<void>
}

/** Starts everything; takes some seconds. `tg_options`: for all tg's. */
export async function startRig(tg_count = 1, tg_options: Json = {}): Promise<Rig> {
  const folder = temporaryFolder()
  const accounts: Rig['accounts'] = [{ id: 1, limits: {} }]
  const prod = createServer((_request, response) => response.end(JSON.stringify({ result: accounts })))
  await new Promise<void>((resolve) => prod.listen(0, '127.0.0.1', resolve))
  const postgres = await startPostgres()
  const tg_ports = await Promise.all(Array.from({ length: tg_count }, () => freePort()))
  const [tgctl, mdb, mbus, mbus_ws] = await Promise.all([1, 2, 3, 4].map(() => freePort()))
  const at = (port: number | undefined) => `http://127.0.0.1:${port}`
  const urls: ProcessConfig['urls'] = {
    prod: at((prod.address() as AddressInfo).port),
    tgctl: at(tgctl),
    mdb: at(mdb),
    admin: '',
    mbus: `mqtt://127.0.0.1:${mbus}`,
    tg: tg_ports.map(at),
  }
  const processes: Record<string, TestProcess> = {}
  const device_first = await freePort(device_ports)
  const starts: Record<string, () => Promise<TestProcess>> = {
    mdb: () => startProcess('services/mdb/mdb.ts', { data: join(folder.path, 'mdb'), port: mdb as number, urls }),
    mbus: () =>
      startProcess(
        'services/mbus/mbus.ts',
        { data: join(folder.path, 'mbus'), port: mbus as number, urls, options: { ws_port: mbus_ws } },
        mbus_ws,
      ),
    tgctl: () =>
      startProcess('services/gw/tgctl.ts', {
        data: join(folder.path, 'tgctl'),
        port: tgctl as number,
        urls,
        postgres: postgres.config,
        options: { workers: 2, device_ports: [device_first, device_first + device_ports - 1] },
      }),
  }
  for (const [index, port] of tg_ports.entries()) {
    starts[`tg-${index + 1}`] = () =>
      startProcess('services/gw/tg.ts', {
        data: join(folder.path, `tg-${index + 1}`),
        instance: `tg-${index + 1}`,
        port,
        urls,
        options: { device_host: '127.0.0.1', ...tg_options },
      })
  }
  const token = 'internal'
  const read = async (path: string): Promise<Json[]> => {
    const { status, result, errors } = await rig.gw('GET', path)
    if (status !== 200) throw new Error(`GET ${path} answered ${status}: ${errors[0]?.reason}`)
    return result
  }
  /** Each process logs that it listens, once a transport: nothing else tells that a UDP port is open. */
  const listening = async (channel: Channel) =>
    (await rig.logs(channel)).filter((item) => item.event === 'listen').length >=
    tg_count * transportsOf(loadProtocol(channel.protocol)).length
  const rig: Rig = {
    ports: { tgctl: tgctl as number, mdb: mdb as number, tg: tg_ports, device: device_first },
    processes,
    postgresPid: postgres.pid,
    accounts,
    async start(name) {
      processes[name] = await (starts[name] as () => Promise<TestProcess>)()
      // Alive is not ready: its tables may still be on the way.
      if (name === 'tgctl') await until('tgctl is ready', async () => (await fetch(`${urls.tgctl}/readyz`)).ok)
    },
    async gw(method, path, body, headers = {}) {
      const response = await fetch(`${urls.tgctl}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      })
      const { result = [], errors = [] } = (await response.json()) as { result?: Json[]; errors?: [] }
      return { status: response.status, result, errors }
    },
    async channel(settings, udp = false) {
      const { result, errors } = await rig.gw('POST', '/gw/channels', [settings])
      const [channel] = result as unknown as Channel[]
      if (!channel) throw new Error(JSON.stringify(errors))
      await until('every tg is open', async () => {
        for (const url of urls.tg) if ((await call('GET', `${url}/readyz`, { token })).status !== 200) return false
        if (udp) return listening(channel)
        const socket = await dial(channel.port)
        socket.destroy()
        return true
      })
      return channel
    },
    messages: (channel) => read(`/gw/channels/${channel.id}/messages?count=1000000`),
    logs: (channel) => read(`/gw/channels/${channel.id}/logs?count=10000`),
    async stop() {
      await Promise.all(
        Object.entries(processes)
          .filter(([name]) => name.startsWith('tg'))
          .map(([, p]) => p.stop()),
      )
      await Promise.all(Object.values(processes).map((p) => p.stop()))
      await postgres.stop()
      prod.close()
      folder.remove()
    },
  }
  await Promise.all(['mdb', 'mbus'].map((name) => rig.start(name)))
  await rig.start('tgctl')
  await Promise.all(tg_ports.map((_, index) => rig.start(`tg-${index + 1}`)))
  return rig
}

export function dial(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(socket))
    socket.once('error', reject)
  })
}

/** A device of the test: what came back, and whether the connection ended. */
export class Device {
  readonly socket: Socket
  text = ''
  closed = false

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => (this.text += chunk.toString('latin1')))
    socket.on('error', () => {})
    socket.on('close', () => (this.closed = true))
  }

  static async connect(port: number): Promise<Device> {
    return new Device(await dial(port))
  }

  send(data: string | Buffer): void {
    this.socket.write(typeof data === 'string' ? Buffer.from(data, 'latin1') : data)
  }

  async answered(text: string, time_max_ms?: number): Promise<void> {
    await until(
      `an answer with ${JSON.stringify(text)}, not ${JSON.stringify(this.text)}`,
      () => this.text.includes(text),
      time_max_ms,
    )
  }

  async ended(time_max_ms?: number): Promise<void> {
    await until('the connection is closed', () => this.closed, time_max_ms)
  }
}

/** A device of the test that sends datagrams, each to be told apart by its answers, as hex. */
export class UdpDevice {
  readonly socket: UdpSocket
  readonly port: number
  answers: string[] = []

  constructor(socket: UdpSocket, port: number) {
    this.socket = socket
    this.port = port
    socket.on('message', (bytes) => this.answers.push(bytes.toString('hex')))
  }

  static async open(port: number): Promise<UdpDevice> {
    const socket = createSocket('udp4')
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
    return new UdpDevice(socket, port)
  }

  send(data: string | Buffer): void {
    this.socket.send(typeof data === 'string' ? Buffer.from(data, 'latin1') : data, this.port, '127.0.0.1')
  }

  async answered(count: number, time_max_ms?: number): Promise<void> {
    await until(`${count} answers, not ${this.answers}`, () => this.answers.length >= count, time_max_ms)
  }

  close(): void {
    this.socket.close()
  }
}

/** A Wialon IPS 1.1 short packet of a time (s). */
export function wialonPoint(time: number): string {
  const [date = '', clock = ''] = new Date(time * 1000).toISOString().split('T')
  const [y = '', m, d] = date.split('-')
  return `#SD#${d}${m}${y.slice(2)};${clock.slice(0, 8).replaceAll(':', '')};5544.6025;N;03739.6834;E;18;99;170;10\r\n`
}
