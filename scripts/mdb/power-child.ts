/** The process whose writes `power` records: appends and merges, and says what it begins and what was acknowledged. */
import { openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { Engine } from '#services/mdb/engine.ts'
import { LmdbStore } from '#services/mdb/lmdb-store.ts'
import { toAppend } from '#services/mdb/record.ts'
import { all_days } from '#services/mdb/store.ts'
import { containers, recordOf, silent } from './crash-record.ts'

const [folder = '', batches = '0'] = process.argv.slice(2)
const acks = openSync(join(folder, 'acks'), 'a')
const store = new LmdbStore(folder, { log: silent })
writeSync(acks, 'opened 0 0\n')
const engine = await Engine.open(store, { log: silent, rest_ms: 20 })
const ids: number[] = []
for (let i = 0; i < containers; i++) ids.push((await engine.create({ account_id: 0, name: `c${i}`, ttl: 0 })).id)

let next = 0
let round = 0

/** As the engine does when room for fresh pages runs out. */
async function bundle(): Promise<void> {
  for (const id of ids) await engine.merger.settle(id, await store.days(id, ...all_days), false)
}

async function write(): Promise<void> {
  while (round < Number(batches)) {
    round++
    const begin = next
    next += 1 + ((begin * 7919) % 12)
    const end = next
    const groups = new Map<number, Record<string, unknown>[]>()
    for (let n = begin; n < end; n++) {
      const id = ids[n % containers]!
      groups.set(id, [...(groups.get(id) ?? []), recordOf(n)])
    }
    writeSync(acks, `begun ${begin} ${end}\n`)
    await engine.append([...groups].map(([id, records]) => toAppend(id, records, 'x')!))
    writeSync(acks, `stored ${begin} ${end}\n`)
    // Merges come in between.
    if (round % 8 === 0) await new Promise((resolve) => setTimeout(resolve, 15))
    if (round % 12 === 0) await bundle()
  }
}

await Promise.all([write(), write()])
for (const id of ids) await engine.merger.settle(id, await store.days(id, ...all_days))
await engine.close()
