/** The errors every service answers with: stable code, HTTP status, and the words that come before the details. */
const table = {
  malformed: { code: 1001, status: 400, text: 'the request is malformed' },
  unauthorized: { code: 1002, status: 401, text: 'no or unknown token' },
  forbidden: {
    code: 1003,
    status: 403,
    text: "the token's ACL does not allow this",
  },
  not_found: { code: 1004, status: 404, text: 'nothing matches' },
  conflict: { code: 1005, status: 409, text: 'it conflicts with what exists' },
  too_large: { code: 1006, status: 413, text: 'too large' },
  limit: { code: 1007, status: 429, text: 'a limit is reached' },
  unavailable: { code: 1008, status: 503, text: 'a dependency is away' },
  internal: { code: 1009, status: 500, text: 'a defect of ours' },
} as const

export type ErrorName = keyof typeof table

/** One entry of an answer's `errors`. */
export interface ErrorItem {
  code: number
  reason: string
  id?: number | string
}

export interface ApiErrorDetails {
  /** The item that the error is about. */
  id?: number | string
  /** Seconds after which a repeat makes sense (429, 503). */
  retryAfter?: number
  cause?: unknown
}

/** An error with a stable code that a caller may see. `reason` names the field and the remedy. */
export class ApiError extends Error {
  readonly kind: ErrorName
  readonly code: number
  readonly status: number
  readonly id: number | string | undefined
  readonly retryAfter: number | undefined

  constructor(kind: ErrorName, reason: string, details: ApiErrorDetails = {}) {
    super(reason || table[kind].text, { cause: details.cause })
    this.name = 'ApiError'
    this.kind = kind
    this.code = table[kind].code
    this.status = table[kind].status
    this.id = details.id
    this.retryAfter = details.retryAfter ?? (kind === 'unavailable' || kind === 'limit' ? 1 : undefined)
  }

  /** The entry of the answer's `errors`. */
  item(): ErrorItem {
    const item: ErrorItem = { code: this.code, reason: this.message }
    if (this.id !== undefined) item.id = this.id
    return item
  }
}

/** Any thrown value as an ApiError; what is not one is `internal`, without details that could leak. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  return new ApiError('internal', table.internal.text, { cause: error })
}

export const errorTable = table
