/** Containers with their pages from one store into another. */
import { all_days, type Container, type PageHead, type Store } from '#services/mdb/store.ts'
import { openStore, Progress, print } from './stores.ts'

/** Bytes of pages written at a time. */
const step_bytes_max = 4 * 1024 * 1024

/**
 * Copies pages as they are; those that the target has already, by their ids, are passed over: a copy that was broken off is
 * simply run again. The target must not merge meanwhile, or what it merged is copied again (and dropped by its next merge).
 */
export async function copy(from_name: string, to_name: string, ids?: number[]): Promise<number> {
  const from = await openStore(from_name, 'look while nobody writes')
  const to = await openStore(to_name, 'write')
  const progress = new Progress()
  let copied = 0
  let there = 0
  try {
    const containers = (await from.containers()).filter(({ id }) => !ids || ids.includes(id))
    for (const id of ids ?? [])
      if (!containers.some((container) => container.id === id))
        throw new Error(`there is no container ${id} in ${from_name}`)
    for (const [i, container] of containers.entries()) {
      const target = await targetOf(to, container)
      let newest = await from.newest(container.id)
      for (const day of await from.days(container.id, ...all_days)) {
        const known = new Set((await to.heads(target.id, day)).map(({ id }) => id))
        const heads = (await from.heads(container.id, day)).filter(({ id }) => !known.has(id))
        there += known.size
        while (heads.length > 0) {
          const pages = await load(from, takeStep(heads), target.id)
          if (!(await to.replace(target.id, day, [], pages, newest))) throw new Error('the target refused its pages')
          newest = new Map()
          copied += pages.length
          progress.say(`container ${i + 1} of ${containers.length} (${container.name}): ${copied} pages copied`)
        }
      }
    }
  } finally {
    await from.close()
    await to.close()
  }
  progress.end()
  print(`${copied} pages copied${there > 0 ? `, ${there} were there already` : ''}`)
  return 0
}

async function targetOf(to: Store, { account_id, name, ttl }: Container): Promise<Container> {
  const known = (await to.containers()).find((other) => other.account_id === account_id && other.name === name)
  return known ?? to.create({ account_id, name, ttl })
}

/** Takes heads off the front: a step's worth. */
function takeStep(heads: PageHead[]): PageHead[] {
  let bytes = 0
  let count = 0
  while (count < heads.length && (count === 0 || bytes + heads[count]!.size <= step_bytes_max))
    bytes += heads[count++]!.size
  return heads.splice(0, count)
}

async function load(from: Store, heads: PageHead[], container: number) {
  const bytes = await from.load(heads)
  return heads.map((head, i) => {
    const page = bytes[i]
    if (!page) throw new Error(`page ${head.id} vanished while it was copied: does something write to the source?`)
    return { head: { ...head, container }, bytes: page }
  })
}
