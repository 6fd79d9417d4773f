import type { Logger } from 'pino'
import { call, mustCall } from '#services/common/client.ts'
import type { Db } from '#services/common/db.ts'
import { ApiError } from '#services/common/errors.ts'

export interface Wanted {
  name: string
  ttl: number
}

/** The containers of channels and devices in MDB: made before their owner, taken away after it. */
export class Containers {
  readonly #url: string
  readonly #token: string
  readonly #db: Db
  readonly #log: Logger

  constructor(url: string, token: string, db: Db, log: Logger) {
    this.#url = url
    this.#token = token
    this.#db = db
    this.#log = log
  }

  /** Ids of the containers, made if they are not there; in the order asked. */
  async create(account: number, wanted: Wanted[]): Promise<number[]> {
    const ids: number[] = []
    for (const item of wanted) {
      const answer = await call<{ id: number }>('POST', `${this.#url}/mdb/containers`, {
        token: this.#token,
        account,
        body: [item],
      })
      const id = answer.result[0]?.id ?? (answer.status === 409 ? answer.errors[0]?.id : undefined)
      if (typeof id !== 'number') {
        await this.discard(ids)
        throw new ApiError('unavailable', `MDB made no container: ${answer.errors[0]?.reason ?? answer.status}`)
      }
      ids.push(id)
    }
    return ids
  }

  async setTtl(id: number, ttl: number): Promise<void> {
    await mustCall('PUT', `${this.#url}/mdb/containers/${id}`, { token: this.#token, body: { ttl } })
  }

  /** Notes containers for removal; `query`: of the transaction that removes their owner. */
  async discard(ids: number[], query: Db['query'] = (sql, values) => this.#db.query(sql, values)): Promise<void> {
    await query('insert into gw_garbage select unnest($1::bigint[]) on conflict do nothing', [ids])
  }

  /** Removes what was noted; what MDB cannot remove now stays noted. */
  async sweep(): Promise<void> {
    try {
      for (const { container_id } of await this.#db.query<{ container_id: number }>(
        'select container_id from gw_garbage',
      )) {
        const answer = await call('DELETE', `${this.#url}/mdb/containers/${container_id}`, { token: this.#token })
        if (answer.status === 200 || answer.status === 404)
          await this.#db.query('delete from gw_garbage where container_id = $1', [container_id])
      }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      this.#log.warn({ reason: error.message }, 'containers without an owner are left for the next time')
    }
  }
}
