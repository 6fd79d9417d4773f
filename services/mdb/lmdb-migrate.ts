/** The first layout of the store, a key per record, read over into pages at the first start. Resumable: what is moved is removed. */
import type { Database } from 'lmdb'
import type { Logger } from 'pino'
import { newPage } from './engine-pages.ts'
import type { LmdbStore } from './lmdb-store.ts'
import { encodePage, type Message, page_records_max, sortRecords } from './page.ts'
import { type Container, dayOf, type Newest } from './store.ts'

const say_every_ms = 5_000
/** Bytes of JSON of one step: records may be large. */
const step_bytes_max = 8 * 1024 * 1024

interface OldContainer extends Container {
  doomed?: true
}

const oldKey = (container: number) => {
  const key = Buffer.alloc(4)
  key.writeUInt32BE(container, 0)
  return key
}

/** Moves what is left of the first layout; does nothing if there is none. `tell` hears how far it is. */
export async function migrate(store: LmdbStore, log: Logger, tell: (text: string) => void): Promise<void> {
  if (!store.firstLayout) return
  const meta = store.root.openDB({ name: 'meta', encoding: 'json' }) as unknown as Database<OldContainer, string>
  const options = { name: 'records', keyEncoding: 'binary', encoding: 'binary' } as const
  const records = store.root.openDB(options) as unknown as Database<Buffer, Buffer>
  const old = [...meta.getRange({ start: 'container:', end: 'container;' })].map(({ value }) => value)
  const living = old.filter((container) => !container.doomed)
  if (living.length === 0 && records.getKeysCount({ limit: 1 }) === 0) return
  const total = living.reduce((sum, container) => sum + container.records, 0)
  log.info({ containers: living.length, records: total }, 'the store has its first layout: its records move into pages')

  const known = new Set((await store.containers()).map(({ id }) => id))
  for (const container of living) if (!known.has(container.id)) await store.create(container)
  let moved = living.length === 0 ? 0 : total - (records.getStats() as { entryCount: number }).entryCount
  let said = 0
  for (const { id } of living) {
    for (;;) {
      const step = await moveStep(store, records, id)
      if (step === 0) break
      moved += step
      tell(`the store moves to its new layout: ${Math.floor((100 * moved) / Math.max(1, total))} % of ${total} records`)
      if (Date.now() - said < say_every_ms) continue
      said = Date.now()
      log.info({ moved, of: total }, 'records moved into pages')
    }
  }
  // What is left is of containers that were being removed.
  await records.drop()
  await meta.drop()
  log.info({ records: total }, 'the store has its new layout')
}

/** Moves a container's first records of one day, at most a page of them; returns how many keys that were. */
async function moveStep(store: LmdbStore, records: Database<Buffer, Buffer>, id: number): Promise<number> {
  const keys: Buffer[] = []
  const messages: Message[] = []
  let bytes = 0
  let day = -1
  for (const { key, value } of records.getRange({ start: oldKey(id), end: oldKey(id + 1), limit: page_records_max })) {
    const message = JSON.parse(value.toString()) as Message
    message.timestamp = Number(key.readBigUInt64BE(4)) / 1e6
    if (day === -1) day = dayOf(message.timestamp)
    if (dayOf(message.timestamp) !== day || bytes > step_bytes_max) break
    keys.push(key)
    messages.push(message)
    bytes += value.length
  }
  if (keys.length === 0) return 0
  const page = newPage(id, encodePage(sortRecords(messages)), 'page')
  const newest: Newest = new Map()
  for (const { timestamp, ...message } of messages)
    for (const [name, value] of Object.entries(message)) newest.set(name, { timestamp, value })
  await store.replace(id, day, [], [page], newest, () => {
    for (const key of keys) records.remove(key)
  })
  return keys.length
}
