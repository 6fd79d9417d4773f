/** Random operations of two stores on the same containers, compared with lists in memory. One seed, one course. */

import { ApiError } from '#services/common/errors.ts'
import { seeded } from '#services/common/random.ts'
import type { CassandraStore } from '#services/mdb/cassandra-store.ts'
import { patiently } from '#services/mdb/patiently.ts'
import { type NewPage, newPageId, type PageHead } from '#services/mdb/store.ts'
import type { Bench } from './trials.ts'

const seed = 20_261_125
const container_count = 4
const days = [19_999, 20_000, 20_001]
const merge_most = 12
/** Operations on different containers run at once; those on one, one after the other. */
const progress_every_ms = 10_000

/** Whole numbers from 0 to below. */
function whole(seed: number): (below: number) => number {
  const next = seeded(seed)
  return (below) => Math.floor(next() * below)
}

/** A page of whole numbers: enough to tell whether one is lost or there twice. */
function numbersPage(container: number, day: number, kind: PageHead['kind'], numbers: readonly number[]): NewPage {
  const bytes = Buffer.from(JSON.stringify(numbers))
  const at = day * 86_400
  const head = {
    container,
    day,
    id: newPageId(),
    kind,
    from: at,
    to: at + 1,
    records: numbers.length,
    json_bytes: bytes.length,
    size: bytes.length,
  }
  return { head, bytes }
}

class Course {
  readonly #stores: readonly CassandraStore[]
  readonly #below: (n: number) => number
  readonly #container: number
  /** What is to be there: numbers by day. */
  readonly #model = new Map(days.map((day) => [day, new Set<number>()]))
  readonly #newest = new Map<string, number>()
  #next = 0
  merges = 0
  unsure = false
  lost_races = 0

  constructor(stores: readonly CassandraStore[], container: number, below: (n: number) => number) {
    this.#stores = stores
    this.#container = container
    this.#below = below
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#below(items.length)]!
  }

