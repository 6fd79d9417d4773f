import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { ApiError } from '#services/common/errors.ts'

/** A repeat of a POST with the same Idempotency-Key gets the first answer within this time. */
const kept_ms_max = 600_000
/** Bounds of the store; the oldest answers go first. */
const answers_max = 10_000
const bytes_max = 64 * 1024 * 1024
/** A longer answer is not kept: its repeat is told that the work is done. */
const answer_bytes_max = 1024 * 1024
const key_length_max = 255

interface Entry {
  /** Of the body: a key used for other work is a mistake of the caller. */
  hash: string
  /** ms since 1970 UTC. */
  began: number
  answer: { status: number; type: string; body: Buffer | undefined } | undefined
}

declare module 'fastify' {
  interface FastifyRequest {
    idempotency: string | undefined
  }
}

/** Header that makes a POST repeatable, or undefined. */
export function idempotencyKey(request: {
  method: string
  headers: NodeJS.Dict<string | string[]>
}): string | undefined {
  if (request.method !== 'POST') return undefined
  const key = request.headers['idempotency-key']
  if (typeof key !== 'string') return undefined
  if (key.length === 0 || key.length > key_length_max) {
    throw new ApiError('malformed', `Idempotency-Key: 1 to ${key_length_max} characters`)
  }
  return key
}

/** Answers POST requests with a known Idempotency-Key from memory: per account, path and key. */
export function rememberAnswers(app: FastifyInstance): void {
  const entries = new Map<string, Entry>()
  let bytes = 0

  const drop = (name: string) => {
    bytes -= entries.get(name)?.answer?.body?.length ?? 0
    entries.delete(name)
  }
  const makeRoom = () => {
    for (const [name, entry] of entries) {
      const old = entry.began < Date.now() - kept_ms_max
      if (!old && entries.size <= answers_max && bytes <= bytes_max) return
      // Work under way keeps its place: a repeat would double it.
      if (entry.answer) drop(name)
    }
  }

  app.decorateRequest('idempotency', undefined)
  app.addHook('preHandler', async (request, reply) => {
    const key = idempotencyKey(request)
    if (key === undefined) return
    const name = `${request.account} ${request.url} ${key}`
    const body = Buffer.isBuffer(request.body) ? request.body : JSON.stringify(request.body ?? null)
    const hash = createHash('sha256').update(body).digest('base64')
    const entry = entries.get(name)
    if (!entry || entry.began < Date.now() - kept_ms_max) {
      drop(name)
      makeRoom()
      entries.set(name, { hash, began: Date.now(), answer: undefined })
      request.idempotency = name
      return
    }
    if (entry.hash !== hash) throw new ApiError('conflict', 'Idempotency-Key: it was used with another body')
    if (!entry.answer) {
      throw new ApiError('conflict', 'Idempotency-Key: the first request is still under way', { retryAfter: 1 })
    }
    const { status, type, body: answer } = entry.answer
    if (!answer) throw new ApiError('conflict', 'Idempotency-Key: done before; its answer was too long to be kept')
    return reply.code(status).type(type).header('idempotent-replayed', 'true').send(answer)
  })
  app.addHook('onSend', async (request, reply, payload) => {
    const name = request.idempotency
    const entry = name === undefined ? undefined : entries.get(name)
    if (name === undefined || !entry) return
    request.idempotency = undefined
    // Nothing was done, or nobody knows: a repeat is to try again.
    if (reply.statusCode >= 500 || reply.statusCode === 429) return drop(name)
    const body = Buffer.from(typeof payload === 'string' || Buffer.isBuffer(payload) ? payload : '')
    const kept = body.length <= answer_bytes_max
    entry.answer = {
      status: reply.statusCode,
      type: String(reply.getHeader('content-type') ?? 'application/json'),
      body: kept ? body : undefined,
    }
    if (kept) bytes += body.length
    makeRoom()
  })
}
