/** Small parts of the store on Cassandra: rows as heads, work in groups. */
import type { Known } from './cassandra-catalog.ts'
import type { Row } from './cassandra-client.ts'
import type { Sum } from './cassandra-marks.ts'
import type { Container, PageHead } from './store.ts'

export const withSums = (container: Known, counted?: Sum, added?: Sum): Container => ({
  ...container,
  records: (counted?.records ?? 0) + (added?.records ?? 0),
  bytes: (counted?.bytes ?? 0) + (added?.bytes ?? 0),
})

/** When a page's id was made, ms since 1970: see `newPageId`. */
export const pageIdTime = (id: string) => Number.parseInt(id.slice(0, 9), 36)

export function toHead(container: number, day: number, row: Row): PageHead {
  return {
    container,
    day,
    id: row.id as string,
    kind: row.kind as PageHead['kind'],
    from: row.first_at as number,
    to: row.last_at as number,
    records: row.records as number,
    json_bytes: Number(row.json_bytes),
    size: row.size as number,
  }
}

/** In groups whose sizes together are at most `most`; one that is larger alone is a group of its own. */
export function bySize<T>(items: readonly T[], sizeOf: (item: T) => number, most: number): T[][] {
  const groups: T[][] = []
  let [group, sum]: [T[], number] = [[], 0]
  for (const item of items) {
    const size = sizeOf(item)
    if (group.length > 0 && sum + size > most) {
      groups.push(group)
      ;[group, sum] = [[], 0]
    }
    group.push(item)
    sum += size
  }
  if (group.length > 0) groups.push(group)
  return groups
}

/** Waits for all, so that nothing goes on behind the back of who was told of a failure; then throws the first. */
export async function settled(works: Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(works)).find(({ status }) => status === 'rejected')
  if (failed) throw (failed as PromiseRejectedResult).reason
}
