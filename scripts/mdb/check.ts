/** Reads all of a store, and names what is not as it was written. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { openNamed } from '#services/mdb/engine-pages.ts'
import { LmdbStore } from '#services/mdb/lmdb-store.ts'
import { checkPage } from '#services/mdb/page-open.ts'
import { all_days, type Container, dayOf, type PageHead, type Store } from '#services/mdb/store.ts'
import { root } from '../state.ts'
import { openStore, Progress, print } from './stores.ts'

/**
 * Damage of LMDB's own structure may end the process that reads it: a second one reads, and this one tells how it ended.
 * Exit code 0: all is well; 1: something is damaged.
 */
export async function check(name: string, inner: boolean): Promise<number> {
  if (inner || name.startsWith('cassandra:')) return checkHere(name)
  const args = [join(root, 'scripts/mdb.ts'), 'check', name, '--inner']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  const [code, signal] = await new Promise<[number | null, string | null]>((done) =>
    child.once('exit', (code, signal) => done([code, signal])),
  )
  if (code !== null && code <= 2) return code
  print(`damaged: LMDB's own structure: the process that read the file ended by ${signal ?? `code ${code}`}`)
  return 1
}

async function checkHere(name: string): Promise<number> {
  let found = 0
  const tell = (text: string) => {
    found++
    print(`damaged: ${text}`)
  }
  let store: Store
  try {
    store = await openStore(name, 'look while nobody writes')
  } catch (error) {
    if (/stop MDB first|no store here|first layout/.test((error as Error).message)) throw error
    tell(`the store cannot be opened: ${(error as Error).message}`)
    return 1
  }
  const progress = new Progress()
  const { pages, records } = await checkStore(store, tell, (text) => progress.say(text))
  progress.end()
  await store.close().catch(() => {})
  if (found === 0) print(`clean: ${records} records in ${pages} pages`)
  return found === 0 ? 0 : 1
}

/** Checks an open store; `tell` hears of each damage. */
export async function checkStore(
  store: Store,
  tell: (text: string) => void,
  say: (text: string) => void = () => {},
): Promise<{ pages: number; records: number }> {
  let pages = 0
  let records = 0
  const attempt = async (work: () => Promise<void>) => {
    try {
      await work()
    } catch (error) {
      tell((error as Error).message)
    }
  }
  for (const container of await store.containers()) {
    const { id } = container
    const sum = { records: 0, bytes: 0 }
    await attempt(async () => {
      for (const day of await store.days(id, ...all_days)) {
        await attempt(async () => {
          for (const head of await store.heads(id, day)) {
            sum.records += head.records
            sum.bytes += head.json_bytes
            await attempt(() => checkOne(store, head))
            pages++
            records += head.records
            say(`${records} records in ${pages} pages read`)
          }
        })
      }
      await store.newest(id)
      if (!store.shared) compare(container, sum, tell)
    })
  }
  if (store instanceof LmdbStore) await attempt(async () => (store as LmdbStore).checkTables())
  return { pages, records }
}

function compare(container: Container, sum: { records: number; bytes: number }, tell: (text: string) => void): void {
  for (const key of ['records', 'bytes'] as const)
    if (container[key] !== sum[key])
      tell(`container ${container.id} counts ${container[key]} ${key}, its pages ${sum[key]}`)
}

async function checkOne(store: Store, head: PageHead): Promise<void> {
  const [bytes] = await store.load([head])
  if (!bytes) throw new Error(`page ${head.id} of container ${head.container} is not there`)
  const page = openNamed(head, bytes)
  if (dayOf(page.from) !== head.day || dayOf(page.to) !== head.day || bytes.length !== head.size)
    throw new Error(`page ${head.id} of container ${head.container} is not of its day`)
  checkPage(page)
}
