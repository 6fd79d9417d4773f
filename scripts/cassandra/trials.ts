/** What is tried of MDB's store on a real cluster whose nodes die, hang and lose each other. */
import { ApiError } from '#services/common/errors.ts'
import type { CassandraStore } from '#services/mdb/cassandra-store.ts'
import { patiently } from '#services/mdb/patiently.ts'
import { pause, until } from '../lab/shell.ts'
import type { Nodes } from './cluster.ts'
import { twoEngines } from './engines.ts'
import type { Fabric } from './fabric.ts'
import { modelTest } from './model.ts'
import { commonSuite } from './suite.ts'
import { type Figures, testPage, Workload } from './workload.ts'

export interface Bench {
  readonly nodes: Nodes
  readonly fabric: Fabric
  /** File of settings that leads to the cluster. */
  readonly settings: string
  /** A store as a process of its own would have it. */
  store(): Promise<CassandraStore>
  say(text: string): void
  /** Random operations of the model test. */
  readonly operations: number
}

/** One thing that is tried; gives its figures, throws when it is not so. */
export type Trial = readonly [name: string, what: string, work: (bench: Bench) => Promise<string>]

const writers = 6
const readers = 2
const first_day = 20_000
const before_ms = 2_000
const fault_ms = 8_000
const after_ms = 3_000
/** Longest that a writer waits for "unavailable" when it is the first to meet it, and afterwards. */
const first_refusal_max_ms = 9_000
const later_refusal_max_ms = 500
const recovery_max_ms = 120_000

function demand(so: boolean, words: string): asserts so {
  if (!so) throw new Error(words)
}

const ms = (n: number) => `${Math.round(n)} ms`
const words = ({ written, refused, reads, gap_ms, slowest_ms, median_ms }: Figures) =>
  `${written} writes, ${reads} reads, ${refused} refused; median ${ms(median_ms)}, slowest ${ms(slowest_ms)}, longest without one ${ms(gap_ms)}`

/** Containers of its own for a trial. */
const containers = (store: CassandraStore, name: string, count: number) =>
  Promise.all(
    Array.from(
      { length: count },
      async (_, i) => (await patiently(() => store.create({ account_id: 1, name: `${name}-${i}`, ttl: 0 }))).id,
    ),
  )

/** Writes and reads while a part is broken and mended; two of three go on, and nothing acknowledged is lost. */
async function faulty(
  bench: Bench,
  name: string,
  breaks: () => Promise<void> | void,
  mends: () => Promise<void> | void,
): Promise<string> {
  const stores = [await bench.store(), await bench.store()]
  const load = new Workload(stores, await containers(stores[0]!, name, 8), [first_day, first_day + 1])
  load.start(writers, readers)
  await pause(before_ms)
  load.figures(performance.now())
  await breaks()
  const began = performance.now()
  await pause(fault_ms)
  const broken = load.figures(began)
  await mends()
  await pause(after_ms)
  await load.stop()
  demand(broken.written > 0, `nothing was written for ${fault_ms / 1000} s`)
  const missing = await load.missing()
  demand(
    missing.length === 0,
    `${missing.length} of ${load.acknowledged} acknowledged pages are missing: ${missing.slice(0, 5)}`,
  )
  for (const store of stores) await store.close()
  return `${words(broken)}; ${load.acknowledged} pages acknowledged, 0 lost`
}

async function restart(bench: Bench, ...numbers: number[]): Promise<void> {
  for (const n of numbers) bench.nodes.start(n)
  await Promise.all(numbers.map((n) => bench.nodes.serving(n)))
}

/** How long it takes until a write is refused. */
async function refusal(store: CassandraStore, container: number): Promise<number> {
  const began = performance.now()
  try {
    await store.insert([testPage(container, first_day, 100)])
  } catch (error) {
    demand(error instanceof ApiError && error.kind === 'unavailable', `not "unavailable": ${(error as Error).message}`)
    return performance.now() - began
  }
  throw new Error('a write was acknowledged without a quorum')
}

async function noQuorum(bench: Bench): Promise<string> {
  const store = await bench.store()
  const [container] = await containers(store, 'quorum', 1)
  const kept = testPage(container!, first_day, 100)
  await store.insert([kept])
  await Promise.all([bench.nodes.kill(2), bench.nodes.kill(3)])
  // The first may still meet what the others had under way.
  const first = await refusal(store, container!)
  const later: number[] = []
  for (let n = 0; n < 20; n++) {
    later.push(await refusal(store, container!))
    await pause(50)
  }
  const worst = Math.max(...later)
  demand(first < first_refusal_max_ms, `the first refusal took ${ms(first)}`)
  demand(worst < later_refusal_max_ms, `a later refusal took ${ms(worst)}`)
  const began = performance.now()
  await restart(bench, 2, 3)
  await until('writes again', recovery_max_ms, async () => {
    try {
      await store.insert([testPage(container!, first_day, 100)])
      return true
    } catch {
      return false
    }
  })
  const recovered = performance.now() - began
  const [bytes] = await store.load([kept.head])
  demand(bytes?.equals(kept.bytes) ?? false, 'what was acknowledged before is gone')
  await store.close()
  return `first refusal after ${ms(first)}, then at most ${ms(worst)}; writes again ${(recovered / 1000).toFixed(1)} s after two nodes were started`
}

async function starts(bench: Bench): Promise<string> {
  const began = performance.now()
  const stores = await Promise.all([bench.store(), bench.store(), bench.store()])
  const seconds = (performance.now() - began) / 1000
  const names = Array.from({ length: 30 }, (_, i) => `start-${i}`)
  const made = await Promise.allSettled(
    names.flatMap((name) => stores.map((store) => store.create({ account_id: 7, name, ttl: 0 }))),
  )
  const fine = made.filter((one) => one.status === 'fulfilled')
  demand(fine.length === names.length, `${fine.length} containers were made of ${names.length} names`)
  for (const one of made)
    if (one.status === 'rejected') demand(one.reason?.kind === 'conflict', `not "conflict": ${one.reason?.message}`)
  const ids = (await stores[0]!.containers()).map(({ id }) => id)
  demand(new Set(ids).size === ids.length, 'an id was given twice')
  for (const store of stores) await store.close()
  return `three processes made the tables at once in ${seconds.toFixed(1)} s; of 90 wishes for 30 names 30 were granted, 60 "conflict"`
}

export const trials: readonly Trial[] = [
  ['start', 'three processes that start at once', starts],
  ['model', 'random operations of two processes against a model', (bench) => modelTest(bench)],
  ['suite', 'the common tests of stores, with the engine', (bench) => commonSuite(bench)],
  ['engines', 'two processes of the engine on the same containers', (bench) => twoEngines(bench)],
  [
    'kill',
    'a node dies',
    (bench) =>
      faulty(
        bench,
        'kill',
        () => bench.nodes.kill(2),
        () => restart(bench, 2),
      ),
  ],
  [
    'pause',
    'a node hangs',
    (bench) =>
      faulty(
        bench,
        'pause',
        () => bench.nodes.pause(3),
        () => bench.nodes.resume(3),
      ),
  ],
  [
    'cut',
    'two nodes lose each other',
    (bench) =>
      faulty(
        bench,
        'cut',
        () => bench.fabric.cut(1, 2),
        () => bench.fabric.mend(1, 2),
      ),
  ],
  ['quorum', 'two of three nodes die', noQuorum],
]
