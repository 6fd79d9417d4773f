import type { Logger } from 'pino'
import { mustCall } from '#services/common/client.ts'
import type { Db } from '#services/common/db.ts'
import { type Count, type Pulse, today } from './model.ts'

interface Account {
  id: number
  limits?: { messages_per_day?: number | null }
  blocked?: boolean | string | null
}

const read_every_ms = 5_000
/** Sums of the day are good for so long: all tg's ask each second. */
const sums_age_max_ms = 900
/** Counts of days before are of no limit's concern; PROD reads them by then. */
const kept_days = 400

/** Messages a day by account, and which accounts may store no more. Limits are PROD's; the last known ones hold while it is away. */
export class Accounts {
  readonly #db: Db
  readonly #options: { url: string; token: string; log: Logger }
  #accounts: Account[] = []
  #sums = new Map<number, number>()
  #sumsAt = 0
  #away = false
  readonly #timer: NodeJS.Timeout

  constructor(db: Db, options: { url: string; token: string; log: Logger }) {
    this.#db = db
    this.#options = options
    this.#timer = setInterval(() => void this.#read(), read_every_ms)
    void this.#read()
  }

  async #read(): Promise<void> {
    const { url, token, log } = this.#options
    try {
      this.#accounts = await mustCall<Account>('GET', `${url}/platform/accounts/all`, { token, timeout_ms: 3_000 })
      this.#away = false
    } catch (error) {
      if (!this.#away) log.warn({ reason: (error as Error).message }, 'PROD is away: the last known limits hold')
      this.#away = true
    }
  }

  /** Takes tg's counts. They only grow, so what comes twice or late changes nothing. */
  async store(counts: Count[]): Promise<void> {
    for (const { day, account_id, source, messages } of counts) {
      await this.#db.query(
        `insert into gw_counters (day, account_id, source, messages) values ($1, $2, $3, $4)
         on conflict (day, account_id, source) do update set messages = greatest(gw_counters.messages, excluded.messages)
         where gw_counters.messages < excluded.messages`,
        [day, account_id, source, messages],
      )
    }
  }

  /** Accounts that may store nothing now, with the reason. */
  async blocked(): Promise<Pulse['blocked']> {
    if (Date.now() - this.#sumsAt > sums_age_max_ms) {
      const rows = await this.#db.query<{ account_id: number; messages: number }>(
        'select account_id, sum(messages) as messages from gw_counters where day = $1 group by account_id',
        [today()],
      )
      this.#sums = new Map(rows.map((row) => [row.account_id, row.messages]))
      this.#sumsAt = Date.now()
    }
    const blocked: Pulse['blocked'] = []
    for (const { id, limits, blocked: reason } of this.#accounts) {
      const max = limits?.messages_per_day
      if (reason) blocked.push({ account_id: id, reason: 'account' })
      else if (typeof max === 'number' && (this.#sums.get(id) ?? 0) >= max)
        blocked.push({ account_id: id, reason: 'messages_per_day' })
    }
    return blocked
  }

  /** Messages by account and day, newest first. */
  async counters(account: number | undefined, days: number): Promise<Omit<Count, 'source'>[]> {
    return this.#db.query(
      `select account_id, day::text as day, sum(messages) as messages from gw_counters
       where ($1::bigint is null or account_id = $1) and day > current_date - $2::int
       group by account_id, day order by day desc, account_id`,
      [account ?? null, days],
    )
  }

  async forgetOld(): Promise<void> {
    await this.#db.query('delete from gw_counters where day < current_date - $1::int', [kept_days])
  }

  close(): void {
    clearInterval(this.#timer)
  }
}
