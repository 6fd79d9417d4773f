/** MDB as the archive sees it: its REST, nothing else. */
import { request } from 'undici'
import { call, mustCall } from '#services/common/client.ts'
import { ApiError } from '#services/common/errors.ts'
import type { MessageRecord } from './columns.ts'

export interface Container {
  id: number
  account_id: number
  name: string
  ttl: number
  records: number
  created: number
}

/** Of MDB's statistics, what is used here. */
interface Statistics {
  days: { day: string; records: number }[]
}

/** All records that a read may have. */
const count_max = 100_000_000
const answer_time_max_ms = 60_000
/** Between attempts while MDB is busy or away. */
const pause_ms = 500

/** A record with the bytes that its JSON takes. */
export interface Received {
  record: MessageRecord
  bytes: number
}

export class Source {
  readonly #url: string
  readonly #token: string

  constructor(url: string, token: string) {
    this.#url = url
    this.#token = token
  }

  /** All containers of all accounts, in the order of their ids. */
  async containers(): Promise<Container[]> {
    return mustCall<Container & Record<string, unknown>>('GET', `${this.#url}/mdb/containers/all`, {
      token: this.#token,
      timeout_ms: answer_time_max_ms,
    })
  }

  /** Records of a range of time in MDB's order, in batches as they come. A read that broke off throws. */
  async *records(container: number, from: number, to: number): AsyncGenerator<Received[]> {
    const query = `from=${from}&to=${to}&count=${count_max}`
    const path = `${this.#url}/mdb/containers/${container}/records?${query}`
    try {
      const { statusCode, body } = await request(path, {
        headers: { authorization: `Bearer ${this.#token}`, accept: 'application/x-ndjson' },
        headersTimeout: answer_time_max_ms,
        bodyTimeout: answer_time_max_ms,
      })
      if (statusCode === 404) {
        await body.dump()
        throw new ApiError('not_found', `MDB has no container ${container}`, { id: container })
      }
      if (statusCode !== 200) throw new Error(`it answers ${statusCode}: ${(await body.text()).slice(0, 200)}`)
      yield* batches(body)
    } catch (cause) {
      if (cause instanceof ApiError) throw cause
      throw new ApiError('unavailable', `MDB, container ${container}: ${(cause as Error).message}`, { cause })
    }
  }

  /** How many records of a container each day of a range has, as its pages say: another number than before means a change. */
  async counts(container: number, first: string, last: string): Promise<Map<string, number>> {
    const [found] = await mustCall<Statistics>('GET', `${this.#url}/mdb/containers/${container}/statistics`, {
      token: this.#token,
      timeout_ms: answer_time_max_ms,
    })
    const days = found?.days.filter(({ day }) => day >= first && day <= last) ?? []
    return new Map(days.map(({ day, records }) => [day, records]))
  }

  async create(container: Pick<Container, 'account_id' | 'name' | 'ttl'>): Promise<number> {
    const { account_id, name, ttl } = container
    const [made] = await mustCall<{ id: number }>('POST', `${this.#url}/mdb/containers`, {
      token: this.#token,
      body: [{ name, ttl }],
      ...(account_id === 0 ? {} : { account: account_id }),
    })
    if (!made) throw new ApiError('unavailable', `MDB made no container "${name}"`)
    return made.id
  }

  /** Appends records (JSON texts); waits while MDB is busy, up to `wait_ms`. */
  async append(container: number, texts: readonly string[], wait_ms = 60_000): Promise<{ stored: number }> {
    const raw = `[{"container":${container},"records":[${texts.join()}]}]`
    const end = Date.now() + wait_ms
    for (;;) {
      const answer = await call<{ stored: number }>('POST', `${this.#url}/mdb/records`, {
        token: this.#token,
        raw,
        timeout_ms: answer_time_max_ms,
      }).catch((error) => {
        if (!(error instanceof ApiError) || Date.now() > end) throw error
        return undefined
      })
      if (answer?.status === 200) return { stored: answer.result[0]?.stored ?? 0 }
      if (answer && (answer.status !== 503 || Date.now() > end))
        throw new ApiError('unavailable', `MDB: ${answer.errors[0]?.reason ?? answer.status}`)
      await new Promise((done) => setTimeout(done, pause_ms))
    }
  }
}

/** Lines of NDJSON as records. */
async function* batches(body: AsyncIterable<Buffer>): AsyncGenerator<Received[]> {
  let left: Buffer = Buffer.alloc(0)
  for await (const chunk of body) {
    const bytes = left.length === 0 ? chunk : Buffer.concat([left, chunk])
    const received: Received[] = []
    let at = 0
    for (let end = bytes.indexOf(10, at); end >= 0; end = bytes.indexOf(10, at)) {
      if (end > at) received.push({ record: JSON.parse(bytes.toString('utf8', at, end)), bytes: end - at })
      at = end + 1
    }
    left = bytes.subarray(at)
    if (received.length > 0) yield received
  }
  if (left.length > 0) throw new Error('the answer ends within a record')
}
