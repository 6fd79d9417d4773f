import { type Readable, Transform } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Dispatcher, Pool } from 'undici'
import { ApiError } from '#services/common/errors.ts'
import { idempotencyKey } from './idempotency.ts'

export interface ProxyOptions {
  /** First part of the path → where that system listens. */
  upstreams: Record<string, string>
  internalToken: string
}

/** Largest request body that is passed on; MDB takes as much. */
export const body_bytes_max = 32 * 1024 * 1024
const connections_max = 64
/** More requests under way to one system than this wait too long to be of use. */
const under_way_max = 1_000
const connect_time_max_ms = 2_000
/** Until the answer begins. */
const answer_time_max_ms = 60_000

/** Headers that concern one connection, not the message; what undici sets itself; and what only PROD may say. */
const kept_back = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'host',
  'authorization',
  'idempotency-key',
  'x-request-id',
])

/** Headers of a message without those above and those that its `connection` header names. */
function passedOn(headers: NodeJS.Dict<string | string[]>): Record<string, string | string[]> {
  const named = new Set(
    String(headers.connection ?? '')
      .toLowerCase()
      .split(/\s*,\s*/),
  )
  const kept: Record<string, string | string[]> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || kept_back.has(name) || named.has(name) || name.startsWith('x-milepost-')) continue
    kept[name] = value
  }
  return kept
}

const tooLarge = () => new ApiError('too_large', `the request body is larger than ${body_bytes_max} bytes`)

/** Lets a body through and breaks off when it grows too large: a chunked one does not say its size before. */
function bounded(payload: Readable): Readable {
  let bytes = 0
  const gate = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      if (bytes > body_bytes_max) done(tooLarge())
      else done(null, chunk)
    },
  })
  payload.on('error', (error) => gate.destroy(error))
  payload.on('aborted', () => gate.destroy(new Error('the client broke off')))
  return payload.pipe(gate)
}

async function collect(payload: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of payload) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** The ApiError among an error and its causes. */
function apiErrorIn(error: unknown): ApiError | undefined {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof ApiError) return at
  return undefined
}

/** Adds `/{system}/*` for each upstream: bodies are streamed both ways, the account goes along. */
export async function addProxy(app: FastifyInstance, options: ProxyOptions): Promise<void> {
  const pools = new Map<string, Pool>()
  app.addHook('onClose', async () => {
    await Promise.all([...pools.values()].map((pool) => pool.destroy()))
  })
  await app.register(async (scope) => {
    // Bodies are not looked into here; a repeatable POST is held whole, since its repeat is compared with it.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (request: FastifyRequest, payload: Readable, done) => {
      if (Number(request.headers['content-length'] ?? 0) > body_bytes_max) return done(tooLarge())
      const body = bounded(payload)
      if (idempotencyKey(request) === undefined) return done(null, body)
      collect(body).then((whole) => done(null, whole), done)
    })
    for (const [system, url] of Object.entries(options.upstreams)) {
      const pool = new Pool(url, {
        connections: connections_max,
        pipelining: 1,
        connect: { timeout: connect_time_max_ms },
        headersTimeout: answer_time_max_ms,
        bodyTimeout: answer_time_max_ms,
      })
      pools.set(system, pool)
      let underWay = 0
      const handler = async (request: FastifyRequest, reply: FastifyReply) => {
        if (underWay >= under_way_max) throw new ApiError('unavailable', `${system}: too many requests under way`)
        underWay++
        try {
          return await forward(pool, system, options.internalToken, request, reply)
        } finally {
          underWay--
        }
      }
      scope.route({
        method: ['GET', 'POST', 'PUT', 'DELETE'],
        url: `/${system}/*`,
        exposeHeadRoute: false,
        schema: { hide: true },
        handler,
      })
    }
  })
}

async function forward(pool: Pool, system: string, token: string, request: FastifyRequest, reply: FastifyReply) {
  const headers = passedOn(request.headers)
  headers.authorization = `Bearer ${token}`
  headers['x-request-id'] = request.id
  headers['x-milepost-account'] = String(request.account)
  const limits = Object.entries(request.limits)
  if (limits.length > 0) headers['x-milepost-limits'] = limits.map(([name, value]) => `${name}=${value}`).join(',')
  const method = request.method as Dispatcher.HttpMethod
  const body = request.body as Readable | Buffer | undefined
  if (body === undefined) {
    delete headers['content-length']
    delete headers['content-type']
  }
  const send = () => pool.request({ path: request.url, method, headers, body: body ?? null })
  let answer: Dispatcher.ResponseData
  try {
    // A connection that was kept open may have just been closed by the other side: a read is simply repeated.
    answer = await send().catch((error) => {
      if (method !== 'GET' || body !== undefined || error.code !== 'UND_ERR_SOCKET') throw error
      return send()
    })
  } catch (cause) {
    throw (
      apiErrorIn(cause) ??
      new ApiError('unavailable', `${system} does not answer: ${(cause as Error).message}`, { cause })
    )
  }
  if (answer.statusCode === 401) {
    answer.body.destroy()
    request.log.error({ system }, 'the internal token is refused')
    throw new ApiError('unavailable', `${system} refuses this front door`)
  }
  reply.code(answer.statusCode).headers(passedOn(answer.headers))
  if (request.idempotency === undefined) return reply.send(answer.body)
  try {
    return reply.send(Buffer.from(await answer.body.arrayBuffer()))
  } catch (cause) {
    throw new ApiError('unavailable', `${system}: the answer broke off`, { cause })
  }
}
