import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import swagger from '@fastify/swagger'
import { Ajv } from 'ajv'
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fastify from 'fastify'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { ApiError, type ErrorItem, toApiError } from './errors.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Account on whose behalf PROD forwards the call; undefined: an internal caller, which sees all. */
    account: number | undefined
    /** Limits of that account, from PROD: `{channels: 10}`. */
    limits: Record<string, number>
  }
}

export interface ApiOptions {
  /** First part of its paths: `gw`, `mdb`, … */
  system: string
  title: string
  log: FastifyBaseLogger
  /** Calls must carry it as bearer; undefined: the service has its own `authenticate`. */
  internalToken?: string
  /** Paths of its own that need no token. */
  open?: readonly string[]
  /** Instead of the internal token: throws ApiError `unauthorized`, may set `request.account`. */
  authenticate?: (request: FastifyRequest) => Promise<void> | void
  /** Rejects with the reason while a dependency is away. */
  ready?: () => Promise<void>
  /** Largest request body in bytes. */
  bodyLimit?: number
  registry?: Registry
}

/** Paths that need no token: probes carry none. */
const open_paths = new Set(['/healthz', '/readyz', '/metrics', '/openapi.json'])

const digest = (text: string) => createHash('sha256').update(text).digest()

/** Compares secrets in constant time. */
export function sameSecret(a: string, b: string): boolean {
  return timingSafeEqual(digest(a), digest(b))
}

/** The bearer token of a request, or undefined. */
export function bearer(request: FastifyRequest): string | undefined {
  const header = request.headers.authorization
  return header?.startsWith('Bearer ') ? header.slice(7).trim() : undefined
}

/** `channels=10,devices=5` as an object. */
function parseLimits(header: unknown): Record<string, number> {
  const limits: Record<string, number> = {}
  if (typeof header !== 'string') return limits
  for (const part of header.split(',')) {
    const [name = '', value = ''] = part.split('=')
    if (name && Number.isFinite(Number(value))) limits[name.trim()] = Number(value)
  }
  return limits
}

/** An application of `createApi`; `registry` takes further metrics. */
export type Api = FastifyInstance & { readonly registry: Registry }

interface ValidationIssue {
  instancePath?: string
  keyword?: string
  message?: string
  params?: Record<string, unknown>
}

/** `body/0/port must be integer`, `body/0: unknown field "prot"`. */
function validationReason(where: string, issue: ValidationIssue): string {
  const place = `${where}${issue.instancePath ?? ''}`
  if (issue.keyword === 'additionalProperties') return `${place}: unknown field "${issue.params?.additionalProperty}"`
  if (issue.keyword === 'enum') return `${place} must be one of ${String(issue.params?.allowedValues)}`
  return `${place} ${issue.message ?? 'is not valid'}`
}

/**
 * The application of one service, apart from listen: guideline envelope, errors, validation, probes, metrics, OpenAPI.
 * Routes are added by the caller; `app.inject` tests them without a port.
 */
export async function createApi(options: ApiOptions): Promise<Api> {
  const registry = options.registry ?? new Registry()
  if (!options.registry) collectDefaultMetrics({ register: registry })
  const app = fastify({
    loggerInstance: options.log,
    logController: new fastify.LogController({ disableRequestLogging: true }),
    bodyLimit: options.bodyLimit ?? 16 * 1024 * 1024,
    requestIdHeader: 'x-request-id',
    genReqId: () => randomUUID(),
    routerOptions: { maxParamLength: 65_536 },
    forceCloseConnections: 'idle',
  })
  // A body is taken as it stands; a query, which is text, is converted to what its schema says.
  const strict = new Ajv({
    allErrors: false,
    strict: false,
    coerceTypes: false,
    useDefaults: true,
  })
  const coercing = new Ajv({
    allErrors: false,
    strict: false,
    coerceTypes: true,
    useDefaults: true,
  })
  app.setValidatorCompiler(({ schema, httpPart }) => (httpPart === 'body' ? strict : coercing).compile(schema))

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: options.title, version: '1' },
      components: {
        securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      },
      security: [{ token: [] }],
    },
  })

  app.decorateRequest('account', undefined)
  app.decorateRequest('limits', undefined as unknown as Record<string, number>)
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
    request.limits = {}
    const path = request.url.split('?', 1)[0] ?? ''
    if (open_paths.has(path) || options.open?.includes(path)) return
    if (options.authenticate) return options.authenticate(request)
    const token = bearer(request)
    if (options.internalToken === undefined || token === undefined || !sameSecret(token, options.internalToken)) {
      throw new ApiError('unauthorized', 'no or unknown token: send "Authorization: Bearer TOKEN"')
    }
    const account = request.headers['x-milepost-account']
    if (account !== undefined) {
      request.account = Number(account)
      if (!Number.isSafeInteger(request.account))
        throw new ApiError('malformed', 'x-milepost-account must be an integer')
    }
    request.limits = parseLimits(request.headers['x-milepost-limits'])
  })
  app.addHook('onResponse', async (request, reply) => {
    const { statusCode } = reply
    const probe = open_paths.has(request.url)
    const level = statusCode < 500 || probe ? 'debug' : statusCode === 503 ? 'warn' : 'error'
    request.log[level](
      {
        method: request.method,
        url: request.url,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime * 10) / 10,
      },
      'request',
    )
  })

  app.setErrorHandler(async (error: unknown, request, reply) => {
    if (toApiError(fromFramework(error) ?? error).kind === 'too_large') await passOver(request)
    return sendError(reply, request, error)
  })
  app.setNotFoundHandler((request, reply) =>
    sendError(
      reply,
      request,
      new ApiError('not_found', `there is no ${request.method} ${request.url.split('?', 1)[0]}`),
    ),
  )

  app.get('/healthz', { schema: { hide: true } }, () => ({
    result: [{ status: 'alive' }],
  }))
  app.get('/readyz', { schema: { hide: true } }, async () => {
    try {
      await options.ready?.()
    } catch (error) {
      if (error instanceof ApiError) throw error
      throw new ApiError('unavailable', (error as Error).message, {
        cause: error,
      })
    }
    return { result: [{ status: 'ready' }] }
  })
  app.get('/metrics', { schema: { hide: true } }, async (_request, reply) => {
    reply.type(registry.contentType)
    return registry.metrics()
  })
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
  app.decorate('registry', registry)
  return app as unknown as Api
}