  async step(): Promise<void> {
    const dice = this.#below(100)
    const [store, day] = [this.#pick(this.#stores), this.#pick(days)]
    if (dice < 55) await this.#insert(store)
    else if (dice < 75) await this.#check(store, day)
    else if (dice < 90) await this.#merge(store, day)
    else if (dice < 96) await this.#race(day)
    else if (dice < 98) await this.#lists(store)
    else await this.#drop(store, day)
  }

  async #insert(store: CassandraStore): Promise<void> {
    const pages = Array.from({ length: 1 + this.#below(3) }, () => {
      const day = this.#pick(days)
      // Now and then one that does not lie with its head.
      const count = this.#below(20) === 0 ? 1_500 : 1 + this.#below(20)
      const numbers = Array.from({ length: count }, () => this.#next++)
      for (const number of numbers) this.#model.get(day)!.add(number)
      return numbersPage(this.#container, day, 'rows', numbers)
    })
    // The same pages again are the same pages.
    await patiently(() => store.insert(pages))
  }

  async #numbers(store: CassandraStore, heads: PageHead[]): Promise<number[]> {
    const bytes = await patiently(() => store.load(heads))
    return bytes.flatMap((one, i) => {
      if (!one) throw new Error(`page ${heads[i]!.id} is listed and not there`)
      return JSON.parse(one.toString()) as number[]
    })
  }

  async #check(store: CassandraStore, day: number): Promise<void> {
    const heads = await patiently(() => store.heads(this.#container, day))
    const found = await this.#numbers(store, heads)
    const wanted = this.#model.get(day)!
    if (
      found.length !== wanted.size ||
      found.some((number) => !wanted.has(number)) ||
      new Set(found).size !== found.length
    )
      throw new Error(`container ${this.#container}, day ${day}: ${found.length} numbers, not ${wanted.size}`)
    const ids = heads.map(({ id }) => id)
    if (ids.some((id, i) => i > 0 && id <= ids[i - 1]!)) throw new Error('heads are not in the order of their ids')
  }

  async #merge(store: CassandraStore, day: number): Promise<void> {
    const gone = (await patiently(() => store.heads(this.#container, day))).slice(0, 1 + this.#below(merge_most))
    if (gone.length === 0) return
    const at = this.#below(1_000)
    const name = `p${this.#below(5)}`
    const page = numbersPage(this.#container, day, 'page', await this.#numbers(store, gone))
    const done = await store.replace(
      this.#container,
      day,
      gone,
      [page],
      new Map([[name, { value: at, timestamp: at }]]),
    )
    if (!done) throw new Error('a merge that nobody disturbed was refused')
    this.#newest.set(name, Math.max(at, this.#newest.get(name) ?? 0))
    this.merges++
  }

  /** Two processes merge the same pages at once: at most one may. Both are to be told what happened. */
  async #race(day: number): Promise<void> {
    const heads = await patiently(() => this.#stores[0]!.heads(this.#container, day))
    const gone = heads.slice(0, 1 + this.#below(merge_most))
    if (gone.length === 0) return
    const numbers = await this.#numbers(this.#stores[0]!, gone)
    const results = await Promise.all(
      this.#stores.map((store) =>
        store.replace(this.#container, day, gone, [numbersPage(this.#container, day, 'page', numbers)]),
      ),
    )
    if (results.filter(Boolean).length !== 1) throw new Error(`of two merges of the same pages ${results} were done`)
    this.lost_races++
    await this.#check(this.#pick(this.#stores), day)
  }

  async #lists(store: CassandraStore): Promise<void> {
    const listed = await patiently(() => store.days(this.#container, days[0]!, days.at(-1)!))
    for (const day of days)
      if (this.#model.get(day)!.size > 0 && !listed.includes(day)) throw new Error(`day ${day} is not listed`)
    const newest = await patiently(() => store.newest(this.#container))
    // A merge that was not seen to its end may have told a later one.
    for (const [name, at] of this.#newest)
      if (!((newest.get(name)?.timestamp ?? -1) >= at) || (newest.get(name)?.timestamp !== at && !this.unsure))
        throw new Error(`${name}: ${newest.get(name)?.timestamp}, not ${at}`)
  }

  async #drop(store: CassandraStore, day: number): Promise<void> {
    await patiently(() => store.drop(this.#container, [day]))
    this.#model.get(day)!.clear()
    await this.#check(this.#pick(this.#stores), day)
  }

  async finish(): Promise<void> {
    for (const store of this.#stores) for (const day of days) await this.#check(store, day)
  }
}

/** Runs `bench.operations` of them over some containers; gives the figures. */
export async function modelTest(bench: Bench): Promise<string> {
  const stores = [await bench.store(), await bench.store()]
  const began = performance.now()
  let [done, told, unsure] = [0, began, 0]
  const courses: Course[] = []
  for (let n = 0; n < container_count; n++) {
    const { id } = await stores[n % 2]!.create({ account_id: 9, name: `model-${n}`, ttl: 0 })
    courses.push(new Course(stores, id, whole(seed + n)))
  }
  await Promise.all(
    courses.map(async (course) => {
      while (done < bench.operations) {
        done++
        try {
          await course.step()
        } catch (error) {
          // A merge of which the store could not say whether it was done, on a machine that does too much else: what is
          // there must be the same either way.
          if (!(error instanceof ApiError) || error.kind !== 'unavailable') throw error
          unsure++
          course.unsure = true
        }
        if (performance.now() - told > progress_every_ms) {
          told = performance.now()
          bench.say(`  ${done} of ${bench.operations}`)
        }
      }
      await course.finish()
    }),
  )
  for (const store of stores) await store.close()
  const seconds = (performance.now() - began) / 1000
  const sum = (of: (course: Course) => number) => courses.reduce((all, course) => all + of(course), 0)
  return `${done} operations, ${sum((c) => c.merges)} merges, ${sum((c) => c.lost_races)} of them raced, ${unsure} unsure, ${Math.round(done / seconds)}/s`
}
