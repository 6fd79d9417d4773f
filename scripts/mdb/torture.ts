/** Random operations against a sorted array, as long as wanted. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LmdbStore } from '#services/mdb/lmdb-store.ts'
import { torture } from '#services/mdb/torture.ts'
import { openStore, Progress, print, quiet } from './stores.ts'

export async function runTorture(operations: number, seed: number, store?: string): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'mdb-torture-'))
  const progress = new Progress()
  const began = performance.now()
  print(`seed ${seed}`)
  try {
    // What is compared is what is there, not whether it is on the disk: the power cuts are for that.
    const open = async () => (store ? openStore(store, 'write') : new LmdbStore(folder, { log: quiet, sync: false }))
    const say = (done: number) => progress.say(`${done} of ${operations} operations`)
    const { records, appended, reads, reopened } = await torture({
      open,
      seed,
      operations,
      say,
      small: operations > 20_000,
    })
    progress.end()
    const seconds = Math.round((performance.now() - began) / 1000)
    print(
      `${operations} operations agree: ${appended} records appended, ${reads} reads, ${reopened} times opened again, ` +
        `${records} records at the end; ${seconds} s`,
    )
    return 0
  } catch (error) {
    progress.end()
    print((error as Error).message)
    return 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