/** A body that is refused is read and thrown away for so long: a connection closed at once would cut the answer off, too. */
const pass_over_time_max_ms = 5_000

async function passOver({ raw }: FastifyRequest): Promise<void> {
  if (raw.readableEnded || raw.destroyed) return
  await new Promise<void>((resolve) => {
    const late = setTimeout(resolve, pass_over_time_max_ms)
    const done = () => {
      clearTimeout(late)
      resolve()
    }
    raw.once('end', done).once('close', done).resume()
  })
}

/** Answers with the envelope of one error. Used by the error handler and by handlers that stream. */
export function sendError(reply: FastifyReply, request: FastifyRequest, error: unknown): FastifyReply {
  const known = fromFramework(error) ?? toApiError(error)
  if (known.kind === 'internal') request.log.error({ err: known.cause }, 'a defect of ours')
  if (known.retryAfter !== undefined) reply.header('retry-after', String(known.retryAfter))
  return reply.code(known.status).send({ result: [], errors: [known.item()] })
}

/** fastify's own refusals in our words. */
function fromFramework(error: unknown): ApiError | undefined {
  if (error instanceof ApiError || typeof error !== 'object' || error === null) return undefined
  const e = error as {
    validation?: ValidationIssue[]
    validationContext?: string
    statusCode?: number
    message: string
  }
  if (e.validation?.[0])
    return new ApiError('malformed', validationReason(e.validationContext ?? 'body', e.validation[0]))
  if (e.statusCode === 413) return new ApiError('too_large', 'the request body is too large')
  if (e.statusCode !== undefined && e.statusCode >= 400 && e.statusCode < 500)
    return new ApiError('malformed', e.message)
  return undefined
}

/** What a handler answers with. */
export interface Envelope<T> {
  result: T[]
  errors?: ErrorItem[]
}

/** The envelope of a call on many items: partly done is 200 with both, nothing done is the first error's status. */
export function envelope<T>(reply: FastifyReply, result: T[], errors: ApiError[] = []): Envelope<T> {
  const first = errors[0]
  if (!first) return { result }
  if (result.length === 0) {
    reply.code(first.status)
    if (first.retryAfter !== undefined) reply.header('retry-after', String(first.retryAfter))
  }
  return { result, errors: errors.map((error) => error.item()) }
}

/** Runs `work` on each item in order; ApiErrors are collected, others are thrown. */
export async function eachItem<I, T>(
  items: I[],
  work: (item: I, index: number) => Promise<T>,
): Promise<{ result: T[]; errors: ApiError[] }> {
  const result: T[] = []
  const errors: ApiError[] = []
  for (const [index, item] of items.entries()) {
    try {
      result.push(await work(item, index))
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      errors.push(error)
    }
  }
  return { result, errors }
}

/** Query parameter of every list: `fields=id,name`. */
export const fieldsQuery = {
  type: 'string',
  pattern: '^[a-z0-9_.,]+$',
  description: 'only these fields, comma separated',
} as const

/** Keeps only the named fields of an item; `fields` absent: the whole item. A name that is not in `known` is refused. */
export function pickFields<T extends object>(
  item: T,
  fields: string | undefined,
  known?: readonly string[],
): Partial<T> {
  if (fields === undefined) return item
  const picked: Record<string, unknown> = {}
  for (const name of fields.split(',')) {
    if (known && !known.includes(name))
      throw new ApiError('malformed', `fields: there is no "${name}"; fields are ${known.join(', ')}`)
    if (name in item) picked[name] = (item as Record<string, unknown>)[name]
  }
  return picked as Partial<T>
}
