/** Random operations on an engine, each compared with a plain sorted array. The same seed gives the same operations. */

import { isDeepStrictEqual } from 'node:util'
import { pino } from 'pino'
import { seeded } from '#services/common/random.ts'
import { recordHash } from '#services/common/record-hash.ts'
import { type Append, type Appended, Engine, type ReadQuery } from './engine.ts'
import type { Message } from './page.ts'
import { toAppend } from './record.ts'
import { day_s, dayOf, type Store } from './store.ts'

export interface TortureOptions {
  /** Opens the store; called again after it was closed. */
  open: () => Promise<Store>
  seed: number
  operations: number
  /** Fewer records a batch and a container: more operations in the same time. */
  small?: boolean
  /** So many work side by side on the engine, each on containers of its own. */
  lanes?: number
  /** What names of its containers begin with: those of a shared store must differ from all others'. */
  name?: string
  /** Told of operations done, now and then; what it throws ends the trial. */
  say?: (done: number) => void
}

export interface TortureResult {
  /** At the end. */
  records: number
  appended: number
  reads: number
  reopened: number
}

interface Held {
  timestamp: number
  hash: Buffer
  message: Message
}

interface Model {
  name: string
  ttl: number
  records: Held[]
  /** Greatest timestamp at which each parameter was ever seen, and the values that it had then. */
  newest: Map<string, { timestamp: number; values: string[] }>
}

const begin_s = 20_000 * day_s
const span_s = 4 * day_s
/** Records of a container; beyond it a range is removed. */
const records_max = 30_000
const records_small_max = 2_500
const containers_max = 4
/** A busy machine keeps a store from its work for a while. */
const refused_max_ms = 120_000
const refused_pause_ms = 100

const order = (a: Pick<Held, 'timestamp' | 'hash'>, b: Pick<Held, 'timestamp' | 'hash'>) =>
  a.timestamp - b.timestamp || a.hash.compare(b.hash)

/** The index of the first record that is not before `held`. */
function place(records: readonly Held[], held: Pick<Held, 'timestamp' | 'hash'>): number {
  let low = 0
  let high = records.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (order(records[middle]!, held) < 0) low = middle + 1
    else high = middle
  }
  return low
}

const lowest = Buffer.alloc(8)
const from = (records: readonly Held[], timestamp: number) => place(records, { timestamp, hash: lowest })

/** Which of two records with the same contents came first is not part of what is compared. */
function plain({ 'server.timestamp': _, peer: __, ...message }: Message): Record<string, unknown> {
  return message
}

/** The engine that all lanes work on; another one after each reopening. */
interface Bench {
  engine: Engine
  clock: number
}

/** Operations one after another on containers of their own. Several lanes work at the same time and share commits. */
class Lane {
  readonly #options: TortureOptions
  readonly #bench: Bench
  readonly #lane: number
  readonly #next: () => number
  readonly models = new Map<number, Model>()
  #done = 0
  #names = 0
  reads = 0
  appended = 0

  constructor(options: TortureOptions, bench: Bench, lane: number) {
    this.#options = options
    this.#bench = bench
    this.#lane = lane
    this.#next = seeded(options.seed * 1_000 + lane)
  }

