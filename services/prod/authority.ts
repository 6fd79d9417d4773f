import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { type AclRule, allows, root_account, within } from '#services/common/acl.ts'
import { bearer, sameSecret } from '#services/common/api.ts'
import type { Db } from '#services/common/db.ts'
import { ApiError } from '#services/common/errors.ts'
import { parseSelector } from '#services/common/selector.ts'

/** Who calls. */
export interface Caller {
  token: number
  account: number
  name: string
  acl: AclRule[]
  /** s since 1970 UTC; null: never. */
  expires: number | null
  created: number
  blocked: boolean
  limits: Record<string, number>
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Undefined: a service of this environment, which reads /platform. */
    caller: Caller | undefined
  }
}

/** A token edited or removed in another process is refused after at most this. */
const cache_time_max_ms = 5_000
const cache_entries_max = 10_000
/** Unknown tokens of one peer in a minute; a person mistypes, a guesser goes on. */
const failures_per_minute = 30
/** Services of this machine ask in the name of many users. */
const loopback_failures_per_minute = 1_000
const peers_max = 50_000
const minute_ms = 60_000

const hashOf = (token: string) => createHash('sha256').update(token).digest()

/** Counts per key within the running minute. */
class Minute {
  readonly #counts = new Map<string | number, number>()
  #began = Date.now()

