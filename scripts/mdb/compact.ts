/** Merges all pages of an lmdb store and writes its file anew. */
import { mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Merger } from '#services/mdb/engine-merge.ts'
import { Pages } from '#services/mdb/engine-pages.ts'
import { LmdbStore } from '#services/mdb/lmdb-store.ts'
import { all_days } from '#services/mdb/store.ts'
import { openStore, Progress, print, quiet } from './stores.ts'

export async function compact(name: string): Promise<number> {
  const store = await openStore(name, 'write')
  if (!(store instanceof LmdbStore)) throw new Error('compact is for lmdb stores: Cassandra compacts by itself')
  const progress = new Progress()
  const merger = new Merger(store, new Pages(store), quiet)
  const file = join(store.folder, 'data.mdb')
  const aside = join(store.folder, 'compact')
  const before = statSync(file).size
  try {
    const containers = await store.containers()
    for (const [i, { id }] of containers.entries()) {
      progress.say(`container ${i + 1} of ${containers.length}: merging its pages`)
      await merger.settle(id, await store.days(id, ...all_days))
    }
    progress.say('writing the file anew')
    rmSync(aside, { recursive: true, force: true })
    mkdirSync(aside)
    await store.root.backup(aside, true)
  } finally {
    await merger.stop()
    await store.close()
  }
  renameSync(join(aside, 'data.mdb'), file)
  rmSync(aside, { recursive: true })
  progress.end()
  print(`${merger.merges} merges; the file had ${before} bytes, now ${statSync(file).size}`)
  return 0
}