  get #engine(): Engine {
    return this.#bench.engine
  }

  get #clock(): number {
    return this.#bench.clock
  }

  #whole(below: number): number {
    return Math.floor(this.#next() * below)
  }

  #one(): [number, Model] {
    const all = [...this.models]
    return all[this.#whole(all.length)]!
  }

  #fail(what: string): never {
    throw new Error(`seed ${this.#options.seed}, lane ${this.#lane}, operation ${this.#done}: ${what}`)
  }

  #same(what: string, actual: unknown, expected: unknown): void {
    if (isDeepStrictEqual(actual, expected)) return
    const [a, b] = [actual, expected].map((value) => (JSON.stringify(value) ?? 'undefined').slice(0, 2_000))
    this.#fail(`${what}:\n  is        ${a}\n  should be ${b}`)
  }

  /** Does so many operations. */
  async run(operations: number): Promise<void> {
    for (let i = 0; i < operations; i++) {
      const what = this.#next()
      if (this.models.size < 2 || what > 0.998) await this.#create()
      else if (what < 0.55) await this.#append()
      else if (what < 0.88) await this.#read()
      else if (what < 0.91) await this.#telemetry()
      else if (what < 0.935) await this.#remove()
      else if (what < 0.955) await this.#counters()
      else if (what < 0.975) await this.#merge()
      else if (what < 0.98) await this.#expire()
      else if (what < 0.983) await this.#drop()
      this.#done++
    }
  }

  /** Compares all of it. */
  async compareAll(): Promise<void> {
    for (const [id, model] of this.models) {
      await this.#compare(id, model, { from: 0, to: 7e9 })
      await this.#count(id, model)
    }
  }

  async #create(): Promise<void> {
    if (this.models.size >= containers_max) return
    const name = `${this.#options.name ?? 'torture'}, lane ${this.#lane}, ${this.#names++}`
    const { id } = await this.#engine.create({ account_id: 0, name, ttl: 0 })
    this.models.set(id, { name, ttl: 0, records: [], newest: new Map() })
  }

  async #drop(): Promise<void> {
    if (this.models.size < 3) return
    const [id] = this.#one()
    await this.#engine.remove(id)
    this.models.delete(id)
  }

  #message(timestamp: number): Message {
    const message: Message = { timestamp }
    const kind = this.#next()
    message.n = this.#whole(3)
    if (kind < 0.6) message['position.latitude'] = Math.round(this.#next() * 1e7) / 1e5
    if (kind < 0.3) message.text = `t${this.#whole(50)}`
    if (kind > 0.9)
      message[`rare.${this.#whole(20)}`] = [null, true, [1, 'a'], { x: 1, y: [] }, -0.5, 1e300][this.#whole(6)]
    if (this.#next() < 0.3) message['server.timestamp'] = timestamp + this.#whole(10)
    return message
  }

  /** Messages as devices send them: in order, late, again, many at one moment. */
  #messages(model: Model): Message[] {
    const [rare, often] = this.#options.small ? [0.001, 0.03] : [0.02, 0.2]
    const count = this.#next() < rare ? 2_000 : 1 + this.#whole(this.#next() < often ? 300 : 8)
    const shape = this.#next()
    const last = model.records.at(-1)?.timestamp ?? begin_s
    if (shape < 0.1 && model.records.length > 0) {
      const at = this.#whole(model.records.length)
      return model.records.slice(at, at + count).map(({ message }) => ({ ...message, peer: 'again' }))
    }
    let timestamp = shape < 0.6 ? Math.min(last, begin_s + span_s - 10_000) : begin_s + this.#next() * span_s
    const step = [0, 0.25, 1, 7, 300][this.#whole(5)]!
    return Array.from({ length: count }, () => {
      timestamp = Math.min(begin_s + span_s - 1, timestamp + step * this.#next())
      return this.#message(this.#next() < 0.5 ? Math.floor(timestamp) : Math.round(timestamp * 1e6) / 1e6)
    })
  }

  async #append(): Promise<void> {
    // At the same time, as several gateways do; of one container only one, since the order among them is open.
    const ids = new Set([...this.models.keys()].filter(() => this.#next() < 0.5))
    const batch = [...ids].map((id) => ({ id, messages: this.#messages(this.models.get(id)!) }))
    const together = this.#next() < 0.5
    const appends = batch.map(({ id, messages }) => toAppend(id, structuredClone(messages), 'x')!)
    const answers = together
      ? await this.#send(appends)
      : (await Promise.all(appends.map((append) => this.#send([append])))).flat()
    for (const [i, { id, messages }] of batch.entries()) {
      const model = this.models.get(id)!
      let fresh = 0
      for (const message of messages) {
        const held = { timestamp: message.timestamp, hash: Buffer.from(recordHash(message)), message }
        const at = place(model.records, held)
        if (model.records[at] && order(model.records[at], held) === 0) continue
        model.records.splice(at, 0, held)
        fresh++
        this.#see(model, message)
      }
      this.#same(`append to ${id}`, answers[i], { container: id, stored: fresh, duplicates: messages.length - fresh })
      this.appended += fresh
      if (model.records.length > (this.#options.small ? records_small_max : records_max))
        await this.#removeRange(id, model, begin_s, begin_s + span_s * 0.7)
    }
  }

  /** As a gateway does: what is refused, of which nothing is stored, is sent again. */
  async #send(appends: Append[]): Promise<Appended[]> {
    const end = performance.now() + refused_max_ms
    for (;;) {
      const { refused } = this.#engine
      const answer = this.#engine.append(appends)
      if (this.#engine.refused === refused || performance.now() > end) return answer
      await answer.catch(() => {})
      await new Promise((after) => setTimeout(after, refused_pause_ms))
    }
  }

  #see(model: Model, { timestamp, ...message }: Message): void {
    for (const [name, value] of Object.entries(message)) {
      const known = model.newest.get(name)
      if (known && known.timestamp > timestamp) continue
      const values = known?.timestamp === timestamp ? known.values : []
      model.newest.set(name, { timestamp, values: [...values, JSON.stringify(value)] })
    }
  }

  async #read(): Promise<void> {
    const [id, model] = this.#one()
    const at = begin_s + this.#next() * span_s * 1.1 - 1_000
    const query: ReadQuery = {
      from: at,
      to: at + this.#next() ** (this.#options.small ? 8 : 3) * span_s,
      reverse: this.#next() < 0.4,
    }
    if (this.#next() < (this.#options.small ? 0.02 : 0.1)) Object.assign(query, { from: 0, to: 7e9 })
    if (this.#next() < 0.5) query.count = 1 + this.#whole(200)
    if (this.#next() < 0.2) query.every = [1, 60, 3_600, 0.5][this.#whole(4)]!
    if (this.#next() < 0.3) query.fields = ['n', 'text', 'absent'].slice(this.#whole(3))
    await this.#compare(id, model, query)
  }

  async #compare(id: number, model: Model, query: ReadQuery): Promise<void> {
    const { reverse = false, count = Number.POSITIVE_INFINITY, every, fields } = query
    this.reads++
    const first = model.ttl > 0 ? Math.max(query.from, this.#clock - model.ttl) : query.from
    let expected = model.records.slice(from(model.records, first), Math.max(0, from(model.records, query.to)))
    if (every !== undefined) {
      const of = (held: Held | undefined) => held && Math.floor(held.timestamp / every)
      expected = expected.filter((held, i) => i === 0 || of(held) !== of(expected[i - 1]))
    }
    if (reverse) expected.reverse()
    const wanted = expected.slice(0, count).map(({ message }) => {
      if (!fields) return plain(message)
      return Object.fromEntries(
        Object.entries(message).filter(([name]) => name === 'timestamp' || fields.includes(name)),
      )
    })
    const found: unknown[] = []
    for await (const batch of this.#engine.read(id, query)) found.push(...batch.map((m) => (fields ? m : plain(m))))
    this.#same(`read of ${id} ${JSON.stringify(query)}`, found, wanted)
  }

  async #telemetry(): Promise<void> {
    const [id, model] = this.#one()
    const newest = await this.#engine.telemetry(id)
    this.#same(
      `telemetry of ${id}: names`,
      [...newest.keys()].filter((n) => n !== 'peer').sort(),
      [...model.newest.keys()].filter((n) => n !== 'peer').sort(),
    )
    for (const [name, { timestamp, value }] of newest) {
      const known = model.newest.get(name)!
      // Of a record that came twice it is open whose circumstances are kept.
      if (name === 'server.timestamp' || name === 'peer') continue
      this.#same(`telemetry of ${id}: time of ${name}`, timestamp, known.timestamp)
      if (!known.values.includes(JSON.stringify(value))) this.#fail(`telemetry of ${id}: ${name} is ${String(value)}`)
    }
  }

  async #remove(): Promise<void> {
    const [id, model] = this.#one()
    const at = begin_s + this.#next() * span_s
    await this.#removeRange(id, model, at, at + this.#next() ** 4 * span_s)
  }

  async #removeRange(id: number, model: Model, first: number, end: number): Promise<void> {
    const [low, high] = [from(model.records, first), from(model.records, end)]
    this.#same(`removal from ${id}`, await this.#engine.removeRange(id, first, end), high - low)
    model.records.splice(low, high - low)
  }

  async #counters(): Promise<void> {
    const [id, model] = this.#one()
    await this.#count(id, model)
  }

  async #count(id: number, model: Model): Promise<void> {
    const { records, bytes, pages, from: first, to } = await this.#engine.statistics(id)
    if (model.ttl > 0) return
    // The sums of a shared store lag.
    const exact = !this.#engine.store.shared
    if (exact) this.#same(`records of ${id}`, records, model.records.length)
    this.#same(`time range of ${id}`, [first, to], [model.records[0]?.timestamp, model.records.at(-1)?.timestamp])
    if (exact && ((pages === 0) !== (records === 0) || (bytes === 0) !== (records === 0)))
      this.#fail(`${pages} pages, ${bytes} bytes`)
  }

  async #merge(): Promise<void> {
    const [id] = this.#one()
    const day = dayOf(begin_s) + this.#whole(5)
    await this.#engine.merger.settle(id, [day], this.#next() < 0.5)
  }

  /** A container expires for a while: what is gone by then is gone in the model, too. */
  async #expire(): Promise<void> {
    const [id, model] = this.#one()
    model.ttl = 1 + this.#whole(span_s)
    await this.#engine.edit(id, { ttl: model.ttl })
    await this.#compare(id, model, { from: 0, to: 7e9 })
    await this.#engine.sweep()
    await this.#compare(id, model, { from: 0, to: 7e9 })
    // Of what has expired some is still there: it goes before the container keeps its records again.
    await this.#engine.removeRange(id, 0, this.#clock - model.ttl)
    model.records.splice(0, from(model.records, this.#clock - model.ttl))
    model.ttl = 0
    await this.#engine.edit(id, { ttl: 0 })
  }
}

/** Operations of a lane between two reopenings. */
const round_operations = 60
const lanes_default = 4

/** Runs the operations; throws an Error with the seed and the operation at the first difference. */
export async function torture(options: TortureOptions): Promise<TortureResult> {
  const { operations, open, say, lanes: count = lanes_default } = options
  const log = pino({ level: 'silent' })
  const clock = begin_s + span_s
  const bench: Bench = { clock, engine: await Engine.open(await open(), { log, now: () => clock }) }
  const lanes = Array.from({ length: count }, (_, lane) => new Lane(options, bench, lane))
  let reopened = 0
  try {
    for (let done = 0; done < operations; ) {
      const each = Math.max(1, Math.min(round_operations, Math.ceil((operations - done) / count)))
      // All of them end, also when one fails: an engine is not closed under those that write.
      const ends = await Promise.allSettled(lanes.map((lane) => lane.run(each)))
      const failed = ends.find(({ status }) => status === 'rejected')
      if (failed) throw (failed as PromiseRejectedResult).reason
      done += each * count
      say?.(Math.min(done, operations))
      await bench.engine.close()
      bench.engine = await Engine.open(await open(), { log, now: () => clock })
      reopened++
      // Others may share the store.
      const there = new Set(bench.engine.containers().map(({ id }) => id))
      const missing = lanes.flatMap((lane) => [...lane.models.keys()]).filter((id) => !there.has(id))
      if (missing.length > 0) throw new Error(`seed ${options.seed}: containers ${missing} are gone after reopening`)
    }
    for (const lane of lanes) await lane.compareAll()
    for (const lane of lanes) for (const id of lane.models.keys()) await bench.engine.remove(id)
  } finally {
    await bench.engine.close()
  }
  const sum = (value: (lane: Lane) => number) => lanes.reduce((total, lane) => total + value(lane), 0)
  return {
    records: sum(({ models }) => [...models.values()].reduce((total, { records }) => total + records.length, 0)),
    appended: sum(({ appended }) => appended),
    reads: sum(({ reads }) => reads),
    reopened,
  }
}
