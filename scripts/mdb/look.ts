/** What is in a store. */
import { once } from 'node:events'
import { Pages } from '#services/mdb/engine-pages.ts'
import { Reader, type ReadQuery } from '#services/mdb/engine-read.ts'
import { all_days, isFresh, type Store } from '#services/mdb/store.ts'
import { openStore, print } from './stores.ts'

const shown = (value: number) => Math.round(value).toLocaleString('en-US')

export async function stat(name: string): Promise<number> {
  const store = await openStore(name, 'look')
  const total = { records: 0, bytes: 0, size: 0, pages: 0 }
  print('container           records      JSON bytes      page bytes   pages  fresh  days  bytes/record  name')
  for (const { id, name } of await store.containers()) {
    const sum = { records: 0, bytes: 0, size: 0, pages: 0, fresh: 0, days: 0 }
    for (const day of await store.days(id, ...all_days)) {
      sum.days++
      for (const head of await store.heads(id, day)) {
        sum.records += head.records
        sum.bytes += head.json_bytes
        sum.size += head.size
        sum.pages++
        if (isFresh(head)) sum.fresh++
      }
    }
    for (const key of ['records', 'bytes', 'size', 'pages'] as const) total[key] += sum[key]
    const columns = [
      String(id).padStart(9),
      shown(sum.records).padStart(16),
      shown(sum.bytes).padStart(15),
      shown(sum.size).padStart(15),
      String(sum.pages).padStart(7),
      String(sum.fresh).padStart(6),
      String(sum.days).padStart(5),
      (sum.size / Math.max(1, sum.records)).toFixed(1).padStart(13),
    ]
    print(`${columns.join(' ')}  ${name}`)
  }
  const disk = await store.diskBytes()
  print(
    `${shown(total.records)} records, ${shown(total.bytes)} bytes as JSON, ${shown(total.size)} in ${shown(total.pages)} pages` +
      (disk === undefined ? '' : `, ${shown(disk)} on disk`),
  )
  await store.close()
  return 0
}

export async function dump(name: string, container: number, query: ReadQuery): Promise<number> {
  const store: Store = await openStore(name, 'look')
  if (!(await store.containers()).some(({ id }) => id === container))
    throw new Error(`there is no container ${container}`)
  const reader = new Reader(store, new Pages(store))
  for await (const batch of reader.read(container, query)) {
    const text = batch.map((message) => `${JSON.stringify(message)}\n`).join('')
    if (!process.stdout.write(text)) await once(process.stdout, 'drain')
  }
  await store.close()
  return 0
}
