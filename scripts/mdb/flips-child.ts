/** Damages a copy of a store and reads it: a process of its own, since LMDB may end it. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { seeded } from '#services/common/random.ts'
import { Engine } from '#services/mdb/engine.ts'
import { LmdbStore } from '#services/mdb/lmdb-store.ts'
import { silent } from './crash-record.ts'

const [folder = '', seed = '0', first = '0', count = '0'] = process.argv.slice(2)
const whole = readFileSync(join(folder, 'store/data.mdb'))

/** All answers of a store as one text; what it refuses to answer as an Error. */
async function answers(bytes: Buffer): Promise<string> {
  const place = join(folder, 'flipped')
  rmSync(place, { recursive: true, force: true })
  mkdirSync(place)
  writeFileSync(join(place, 'data.mdb'), bytes)
  const store = new LmdbStore(place, { log: silent, readOnly: true })
  const engine = await Engine.open(store, { log: silent })
  try {
    const found: unknown[] = []
    for (const { id, name, records } of engine.containers()) {
      found.push([id, name, records, [...(await engine.telemetry(id))]])
      for await (const batch of engine.read(id, { from: 0, to: 7e9 })) found.push(batch)
    }
    return JSON.stringify(found)
  } finally {
    await engine.close()
  }
}

const right = await answers(whole)
for (let i = Number(first); i < Number(count); i++) {
  const next = seeded(Number(seed) * 1_000_003 + i)
  const cut = next() < 0.05
  const at = Math.floor(next() * whole.length)
  const damaged = cut ? Buffer.from(whole.subarray(0, at)) : Buffer.from(whole)
  if (!cut) damaged[at]! ^= 1 << Math.floor(next() * 8)
  let message: { outcome: string; text?: string }
  try {
    const same = (await answers(damaged)) === right
    const text = `a wrong answer: ${cut ? 'cut off at' : 'a bit flipped in'} byte ${at} (number ${i})`
    message = same ? { outcome: 'harmless' } : { outcome: 'wrong', text }
  } catch {
    message = { outcome: 'found' }
  }
  await new Promise<void>((done) => process.send?.(message, () => done()))
}
process.exit(0)
