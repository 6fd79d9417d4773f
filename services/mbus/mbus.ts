/** MBUS: the MQTT broker, TCP and WebSocket, authenticated. Every message passes the subscriber's ACL and account. */
import { createHash } from 'node:crypto'
import { createServer, type Socket } from 'node:net'
import { Aedes, type AuthenticateError, type Client } from 'aedes'
import { Gauge } from 'prom-client'
import { createWebSocketStream, WebSocketServer } from 'ws'
import { type AclRule, allows, root_account } from '#services/common/acl.ts'
import { createApi, sameSecret } from '#services/common/api.ts'
import { call } from '#services/common/client.ts'
import { ApiError } from '#services/common/errors.ts'
import { start } from '#services/common/process.ts'

/** A frozen subscriber holds others up no longer than this. */
const drain_time_max_ms = 5_000
const packet_bytes_max = 1024 * 1024
const connections_max = 10_000
/** How often a connected token is asked after again: a removed one is cut within this. */
const recheck_every_ms = 15_000
/** A wrong token waits for its answer: guessing is slow. */
const refusal_delay_ms = 500

/** Who a connection is. */
interface Identity {
  service: boolean
  /** A server of the site, which tells of its own hardware and reads nothing; absent: it is none. */
  server?: string
  account: number
  acl: AclRule[]
  token: string
}

/** What a server logs in as: `server/srv1`, with a password of its own. */
const server_prefix = 'server/'

const refused = (message: string, returnCode: number) =>
  Object.assign(new Error(message), { returnCode }) as AuthenticateError