  /** Seconds until the count begins anew. */
  get left(): number {
    return Math.max(1, Math.ceil((this.#began + minute_ms - Date.now()) / 1000))
  }

  add(key: string | number, amount: number): number {
    if (Date.now() - this.#began >= minute_ms || this.#counts.size >= peers_max) {
      this.#counts.clear()
      this.#began = Date.now()
    }
    const count = (this.#counts.get(key) ?? 0) + amount
    if (amount > 0) this.#counts.set(key, count)
    return count
  }
}

/** Path of a call as the guidelines cut it: system, collection, items, sub-collection. */
export interface Place {
  system: string
  collection: string
  selector: string | undefined
  sub: string | undefined
}

/** Parses the path of a URL; throws `malformed` for what an upstream could read in another way. */
export function placeOf(url: string): Place {
  let parts: string[]
  try {
    parts = (url.split('?', 1)[0] ?? '').slice(1).split('/').map(decodeURIComponent)
  } catch {
    throw new ApiError('malformed', 'the path is not valid percent-encoding')
  }
  if (parts.some((part) => part === '' || part === '.' || part === '..')) {
    throw new ApiError('malformed', 'the path has an empty or relative part')
  }
  const [system = '', collection = '', selector, sub] = parts
  return { system, collection, selector, sub }
}

/** Whether `acl` grants nothing that `own` does not; a collection includes its sub-collections. */
export function grants(acl: readonly AclRule[], own: readonly AclRule[]): boolean {
  return acl.every(
    (rule) => within([rule], own) || within([{ ...rule, collection: rule.collection.split('/', 1)[0] ?? '' }], own),
  )
}

/** Tokens, what they allow, and how often. */
export class Authority {
  readonly #db: Db
  readonly #internalToken: string
  readonly #cache = new Map<string, { caller: Caller; until: number }>()
  readonly #lookups = new Map<string, Promise<Caller | undefined>>()
  readonly #failures = new Minute()
  readonly #requests = new Minute()
  /** Tokens used since the last `takeUsed`, with the time. */
  readonly #used = new Map<number, number>()
  #generation = 0

  constructor(db: Db, internalToken: string) {
    this.#db = db
    this.#internalToken = internalToken
  }

  /** Forgets what it knows: after each change of tokens and accounts. */
  forget(): void {
    this.#generation++
    this.#cache.clear()
    this.#lookups.clear()
  }

  takeUsed(): [number, number][] {
    const used = [...this.#used]
    this.#used.clear()
    return used
  }

  /** Identifies the caller of a request and checks that it may do this; throws ApiError. */
  async admit(request: FastifyRequest): Promise<void> {
    const path = request.url.split('?', 1)[0]
    if (path === '/') return
    const token = bearer(request)
    if (token === undefined) throw new ApiError('unauthorized', 'no token: send "Authorization: Bearer TOKEN"')
    if (sameSecret(token, this.#internalToken)) {
      if (request.method === 'GET' && request.url.startsWith('/platform/')) return
      throw new ApiError('forbidden', 'the internal token reads /platform and nothing else here')
    }
    const caller = await this.#identify(token, request.ip)
    request.caller = caller
    request.account = caller.account
    request.limits = caller.limits
    if (caller.expires !== null && caller.expires * 1000 <= Date.now()) {
      throw new ApiError('unauthorized', `the token expired at ${caller.expires}`)
    }
    if (caller.blocked) throw new ApiError('forbidden', `account ${caller.account} is blocked`)
    this.#used.set(caller.token, Date.now() / 1000)
    const { requests_per_minute } = caller.limits
    if (requests_per_minute !== undefined && this.#requests.add(caller.account, 1) > requests_per_minute) {
      throw new ApiError('limit', `requests_per_minute: the account may send ${requests_per_minute}`, {
        retryAfter: this.#requests.left,
      })
    }
    this.#check(caller, request.method, placeOf(request.url))
  }

  #check(caller: Caller, method: string, place: Place): void {
    const { system, collection, selector, sub } = place
    const current = system === 'platform' && collection === 'tokens' && selector === 'current'
    // To see one's own token, or to give it up, needs no right.
    if (current && (method === 'GET' || method === 'DELETE')) return
    if (system === 'admin' && caller.account !== root_account) {
      throw new ApiError('forbidden', `/admin is for the root account; this token is of account ${caller.account}`)
    }
    let ids: number[] | undefined
    if (current) ids = [caller.token]
    else if (selector !== undefined) {
      const parsed = parseSelector(selector)
      if (parsed.kind === 'ids') ids = parsed.ids
    }
    const access = { system, collection, method, ids }
    if (allows(caller.acl, access)) return
    if (sub !== undefined && allows(caller.acl, { ...access, collection: `${collection}/${sub}` })) return
    const items = selector === undefined ? '' : `, items ${selector}`
    throw new ApiError(
      'forbidden',
      `the token's ACL lacks: system ${system}, collection ${collection}, ${method}${items}`,
    )
  }

  async #identify(token: string, peer: string): Promise<Caller> {
    const hash = hashOf(token)
    const key = hash.toString('base64')
    const known = this.#cache.get(key)
    if (known && known.until > Date.now()) return known.caller
    const loopback = peer === '127.0.0.1' || peer === '::1' || peer === '::ffff:127.0.0.1'
    if (this.#failures.add(peer, 0) >= (loopback ? loopback_failures_per_minute : failures_per_minute)) {
      throw new ApiError('limit', 'too many unknown tokens from this address', { retryAfter: this.#failures.left })
    }
    let lookup = this.#lookups.get(key)
    if (!lookup) {
      lookup = this.#lookUp(hash, key).finally(() => this.#lookups.delete(key))
      this.#lookups.set(key, lookup)
    }
    const caller = await lookup
    if (caller) return caller
    this.#failures.add(peer, 1)
    throw new ApiError('unauthorized', 'unknown token')
  }

  async #lookUp(hash: Buffer, key: string): Promise<Caller | undefined> {
    const generation = this.#generation
    const [caller] = await this.#db.query<Caller & Record<string, unknown>>(
      `select t.id as token, t.account_id as account, t.name, t.acl, t.expires, t.created, a.limits,
         exists (with recursive up as (
           select id, parent_id, blocked from accounts where id = a.id
           union all select p.id, p.parent_id, p.blocked from accounts p join up on p.id = up.parent_id)
         select from up where blocked) as blocked
       from tokens t join accounts a on a.id = t.account_id where t.hash = $1`,
      [hash],
    )
    // What was read before a change that came meanwhile must not be kept.
    if (caller && generation === this.#generation) {
      this.#cache.delete(key)
      if (this.#cache.size >= cache_entries_max) this.#cache.delete(this.#cache.keys().next().value ?? '')
      this.#cache.set(key, { caller, until: Date.now() + cache_time_max_ms })
    }
    return caller
  }

  /** Account 1 has the token whose SHA-256 is given; another one that bootstrapped before is withdrawn. */
  async bootstrap(sha256: string): Promise<void> {
    const hash = Buffer.from(sha256, 'hex')
    if (hash.length !== 32) throw new Error('options.bootstrap_token_sha256 must be 64 hexadecimal digits')
    await this.#db.query('delete from tokens where bootstrap and hash <> $1', [hash])
    await this.#db.query(
      `insert into tokens (account_id, name, hash, acl, bootstrap) values ($1, 'bootstrap', $2, $3, true)
       on conflict (hash) do nothing`,
      [root_account, hash, JSON.stringify([{ system: '*', collection: '*' }])],
    )
  }
}

export { hashOf }
