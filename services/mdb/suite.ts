/** What every store must do: the same tests for all of them. */
import test from 'ava'
import { pino } from 'pino'
import { Engine } from './engine.ts'
import { newPage } from './engine-pages.ts'
import { encodePage, type Message } from './page.ts'
import { toAppend } from './record.ts'
import { day_s, newPageId, type PageHead, type Store } from './store.ts'
import { torture } from './torture.ts'

export interface SuiteOptions {
  /** Operations of the comparison with a sorted array. */
  operations: number
  /** A store of its own: opened, closed and opened again. */
  make(): Promise<{ open(): Promise<Store>; remove(): Promise<void> }>
}

const log = pino({ level: 'silent' })
const at = 20_000 * day_s

/** Adds the tests of one kind of store. */
export function storeSuite(kind: string, { operations, make }: SuiteOptions): void {
  test(`${kind}: answers as a sorted array does, also after it was opened again`, async (t) => {
    t.timeout(300_000)
    const { open, remove } = await make()
    const { records, appended } = await torture({ open, seed: 7, operations })
    t.true(records > 500 && appended > records)
    await remove()
  })

  test(`${kind}: who lifts a TTL and then sends old records loses none to a sweep that has begun`, async (t) => {
    const { open, remove } = await make()
    const store = await open()
    const engine = await Engine.open(store, { log, now: () => at + 10 * day_s })
    const { id } = await engine.create({ account_id: 0, name: 'short', ttl: 60 })
    const old = (n: number) => [toAppend(id, [{ timestamp: at + n, n }], '')!]
    await engine.append(old(1))
    // The sweep has read the days, when the TTL goes and another old record comes.
    let goOn = () => {}
    const held = new Promise<void>((resolve) => {
      goOn = resolve
    })
    const { days } = store
    store.days = async (...range) => {
      const found = await days.apply(store, range)
      await held
      return found
    }
    const sweep = engine.sweep()
    await engine.edit(id, { ttl: 0 })
    t.is((await engine.append(old(2)))[0]!.stored, 1)
    goOn()
    await sweep
    store.days = days
    const found: Message[] = []
    for await (const some of engine.read(id, { from: at, to: at + 9 })) found.push(...some)
    t.deepEqual(
      found.map(({ n }) => n),
      [1, 2],
    )
    await engine.close()
    await remove()
  })

  test(`${kind}: what an engine took before it was closed is stored`, async (t) => {
    const { open, remove } = await make()
    const engine = await Engine.open(await open(), { log })
    const { id } = await engine.create({ account_id: 0, name: 'c', ttl: 0 })
    const stored = engine.append([toAppend(id, [{ timestamp: at, n: 1 }], '')!])
    await engine.close()
    t.is((await stored)[0]!.stored, 1)
    await remove()
  })

  test(`${kind}: containers`, async (t) => {
    const { open, remove } = await make()
    let store = await open()
    const a = await store.create({ account_id: 1, name: 'a', ttl: 5 })
    const b = await store.create({ account_id: 2, name: 'a', ttl: 0 })
    t.true(b.id > a.id)
    await t.throwsAsync(store.create({ account_id: 1, name: 'a', ttl: 0 }), { message: /"a" exists/ })
    await t.throwsAsync(store.edit(99_999, { ttl: 1 }), { message: /no container 99999/ })
    t.like(await store.edit(a.id, { name: 'z', ttl: 6 }), { id: a.id, name: 'z', ttl: 6 })
    await store.remove(b.id)
    const { id } = await store.create({ account_id: 2, name: 'a', ttl: 0 })
    t.true(id > b.id, 'ids are not given again')
    await store.close()
    store = await open()
    const found = (await store.containers()).map(({ id, name, ttl, records }) => ({ id, name, ttl, records }))
    t.deepEqual(found, [
      { id: a.id, name: 'z', ttl: 6, records: 0 },
      { id, name: 'a', ttl: 0, records: 0 },
    ])
    await store.close()
    await remove()
  })

  test(`${kind}: pages are replaced as a whole or not at all`, async (t) => {
    const { open, remove } = await make()
    let store = await open()
    const { id } = await store.create({ account_id: 0, name: 'c', ttl: 0 })
    const page = (...seconds: number[]) =>
      newPage(id, encodePage(seconds.map((s) => ({ timestamp: at + s, n: s }))), 'rows')
    const pages = [page(1), page(2), page(3, 4)]
    for (const one of pages) await store.insert([one])
    const heads = await store.heads(id, 20_000)
    t.deepEqual(
      heads,
      pages.map(({ head }) => head),
    )
    const [first, second, third] = heads as [PageHead, PageHead, PageHead]
    const merged = { ...page(1, 3, 4) }
    merged.head.kind = 'page'
    const newest = new Map([['n', { timestamp: at + 4, value: 4 }]])
    // The middle one stays, although it came before the last.
    t.true(await store.replace(id, 20_000, [first, third], [merged], newest))
    t.false(await store.replace(id, 20_000, [second, third], [page(9)]), 'one is gone')
    for (const reopened of [false, true]) {
      if (reopened) {
        await store.close()
        store = await open()
      }
      const left = await store.heads(id, 20_000)
      t.deepEqual(new Set(left.map((head) => head.id)), new Set([second.id, merged.head.id]))
      const bytes = await store.load(left)
      t.deepEqual(
        bytes.map((b) => b?.length),
        left.map(({ size }) => size),
      )
      t.deepEqual(await store.load([first]), [undefined])
      t.deepEqual(await store.newest(id), newest)
      t.deepEqual(await store.unmerged(9, id), [{ container: id, day: 20_000 }], 'the middle one is fresh')
      t.deepEqual(await store.days(id, 0, 84_000), [20_000])
    }
    await store.drop(id, [20_000])
    t.deepEqual(await store.heads(id, 20_000), [])
    t.deepEqual(await store.days(id, 0, 84_000), [])
    await t.throwsAsync(store.insert([{ ...page(1), head: { ...page(1).head, container: 77_777 } }]), {
      message: /no container 77777/,
    })
    await store.close()
    store = await open()
    t.deepEqual(await store.heads(id, 20_000), [])
    await store.remove(id)
    await store.close()
    await remove()
  })

  test(`${kind}: expired records are not read and their pages go; a removed container is gone for good`, async (t) => {
    const { open, remove } = await make()
    let now = at + 100
    const engine = await Engine.open(await open(), { log, now: () => now })
    const { id } = await engine.create({ account_id: 0, name: 'short', ttl: 60 })
    const append = (...timestamps: number[]) =>
      engine.append([
        toAppend(
          id,
          timestamps.map((timestamp) => ({ timestamp, n: timestamp })),
          '',
        )!,
      ])
    await append(at - 50_000)
    await append(at + 30, at + 90)
    const read = async () => {
      const found: Message[] = []
      for await (const batch of engine.read(id, { from: 0, to: 7e9 })) found.push(...batch)
      return found.map(({ timestamp }) => timestamp - at)
    }
    t.deepEqual(await read(), [90])
    await engine.sweep()
    t.is((await engine.statistics(id)).pages, 1)
    now = at + 200
    t.deepEqual(await read(), [])
    await engine.sweep()
    t.is((await engine.statistics(id)).pages, 0)
    t.deepEqual((await engine.telemetry(id)).get('n'), { timestamp: at + 90, value: at + 90 })
    await append(at + 190)
    t.deepEqual(await read(), [190])
    await engine.remove(id)
    await t.throwsAsync(async () => read(), { message: `there is no container ${id}` })
    await t.throwsAsync(engine.append([toAppend(id, [{ timestamp: 1 }], '')!]), {
      message: `there is no container ${id}`,
    })
    t.not((await engine.create({ account_id: 0, name: 'short', ttl: 0 })).id, id)
    await engine.close()
    await remove()
  })

  test(`${kind}: late records into old days leave full pages alone; merges end`, async (t) => {
    const { open, remove } = await make()
    const engine = await Engine.open(await open(), { log })
    const { id } = await engine.create({ account_id: 0, name: 'c', ttl: 0 })
    const steady = Array.from({ length: 20_000 }, (_, i) => ({ timestamp: at + i, n: i }))
    for (let i = 0; i < steady.length; i += 2_000) await engine.append([toAppend(id, steady.slice(i, i + 2_000), '')!])
    await engine.merger.settle(id, [20_000])
    const before = await engine.store.heads(id, 20_000)
    t.true(before.length <= 3 && before.every(({ kind }) => kind === 'page'))
    for (let i = 0; i < 20; i++) await engine.append([toAppend(id, [{ timestamp: at + 900 * i + 0.5 }], '')!])
    await engine.merger.settle(id, [20_000])
    const after = await engine.store.heads(id, 20_000)
    t.true(after.length <= before.length + 1)
    const full = before.filter(({ records }) => records > 7_000)
    t.true(full.length >= 2 && full.every((head) => after.some((now) => now.id === head.id)))
    let count = 0
    for await (const batch of engine.read(id, { from: 0, to: 7e9 })) count += batch.length
    t.is(count, 20_020)
    await engine.close()
    await remove()
  })
}

/** A head for tests of plans. */
export function headOf(part: Partial<PageHead>): PageHead {
  const head = {
    container: 1,
    day: 1,
    id: newPageId(),
    kind: 'page',
    from: 0,
    to: 0,
    records: 8_192,
    json_bytes: 1,
    size: 1,
  }
  return { ...(head as PageHead), ...part }
}
