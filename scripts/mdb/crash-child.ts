/** The process that `crash` kills: appends, merges and expires as fast as it can, and tells what was acknowledged. */
import { Engine } from '#services/mdb/engine.ts'
import { LmdbStore } from '#services/mdb/lmdb-store.ts'
import { toAppend } from '#services/mdb/record.ts'
import { all_days } from '#services/mdb/store.ts'
import { containers, now, recordOf, silent, ttl_s } from './crash-record.ts'

const [folder = '', first = '0'] = process.argv.slice(2)
const writers = 4
const batch_max = 40
const resent = 200

const store = new LmdbStore(folder, { log: silent })
let next = Number(first)
let clock = now(next)
const engine = await Engine.open(store, { log: silent, rest_ms: 40, now: () => clock })
for (let i = engine.containers().length; i < containers; i++)
  await engine.create({ account_id: 0, name: `c${i}`, ttl: ttl_s })
const ids = engine.containers().map(({ id }) => id)
process.send?.({ opened: true })

async function append(begin: number, end: number): Promise<void> {
  const groups = new Map<number, Record<string, unknown>[]>()
  for (let n = begin; n < end; n++) {
    const id = ids[n % containers]!
    const group = groups.get(id)
    if (group) group.push(recordOf(n))
    else groups.set(id, [recordOf(n)])
  }
  await engine.append([...groups].map(([id, records]) => toAppend(id, records, 'x')!))
}

// As a device does that missed its answer.
if (next > 0) await append(Math.max(0, next - resent), next)
process.send?.({ acknowledged: [Math.max(0, next - resent), next] })

async function write(): Promise<never> {
  for (let round = 0; ; round++) {
    const begin = next
    next += 1 + ((begin * 7919) % batch_max)
    const end = next
    await append(begin, end)
    clock = Math.max(clock, now(end))
    process.send?.({ acknowledged: [begin, end] })
    if (round % 25 === 0) await engine.sweep()
    // As the engine does when room for fresh pages runs out.
    if (round % 10 === 0) for (const id of ids) await engine.merger.settle(id, await store.days(id, ...all_days), false)
  }
}

await Promise.all(Array.from({ length: writers }, write))
