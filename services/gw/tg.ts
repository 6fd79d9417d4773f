/** tg: the telematics gateway. One event loop carries devices' connections: decode, store, and only then answer. */
import { randomInt, randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { Counter, Gauge, Histogram } from 'prom-client'
import { loadProtocol } from '#pvm/index.ts'
import { createApi } from '#services/common/api.ts'
import { Bus } from '#services/common/bus.ts'
import { call } from '#services/common/client.ts'
import { start } from '#services/common/process.ts'
import { type CloseReason, closeCodes } from './codes.ts'
import { Configuration } from './configuration.ts'
import type { Connection } from './connection.ts'
import { addConnections } from './connections.ts'
import { Events } from './events.ts'
import { Listener } from './listener.ts'
import { type Channel, type Count, type Device, deviceKey, today } from './model.ts'
import { TcpConnection } from './tcp.ts'
import type { DatagramHost } from './udp.ts'
import { Writer } from './writer.ts'

/** File descriptors and memory of one process; `options.connections_max` changes it. */
const connections_max_default = 50_000
/** A peer's session takes some KB; `options.udp_peers_max` changes it. */
const udp_peers_max_default = 20_000
/** `options.udp_per_source_max` changes it. */
const udp_per_source_max_default = 2_000
const check_every_ms = 1_000
/** Of the 5 s that a stop may take. */
const stop_store_max_ms = 3_000
/** Connection ids: a random part for each run, so that several tg's do not clash; 15 digits at most. */
const id_runs = 2 ** 17
const id_step = 2 ** 32

start(import.meta, async ({ config, log, onStop }) => {
  const { urls, internal_token: token, instance } = config
  const device_host = String(config.options.device_host ?? '0.0.0.0')
  const connections_max = Number(config.options.connections_max ?? connections_max_default)
  const source = randomUUID()
  const api = await createApi({
    system: 'gw',
    title: 'tg: connections of devices',
    log,
    internalToken: token,
    ready: async () => {
      if (!configuration.known) throw new Error('tgctl is away and no configuration is known')
      for (const { failure, channel } of listeners.values())
        if (failure !== undefined) throw new Error(`channel ${channel.id}: ${failure}`)
      const answer = await call('GET', `${urls.mdb}/healthz`, { token, timeout_ms: 2_000 })
      if (answer.status !== 200) throw new Error('MDB does not answer')
    },
  })
  const registers = [api.registry]
  const metrics = {
    messages: new Counter({ name: 'tg_messages_stored', help: 'messages stored', registers }),
    duplicates: new Counter({ name: 'tg_messages_duplicate', help: 'messages stored before', registers }),
    closed: new Counter({ name: 'tg_closed', help: 'connections closed', labelNames: ['reason'] as const, registers }),
    accepted: new Counter({ name: 'tg_accepted', help: 'connections accepted', registers }),
    received: new Counter({ name: 'tg_received_bytes', help: 'bytes of connections that ended', registers }),
    datagrams: new Counter({ name: 'tg_datagrams', help: 'datagrams that came', registers }),
    dropped: new Counter({
      name: 'tg_datagrams_dropped',
      help: 'datagrams thrown away unread',
      labelNames: ['reason'] as const,
      registers,
    }),
    errors: new Counter({ name: 'tg_packet_errors', help: 'packets with an error', registers }),
    batch: new Histogram({
      name: 'tg_batch_messages',
      help: 'messages of a batch',
      buckets: [1, 10, 100, 500, 1_000, 2_000, 4_000, 10_000],
      registers,
    }),
    store: new Histogram({
      name: 'tg_store_seconds',
      help: 'time of a batch in MDB',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5],
      registers,
    }),
  }

  const bus = new Bus({ url: urls.mbus, token, name: instance, log })
  const events = new Events(bus, { mdb: urls.mdb, token, instance, log })
  const listeners = new Map<number, Listener>()
  const connections = new Map<number, Connection>()
  /** The newest connection of an ident on a channel. */
  const byIdent = new Map<string, Connection>()
  const counts = new Map<string, Count>()
  let udpPeers = 0
  let nextId = randomInt(1, id_runs) * id_step
  let stopping = false

  const writer = new Writer({
    url: urls.mdb,
    token,
    log,
    onStored(messages, ms, stored) {
      metrics.batch.observe(messages)
      metrics.store.observe(ms / 1000)
      let fresh = 0
      for (const { channel } of listeners.values()) {
        const count = stored.get(channel.container_id)
        if (!count) continue
        fresh += count
        addCount(channel.account_id, count)
      }
      metrics.messages.inc(fresh)
      metrics.duplicates.inc(Math.max(0, messages - fresh))
    },
    onDrain() {
      for (const connection of connections.values()) connection.resume()
    },
  })

  function addCount(account_id: number, messages: number): void {
    const day = today()
    const key = `${day}/${account_id}`
    const count = counts.get(key) ?? { source, account_id, day, messages: 0 }
    count.messages += messages
    counts.set(key, count)
  }

  /** Counts of today and yesterday; older ones have been told for a day. */
  function currentCounts(): Count[] {
    const yesterday = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10)
    for (const [key, count] of counts) if (count.day < yesterday) counts.delete(key)
    return [...counts.values()]
  }

  const configuration = new Configuration({
    url: urls.tgctl,
    token,
    file: join(config.data, 'configuration.json'),
    log,
    counts: currentCounts,
    onChange: apply,
  })

  /** Makes the open ports what the configuration says. */
  function apply(): void {
    if (stopping) return
    for (const [id, listener] of listeners) {
      const wanted = configuration.channels.get(id)
      const { channel } = listener
      if (!wanted?.enabled) shut(listener, 'deleted')
      else if (wanted.port !== channel.port || wanted.protocol !== channel.protocol) shut(listener, 'changed')
      else listener.channel = wanted
    }
    for (const channel of configuration.channels.values()) {
      if (channel.enabled && !listeners.has(channel.id)) open(channel)
    }
    for (const connection of connections.values()) {
      const { account_id, policy } = connection.listener.channel
      const reason = configuration.blocked.get(account_id)
      if (reason !== undefined) connection.close('blocked', reason)
      else if (policy === 'registered' && connection.ident && !host.device(account_id, connection.ident))
        connection.close('refused')
    }
  }

  function open(channel: Channel): void {
    try {
      const protocol = loadProtocol(channel.protocol)
      listeners.set(channel.id, new Listener(channel, protocol, device_host, { accepted, emit, datagrams: host }, log))
    } catch (error) {
      log.error({ channel: channel.id, reason: (error as Error).message }, 'a channel cannot be opened')
    }
  }

  function shut(listener: Listener, reason: CloseReason): void {
    listeners.delete(listener.channel.id)
    listener.stop()
    for (const connection of connections.values()) if (connection.listener === listener) connection.close(reason)
    listener.close()
  }

  function emit(channel: Channel, event: Parameters<Events['emit']>[1]): void {
    if (event.event === 'error') metrics.errors.inc()
    events.emit(channel, event)
  }

  function accepted(listener: Listener, socket: Socket): void {
    const { channel } = listener
    const address = socket.remoteAddress ?? ''
    const ofPeer = listener.peers.get(address) ?? 0
    const reason = configuration.blocked.has(channel.account_id) ? 'blocked' : 'limit'
    if (
      reason === 'blocked' ||
      connections.size >= connections_max ||
      listener.connections >= channel.connections_max ||
      ofPeer >= channel.connections_per_peer_max
    ) {
      socket.on('error', () => {})
      socket.destroy()
      metrics.closed.inc({ reason })
      const { code, text } = closeCodes[reason]
      const peer = `${address}:${socket.remotePort}`
      return emit(channel, { event: 'close', peer, transport: 'tcp', code, reason: text })
    }
    metrics.accepted.inc()
    listener.connections++
    listener.peers.set(address, ofPeer + 1)
    const connection = new TcpConnection(nextId++, listener, socket, host)
    connections.set(connection.id, connection)
    emit(channel, { event: 'connect', ...connection.who() })
  }

  const identKey = (connection: Connection, ident = connection.ident) => `${connection.listener.channel.id}/${ident}`

  /** Whether a log-in by a transport takes the place of a connection: anyone can write a device's ident into a datagram. */
  const supersedes = (transport: unknown, older: Connection) => transport !== 'udp' || older.transport === 'udp'

  const host: DatagramHost = {
    datagramsPerSourceMax: Number(config.options.udp_per_source_max ?? udp_per_source_max_default),
    peersMax: Number(config.options.udp_peers_max ?? udp_peers_max_default),
    get peers() {
      return udpPeers
    },
    nextId: () => nextId++,
    received: () => metrics.datagrams.inc(),
    admitted(peer) {
      udpPeers++
      connections.set(peer.id, peer)
      emit(peer.listener.channel, { event: 'connect', ...peer.who() })
    },
    dropped: (reason) => metrics.dropped.inc({ reason }),
    device: (account_id, ident): Device | undefined => configuration.devices.get(deviceKey(account_id, ident)),
    blocked: (account_id) => configuration.blocked.get(account_id),
    store: (entry) => writer.add(entry),
    get full() {
      return writer.full
    },
    loggedIn(connection, before) {
      if (before !== undefined) unbind(connection, before)
      const key = identKey(connection)
      const older = byIdent.get(key)
      if (connections.has(connection.id) && (!older || supersedes(connection.transport, older))) {
        byIdent.set(key, connection)
        if (older !== connection) older?.close('ident_twice')
      }
      emit(connection.listener.channel, { event: 'login', ...connection.who() })
    },
    closed(connection) {
      const { listener, closeReason = 'ours', address, ident } = connection
      if (ident !== undefined) unbind(connection, ident)
      const known = connections.delete(connection.id)
      metrics.closed.inc({ reason: closeReason })
      metrics.received.inc(connection.received_bytes)
      if (connection.transport === 'udp') {
        if (known) udpPeers--
        return
      }
      listener.connections--
      const left = (listener.peers.get(address) ?? 1) - 1
      if (left > 0) listener.peers.set(address, left)
      else listener.peers.delete(address)
    },
    publish(connection, texts) {
      // A level of a topic cannot hold these.
      const ident = (connection.ident ?? '-').replaceAll(/[#+/\p{Cc}]/gu, '_')
      const topic = `milepost/message/gw/channels/${connection.listener.channel.id}/${ident}`
      for (const text of texts) bus.publishText(topic, text)
    },
  }

  function unbind(connection: Connection, ident: string): void {
    const key = identKey(connection, ident)
    if (byIdent.get(key) === connection) byIdent.delete(key)
  }

  for (const event of ['created', 'updated', 'deleted'])
    bus.subscribe(`milepost/log/gw/+/+/${event}`, () => void configuration.refresh())
  // The same device may have come back through another tg: there it is newer.
  bus.subscribe('milepost/log/gw/channels/+/login', (payload) => {
    const login = payload as { tg: string; transport: string; ident: string; timestamp: number; 'channel.id': number }
    if (login.tg === instance) return
    const older = byIdent.get(`${login['channel.id']}/${login.ident}`)
    if (older && older.since < login.timestamp && supersedes(login.transport, older)) older.close('ident_twice')
  })

  new Gauge({
    name: 'tg_connections',
    help: 'open connections of devices, UDP peers among them',
    registers,
    collect() {
      this.set(connections.size)
    },
  })
  new Gauge({
    name: 'tg_waiting_bytes',
    help: 'bytes of messages that are not stored yet',
    registers,
    collect() {
      this.set(writer.bytes)
    },
  })
  new Gauge({
    name: 'tg_bus_dropped',
    help: 'messages not published because the bus was away or slow',
    registers,
    collect() {
      this.set(bus.dropped)
    },
  })

  addConnections(api, {
    all: () => connections.values(),
    byIdent: (channel_id, ident) => byIdent.get(`${channel_id}/${ident}`),
  })

  const checks = setInterval(() => {
    const now = performance.now()
    for (const connection of connections.values()) connection.check(now)
  }, check_every_ms)

  onStop(async () => {
    stopping = true
    clearInterval(checks)
    for (const listener of listeners.values()) listener.stop()
    for (const connection of connections.values()) connection.closeWhenAnswered('restart')
    const late = new Promise((resolve) => setTimeout(resolve, stop_store_max_ms))
    await Promise.race([writer.idle(), late])
    for (const connection of connections.values()) connection.close('restart')
    for (const listener of listeners.values()) listener.close()
    await Promise.all([events.close(), configuration.close()])
    await Promise.all([bus.close(), api.close()])
  })
  await api.listen({ host: config.host, port: config.port ?? 0 })
  await configuration.start()
})