start(import.meta, async ({ config, log, onStop }) => {
  const identities = new WeakMap<Client, Identity>()
  const clients = new Set<Client>()
  /** Owners of channels and devices, as their retained state says: `channels/7` → account. */
  const owners = new Map<string, number>()
  /** SHA-256 of the password of each server, by its name. */
  const servers = new Map(Object.entries((config.options.servers ?? {}) as Record<string, string>))

  async function identify(username: string | undefined, password: string | undefined): Promise<Identity> {
    if (username === 'service' && password !== undefined && sameSecret(password, config.internal_token)) {
      return { service: true, account: 0, acl: [], token: '' }
    }
    if (username?.startsWith(server_prefix)) return identifyServer(username.slice(server_prefix.length), password)
    const token = password || username
    if (!token) throw new ApiError('unauthorized', 'no token')
    const answer = await call<{ account_id: number; acl: AclRule[] }>(
      'GET',
      `${config.urls.prod}/platform/tokens/current`,
      { token },
    )
    const [found] = answer.result
    if (answer.status === 503) throw new ApiError('unavailable', 'PROD is away')
    if (answer.status !== 200 || !found) throw new ApiError('unauthorized', answer.errors[0]?.reason ?? 'unknown token')
    return { service: false, account: found.account_id, acl: found.acl, token }
  }

  function identifyServer(server: string, password = ''): Identity {
    const digest = createHash('sha256').update(password).digest('hex')
    const known = servers.get(server)
    if (known === undefined || !sameSecret(digest, known))
      throw new ApiError('unauthorized', `server "${server}": wrong password, or no server of this site`)
    return { service: false, server, account: 0, acl: [], token: '' }
  }

  /** A server speaks of itself alone. */
  const ownTopic = (server: string, topic: string) =>
    ['log', 'state'].some((kind) => topic.startsWith(`milepost/${kind}/hardware/servers/${server}/`))

  /** `milepost/message/gw/channels/7/ident`: what the ACL calls system gw, collection channels, item 7. */
  function mayRead(identity: Identity, topic: string): boolean {
    if (identity.service) return true
    if (identity.server !== undefined) return false
    const [top, kind, system = '', collection = '', id = ''] = topic.split('/')
    if (top !== 'milepost' || !['message', 'log', 'state'].includes(kind ?? '')) return false
    if (!allows(identity.acl, { system, collection, method: 'GET', ids: [Number(id)] })) return false
    return identity.account === root_account || owners.get(`${collection}/${id}`) === identity.account
  }

  const broker = await Aedes.createBroker({
    concurrency: 1_000,
    drainTimeout: drain_time_max_ms,
    queueLimit: 200,
    maxClientsIdLength: 128,
    keepaliveLimit: 3_600,
    authenticate(client, username, password, done) {
      identify(username, password?.toString()).then(
        (identity) => {
          identities.set(client, identity)
          done(null, true)
        },
        (error) => {
          const away = error instanceof ApiError && error.kind === 'unavailable'
          log.info({ reason: (error as Error).message, client: client.id }, 'a log-in was refused')
          setTimeout(
            () => done(away ? refused('try again', 3) : refused('unknown token', 4), false),
            away ? 0 : refusal_delay_ms,
          )
        },
      )
    },
    authorizePublish(client, packet, done) {
      const identity = client === null ? undefined : identities.get(client)
      if (identity?.server !== undefined)
        return done(ownTopic(identity.server, packet.topic) ? null : new Error('a server publishes of itself alone'))
      if (client !== null && !identity?.service) return done(new Error('only services publish'))
      const [, kind, system, collection, id, property] = packet.topic.split('/')
      if (kind === 'state' && system === 'gw' && property === 'config') learn(`${collection}/${id}`, packet.payload)
      done(null)
    },
    authorizeSubscribe(client, subscription, done) {
      const identity = identities.get(client)
      const allowed =
        identity?.service ||
        (identity?.server === undefined &&
          /^(milepost\/(message|log|state|\+)\/|milepost\/#$|#$)/.test(subscription.topic))
      done(null, allowed ? subscription : null)
    },
    authorizeForward(client, packet) {
      const identity = identities.get(client)
      return identity && mayRead(identity, packet.topic) ? packet : null
    },
  })

  function learn(item: string, payload: string | Buffer): void {
    if (payload.length === 0) return void owners.delete(item)
    try {
      const { account_id } = JSON.parse(payload.toString()) as { account_id?: number }
      if (account_id !== undefined) owners.set(item, account_id)
    } catch {
      log.warn({ item }, 'a state on the bus is not JSON')
    }
  }

  broker.on('client', (client) => void clients.add(client))
  broker.on('clientDisconnect', (client) => void clients.delete(client))
  for (const event of ['clientError', 'connectionError'] as const) {
    broker.on(event, (client, error) =>
      log.debug({ client: client?.id, reason: error.message }, 'a connection ended with an error'),
    )
  }

  const recheck = setInterval(async () => {
    for (const client of clients) {
      const identity = identities.get(client)
      if (!identity || identity.service || identity.server !== undefined) continue
      try {
        identities.set(client, await identify(undefined, identity.token))
      } catch (error) {
        if (error instanceof ApiError && error.kind === 'unauthorized') client.close()
      }
    }
  }, recheck_every_ms)

  const sockets = new Set<Socket>()
  const tcp = createServer((socket) => {
    socket.setNoDelay(true)
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    broker.handle(socket)
  })
  tcp.maxConnections = connections_max

  const app = await createApi({ system: 'mbus', title: 'MBUS: the bus', log, internalToken: config.internal_token })
  const web = new WebSocketServer({
    server: app.server,
    maxPayload: packet_bytes_max,
    handleProtocols: (protocols) => (protocols.has('mqtt') ? 'mqtt' : false),
  })
  web.on('connection', (socket, request) => {
    if (web.clients.size > connections_max) return socket.close(1013, 'too many connections')
    const stream = createWebSocketStream(socket)
    stream.on('error', () => {})
    broker.handle(stream, request)
  })
  new Gauge({
    name: 'mbus_clients',
    help: 'connected clients',
    registers: [app.registry],
    collect() {
      this.set(clients.size)
    },
  })

  onStop(() => new Promise<void>((resolve) => broker.close(() => resolve())))
  onStop(async () => {
    clearInterval(recheck)
    for (const socket of sockets) socket.destroy()
    for (const socket of web.clients) socket.terminate()
    tcp.close()
    await app.close()
  })
  await app.listen({ host: config.host, port: Number(config.options.ws_port) })
  await new Promise<void>((resolve, reject) => tcp.once('error', reject).listen(config.port, config.host, resolve))
})
