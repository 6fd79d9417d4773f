import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { ApiError } from '#services/common/errors.ts'
import { Engine } from '#services/mdb/engine.ts'
import { LmdbStore } from '#services/mdb/lmdb-store.ts'
import { toAppend } from '#services/mdb/record.ts'
import { checkStore } from './check.ts'
import { recordOf, silent } from './crash-record.ts'

test('a full disk is said so; when there is room again it goes on, and nothing acknowledged is lost', async (t) => {
  t.timeout(300_000)
  const folder = mkdtempSync(join(tmpdir(), 'mdb-full-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', folder])
  const open = () => Engine.open(new LmdbStore(join(folder, 'store'), { log: silent }), { log: silent })
  let engine = await open()
  const { id } = await engine.create({ account_id: 0, name: 'c', ttl: 0 })
  const acknowledged = new Set<number>()
  let next = 0
  const append = async () => {
    const numbers = Array.from({ length: 500 }, () => next++)
    const text = 'x'.repeat(300)
    const records = numbers.map((n) => ({ ...recordOf(n), noise: `${n * 7_919}${text}`.slice(0, 40 + (n % 200)) }))
    const [answer] = await engine.append([toAppend(id, records, 'x')!])
    for (const n of numbers) acknowledged.add(n)
    return answer?.stored
  }
  const there = async () => {
    const found = new Set<number>()
    for await (const batch of engine.read(id, { from: 0, to: 7e9 })) for (const { n } of batch) found.add(n as number)
    return found
  }
  const isLost = async () => acknowledged.difference(await there()).size
  try {
    let refusal: unknown
    while (!refusal && next < 100_000) {
      try {
        await append()
      } catch (error) {
        refusal = error
      }
    }
    t.true(refusal instanceof ApiError && refusal.status === 503 && refusal.retryAfter !== undefined)
    t.regex((refusal as Error).message, /the disk is full: free space/)
    t.true(acknowledged.size >= 500)
    t.is(await isLost(), 0, 'what was acknowledged is read while the disk is full')
    await t.throwsAsync(append(), { instanceOf: ApiError })
    execFileSync('mount', ['-o', 'remount,size=64m', folder])
    for (let i = 0; i < 10; i++) t.is(await append(), 500)
    t.is(await isLost(), 0)
    await engine.close()
    engine = await open()
    t.is(await isLost(), 0, 'nor after a restart')
    const damages: string[] = []
    await checkStore(engine.store, (text) => damages.push(text))
    t.deepEqual(damages, [])
  } finally {
    await engine.close()
    execFileSync('umount', ['-l', folder])
    rmdirSync(folder)
  }
})
