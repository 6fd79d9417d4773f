/** Random operations against a sorted array, as long as wanted; several trials side by side keep a cluster busy. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LmdbStore } from '#services/mdb/lmdb-store.ts'
import type { Store } from '#services/mdb/store.ts'
import { type TortureResult, torture } from '#services/mdb/torture.ts'
import { openStore, Progress, print, quiet } from './stores.ts'

/** From so many operations on batches are small. */
const small_from = 20_000
/** The embedded store's lanes share a commit, and with it its sync. */
const lanes_embedded = 32
const lanes_shared = 4

/** A shared store as one of several engines in this process sees it: containers whose names begin with `name`. */
function part(store: Store, name: string, close: () => Promise<void>): Store {
  return {
    shared: store.shared,
    get pressure() {
      return store.pressure
    },
    ready: () => store.ready(),
    // Others' containers are not swept here: what is known of their TTL lags.
    containers: async () => (await store.containers()).filter((container) => container.name.startsWith(name)),
    create: (wanted) => store.create(wanted),
    edit: (id, fields) => store.edit(id, fields),
    remove: (id) => store.remove(id),
    insert: (pages) => store.insert(pages),
    days: (container, from_day, to_day) => store.days(container, from_day, to_day),
    heads: (container, day) => store.heads(container, day),
    load: (heads) => store.load(heads),
    replace: (container, day, gone, pages, newest) => store.replace(container, day, gone, pages, newest),
    drop: (container, days) => store.drop(container, days),
    newest: (container) => store.newest(container),
    unmerged: (count, container) => store.unmerged(count, container),
    diskBytes: () => store.diskBytes(),
    close,
  }
}

/** One store for all that use it at a time: it is closed when nobody does, and opened anew by the next. */
class Common {
  readonly #place: string
  #store: Promise<Store> | undefined
  #users = 0

  constructor(place: string) {
    this.#place = place
  }

  async open(name: string): Promise<Store> {
    this.#users++
    this.#store ??= openStore(this.#place, 'write')
    const store = await this.#store
    return part(store, name, async () => {
      if (--this.#users > 0) return
      this.#store = undefined
      await store.close()
    })
  }
}

export interface RunOptions {
  operations: number
  seed: number
  /** Trials side by side: the n-th (from 0) has seed + n, and does what it does alone with that seed. */
  jobs: number
  /** As on the command line. Without: a folder of each trial's own. */
  store: string | undefined
}

export async function runTorture({ operations, seed, jobs, store }: RunOptions): Promise<number> {
  if (!Number.isInteger(jobs) || jobs < 1) throw new Error(`--jobs ${jobs}: a whole number, 1 or above`)
  const folder = mkdtempSync(join(tmpdir(), 'mdb-torture-'))
  const shared = store?.startsWith('cassandra:') ? new Common(store) : undefined
  if (store && !shared && jobs > 1) throw new Error(`--jobs ${jobs}: only one process writes to ${store}`)
  const run = randomBytes(4).toString('hex')
  const each = Math.ceil(operations / jobs)
  const small = shared !== undefined || each > small_from
  const lanes = small && !shared ? lanes_embedded : lanes_shared
  const progress = new Progress()
  const began = performance.now()
  const done = new Array<number>(jobs).fill(0)
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0)
  const seconds = () => (performance.now() - began) / 1000

  // The first failure ends all.
  let failed: unknown
  const trial = (job: number): Promise<TortureResult> => {
    const name = `torture ${run}, seed ${seed + job}`
    // What is compared is what is there, not whether it is on the disk: the power cuts are for that.
    const own = async () =>
      store ? openStore(store, 'write') : new LmdbStore(join(folder, String(job)), { log: quiet, sync: false })
    const open = () => (shared ? shared.open(`${name},`) : own())
    const say = (count: number) => {
      if (failed) throw failed
      done[job] = count
      progress.say(`${sum(done)} of ${each * jobs} operations, ${(sum(done) / seconds()).toFixed(0)} a second`)
    }
    return torture({ open, seed: seed + job, operations: each, say, small, lanes, name }).catch((error) => {
      throw (failed ??= error)
    })
  }

  print(`seed ${seed}${jobs > 1 ? ` to ${seed + jobs - 1}, ${each} operations with each` : ''}`)
  try {
    const trials = Array.from({ length: jobs }, (_, job) => trial(job))
    await Promise.allSettled(trials)
    const results = await Promise.all(trials)
    progress.end()
    const total = (field: keyof TortureResult) => sum(results.map((result) => result[field]))
    print(
      `${each * jobs} operations agree: ${total('appended')} records appended, ${total('reads')} reads, ` +
        `${total('reopened')} times opened again, ${total('records')} records at the end; ${seconds().toFixed(0)} s`,
    )
    return 0
  } catch (error) {
    progress.end()
    print((error as Error).message)
    if (jobs > 1) print(`again: --operations ${each} --jobs 1, and that seed`)
    return 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
