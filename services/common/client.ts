import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { ApiError, type ErrorItem } from './errors.ts'

export interface CallOptions {
  token: string
  body?: unknown
  /** A body already serialised: sent as it is instead of `body`. */
  raw?: string | Buffer
  /** Content type of `raw`, if it is not JSON. */
  type?: string
  account?: number
  requestId?: string
  timeout_ms?: number
}

export interface Answer<T> {
  status: number
  result: T[]
  errors: ErrorItem[]
  retryAfter?: number
}

// Connections to internal services stay open; the number bounds what one process may have under way to one service.
const agent = new Agent({
  keepAlive: true,
  maxSockets: 64,
  keepAliveMsecs: 5_000,
})

/** Opens an internal request; the answer is a stream. Rejects with ApiError `unavailable` when nobody answers. */
export function open(method: string, url: string, options: CallOptions): Promise<IncomingMessage> {
  const payload = options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body))
  const headers: Record<string, string | number> = {
    authorization: `Bearer ${options.token}`,
  }
  if (payload !== undefined) {
    headers['content-type'] = options.type ?? 'application/json'
    headers['content-length'] = Buffer.byteLength(payload)
  }
  if (options.account !== undefined) headers['x-milepost-account'] = options.account
  if (options.requestId !== undefined) headers['x-request-id'] = options.requestId
  return new Promise((resolve, reject) => {
    const away = (cause: unknown) => {
      const { host } = new URL(url)
      reject(new ApiError('unavailable', `${host} does not answer: ${(cause as Error).message}`, { cause }))
    }
    const request = httpRequest(url, { method, headers, agent }, resolve)
    request.setTimeout(options.timeout_ms ?? 10_000, () => request.destroy(new Error('no answer in time')))
    request.on('error', away)
    request.end(payload)
  })
}

/**
 * One internal REST call in the guidelines' envelope. Resolves with any HTTP status;
 * rejects with ApiError `unavailable` when the service is away or its answer is not ours.
 */
export async function call<T = Record<string, unknown>>(
  method: string,
  url: string,
  options: CallOptions,
): Promise<Answer<T>> {
  const response = await open(method, url, options)
  const chunks: Buffer[] = []
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString('utf8')
    const parsed = JSON.parse(text) as { result?: T[]; errors?: ErrorItem[] }
    const answer: Answer<T> = {
      status: response.statusCode ?? 0,
      result: parsed.result ?? [],
      errors: parsed.errors ?? [],
    }
    const retry = Number(response.headers['retry-after'])
    if (Number.isFinite(retry)) answer.retryAfter = retry
    return answer
  } catch (cause) {
    throw new ApiError('unavailable', `${method} ${url}: the answer broke off: ${(cause as Error).message}`, { cause })
  }
}

/** As `call`, but any status other than 200 is thrown as an ApiError with the service's own reason. */
export async function mustCall<T = Record<string, unknown>>(
  method: string,
  url: string,
  options: CallOptions,
): Promise<T[]> {
  const answer = await call<T>(method, url, options)
  if (answer.status === 200) return answer.result
  const reason = answer.errors[0]?.reason ?? `${method} ${url} answered ${answer.status}`
  const kinds: Record<number, ConstructorParameters<typeof ApiError>[0]> = {
    400: 'malformed',
    401: 'unauthorized',
    403: 'forbidden',
    404: 'not_found',
    409: 'conflict',
    413: 'too_large',
    429: 'limit',
    503: 'unavailable',
  }
  throw new ApiError(
    kinds[answer.status] ?? 'unavailable',
    reason,
    answer.retryAfter === undefined ? {} : { retryAfter: answer.retryAfter },
  )
}
