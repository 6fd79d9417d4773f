/** Reads of one container in the order of time, page by page, whatever pages overlap. */
import { openNamed, type Pages } from './engine-pages.ts'
import { type Message, type Page, readPages } from './page.ts'
import { encodeRows } from './rows.ts'
import { day_s, dayOf, type PageHead, type Store } from './store.ts'

/** Records that one step of a read looks at, at least; a step is as small as the pages allow. */
const step_records = 4_096
/** Pages that were merged while they were read: so often in a row a read looks for them anew. */
const retries_max = 100

export interface ReadQuery {
  /** s, included. */
  from: number
  /** s, excluded. */
  to: number
  /** Newest first. */
  reverse?: boolean
  /** At most so many records, after `every`. */
  count?: number
  /** Parameters to give; `timestamp` always comes. */
  fields?: readonly string[] | undefined
  /** Only the first record of each period of so many s, periods counted from 1970. */
  every?: number | undefined
}

/** Records of [from, to) and the pages that have them. */
interface Step {
  from: number
  to: number
  heads: PageHead[]
}

/** Cuts the pages of a day into steps: where a page begins, once enough records came before. */
export function steps(heads: readonly PageHead[], from: number, to: number): Step[] {
  const sorted = heads.filter((head) => head.from < to && head.to >= from).sort((a, b) => a.from - b.from)
  const found: Step[] = []
  let open: PageHead[] = []
  let begin = from
  let records = 0
  const close = (end: number) => {
    found.push({ from: begin, to: end, heads: open })
    open = open.filter((head) => head.to >= end)
    begin = end
    records = 0
  }
  for (const head of sorted) {
    if (records >= step_records && head.from > begin) close(head.from)
    open.push(head)
    records += head.records
  }
  if (open.length > 0) close(to)
  return found
}

export class Reader {
  readonly #store: Store
  readonly #pages: Pages

  constructor(store: Store, pages: Pages) {
    this.#store = store
    this.#pages = pages
  }

  /** Records in batches, each of one day. */
  async *read(container: number, query: ReadQuery): AsyncGenerator<Message[]> {
    if (query.every !== undefined) return yield* this.#sampled(container, query, query.every)
    const { fields, reverse = false } = query
    let count = query.count ?? Number.POSITIVE_INFINITY
    for await (const { step, pages } of this.#opened(container, query)) {
      const part = { from: step.from, to: step.to, fields, reverse, ...(count < Infinity ? { count } : {}) }
      const messages = pages.length === 1 ? pages[0]!.read(part) : readPages(pages, part)
      if (messages.length > 0) yield messages
      count -= messages.length
      if (count <= 0) return
    }
  }

  /**
   * Pages of a range as they are stored, where one covers its time alone; elsewhere, and of bundles, rows made for it.
   * With `count`, `every` or `fields`, and in reverse, all are made.
   */
  async *blocks(container: number, query: ReadQuery): AsyncGenerator<Buffer> {
    if (query.count !== undefined || query.every !== undefined || query.fields || query.reverse) {
      for await (const messages of this.read(container, query)) yield encodeRows(messages)
      return
    }
    for await (const { step, pages, bytes } of this.#opened(container, query, true)) {
      if (bytes) yield bytes
      else {
        const messages = readPages(pages, { from: step.from, to: step.to })
        if (messages.length > 0) yield encodeRows(messages)
      }
    }
  }

  /** Names of the parameters of the pages that have a range. */
  async parameters(container: number, query: ReadQuery): Promise<Set<string>> {
    const names = new Set<string>()
    let left = query.every === undefined ? (query.count ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY
    for await (const { step, pages } of this.#opened(container, query)) {
      for (const page of pages) {
        for (const name of page.parameters) names.add(name)
        const [first, end] = page.rows(step.from, step.to)
        left -= end - first
      }
      if (left <= 0) break
    }
    return names
  }

  /** The first record of each period. In reverse it is the last that is seen of it. */
  async *#sampled(container: number, { every: _, count, ...query }: ReadQuery, every: number) {
    let left = count ?? Number.POSITIVE_INFINITY
    let period = -1
    let held: Message | undefined
    for await (const messages of this.read(container, query)) {
      const firsts: Message[] = []
      for (const message of messages) {
        const of = Math.floor(message.timestamp / every)
        if (query.reverse) {
          if (of !== period && held) firsts.push(held)
          held = message
        } else if (of !== period) firsts.push(message)
        period = of
      }
      const some = firsts.slice(0, left)
      if (some.length > 0) yield some
      left -= some.length
      if (left <= 0) return
    }
    if (held) yield [held]
  }

  /** Opened pages of each step. With `whole`: bytes of a page that is a step of its own, instead. */
  async *#opened(
    container: number,
    { from, to, reverse = false }: ReadQuery,
    whole = false,
  ): AsyncGenerator<{ step: Step; pages: Page[]; bytes?: Buffer }> {
    const days = await this.#store.days(container, dayOf(from), dayOf(to))
    for (const day of reverse ? days.reverse() : days) {
      let [begin, end] = [Math.max(from, day * day_s), Math.min(to, (day + 1) * day_s)]
      let retries = 0
      again: for (;;) {
        const found = steps(await this.#store.heads(container, day), begin, end)
        for (const step of reverse ? found.reverse() : found) {
          const [head] = step.heads
          const alone =
            whole &&
            head?.kind !== 'bundle' &&
            head &&
            step.heads.length === 1 &&
            head.from >= step.from &&
            head.to < step.to
          const bytes = alone ? (await this.#store.load([head]))[0] : undefined
          if (alone && bytes) openNamed(head, bytes)
          const pages = alone ? [] : await this.#pages.open(step.heads)
          if (pages === undefined || (alone && !bytes)) {
            // Merged meanwhile.
            if (++retries > retries_max) throw new Error(`pages of container ${container} vanish again and again`)
            await new Promise((resolve) => setImmediate(resolve))
            continue again
          }
          yield bytes ? { step, pages, bytes } : { step, pages }
          if (reverse) end = step.from
          else begin = step.to
          retries = 0
        }
        break
      }
    }
  }
}
