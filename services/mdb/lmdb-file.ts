/** The file of an lmdb store, when there is none yet. */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Database, open, type RootDatabase } from 'lmdb'

/** Makes an empty file aside and puts it in its place whole: LMDB cannot tell one that was half made from a damaged one. */
export function makeFile(folder: string, mapSize: number): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  if (existsSync(join(folder, 'data.mdb'))) return
  const aside = join(folder, 'new')
  rmSync(aside, { recursive: true, force: true })
  mkdirSync(aside, { mode: 0o700 })
  const root = open({ path: aside, mapSize, maxDbs: 1, overlappingSync: false })
  root.transactionSync(() => {})
  void root.close()
  for (const [place, flags] of [
    [join(aside, 'data.mdb'), 'r+'],
    [folder, 'r'],
  ] as const) {
    if (place === folder) renameSync(join(aside, 'data.mdb'), join(folder, 'data.mdb'))
    const file = openSync(place, flags)
    fsyncSync(file)
    closeSync(file)
  }
  rmSync(aside, { recursive: true, force: true })
}

const ignore = () => {}

/** A table of bytes. What becomes of a write is told by the promise of its commit alone: see `Commits`. */
export function openTable(root: RootDatabase<unknown, string>, name: string): Database<Buffer, Buffer> {
  const table = root.openDB({ name, keyEncoding: 'binary', encoding: 'binary' }) as unknown as Database<Buffer, Buffer>
  // One that is open for reading alone has no writes.
  if (table.put === undefined) return table
  const put = table.put.bind(table) as (key: Buffer, value: Buffer) => Promise<boolean>
  const remove = table.remove.bind(table) as (key: Buffer) => Promise<boolean>
  table.put = (key: Buffer, value: Buffer) => {
    const written = put(key, value)
    written?.catch?.(ignore)
    return written
  }
  table.remove = (key: Buffer) => {
    const written = remove(key)
    written?.catch?.(ignore)
    return written
  }
  return table
}
