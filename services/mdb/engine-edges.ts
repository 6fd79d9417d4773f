/** Removal of time ranges, asked for or by TTL: whole pages go, pages at the edges are written anew. */
import type { Engine } from './engine.ts'
import { fold, newPage, type Pages } from './engine-pages.ts'
import { encodePage } from './page.ts'
import { dayOf, isFresh, type Newest, type NewPage, type PageHead } from './store.ts'

/** Removes records of [from, to) of a container; `onDay` is told before the next append looks for duplicates. */
export async function removeRange(
  engine: Engine,
  pages: Pages,
  id: number,
  from: number,
  to: number,
  onDay: () => void,
): Promise<number> {
  const { store } = engine
  let removed = 0
  if (from >= to) return 0
  for (const day of await store.days(id, dayOf(from), dayOf(to))) {
    // Between two appends: what comes after a removal is not taken for stored already.
    removed += await engine.alone(async () => {
      for (;;) {
        const heads = (await store.heads(id, day)).filter((head) => head.from < to && head.to >= from)
        const whole = heads.filter((head) => head.from >= from && head.to < to)
        const edges = heads.filter((head) => head.from < from || head.to >= to)
        const opened = await pages.open(edges)
        const gone: PageHead[] = [...whole]
        const left: NewPage[] = []
        let count = whole.reduce((sum, head) => sum + head.records, 0)
        for (const [i, page] of (opened ?? []).entries()) {
          const rest = [...page.read({ to: from }), ...page.read({ from: to })]
          if (rest.length === page.records) continue
          gone.push(edges[i]!)
          count += page.records - rest.length
          // Of one that lies in the middle both sides stay, as two pages: neither covers the gap.
          for (const side of [page.read({ to: from }), page.read({ from: to })])
            if (side.length > 0) left.push(newPage(id, encodePage(side), 'page'))
        }
        const newest = opened && (await newestOfFresh(pages, heads))
        if (opened && gone.length === 0) return 0
        if (newest && (await store.replace(id, day, gone, left, newest))) {
          pages.forget(gone)
          onDay()
          return count
        }
        await new Promise((resolve) => setImmediate(resolve))
      }
    })
  }
  return removed
}

/** Newest values of fresh pages that go: those of merged ones are known already. Undefined: one is gone. */
async function newestOfFresh(pages: Pages, heads: PageHead[]): Promise<Newest | undefined> {
  const opened = await pages.open(heads.filter(isFresh))
  if (!opened) return undefined
  const newest: Newest = new Map()
  for (const page of opened) fold(newest, page.newest())
  return newest
}

/**
 * Drops days, and pages of the day that just expires, of all containers with a TTL. Who lifts a TTL and then sends old records is
 * told that they are stored: so the TTL that counts is that of the moment, read after the pages that it is to judge.
 */
export async function sweepExpired(engine: Engine, pages: Pages, onDrop: (id: number) => void): Promise<void> {
  const { store } = engine
  for (const { id } of engine.containers()) {
    const last = dayOf(engine.expiredBefore(id))
    try {
      for (const day of last < 0 ? [] : await store.days(id, 0, last)) {
        await engine.alone(async () => {
          const heads = await store.heads(id, day)
          const expired = () => heads.filter(({ to }) => to < engine.expiredBefore(id))
          // On a shared store another process may have lifted it.
          if (store.shared && expired().length > 0) await engine.refresh()
          const gone = expired()
          if (gone.length === 0) return
          const newest = await newestOfFresh(pages, gone)
          if (newest && newest.size > 0) await store.replace(id, day, gone, [], newest)
          // A day of a shared store may hold by now what another process stored.
          else if (store.shared || gone.length < heads.length) await store.replace(id, day, gone, [])
          else await store.drop(id, [day])
          onDrop(id)
        })
      }
    } catch (error) {
      const { message } = error as Error
      engine.log.warn({ reason: message, container: id }, 'expired records are left for the next time')
    }
  }
}
