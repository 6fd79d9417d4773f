/** Brings records of the archive back into MDB. What is there already stays as it is: a record's key is the same. */
import { ApiError } from '#services/common/errors.ts'
import { beginOf, day_s } from './days.ts'
import type { Tell } from './export.ts'
import type { Library } from './library.ts'
import type { ContainerDay } from './manifest.ts'
import type { Source } from './source.ts'

/** Of one append. */
const records_max = 5_000
const bytes_max = 8 * 1024 * 1024

export interface RestoreWanted {
  /** First and last day, both included. */
  from_day: string
  to_day: string
  /** Absent: all. */
  container?: number | undefined
}

export interface Restored {
  records: number
  /** Of them were not in MDB. */
  stored: number
  /** Containers whose id in MDB is another one now. */
  renumbered: { id: number; now: number; name: string }[]
}

export async function restore(library: Library, source: Source, wanted: RestoreWanted, tell: Tell): Promise<Restored> {
  const days = library.days().filter((day) => day >= wanted.from_day && day <= wanted.to_day)
  if (days.length === 0)
    throw new ApiError('not_found', `no day from ${wanted.from_day} to ${wanted.to_day} is in the archive`)
  const result: Restored = { records: 0, stored: 0, renumbered: [] }

  /** Containers of these days as they were last, and their ids in MDB now. */
  const all = new Map<string, ContainerDay>()
  for (const day of days)
    for (const container of (await library.manifest(day)).containers)
      if (wanted.container === undefined || container.id === wanted.container) all.set(keyOf(container), container)
  if (all.size === 0) throw new ApiError('not_found', `container ${wanted.container} has no records in these days`)
  const here = await source.containers()
  const targets = new Map<string, number>()
  // In the order of their ids: an empty MDB then gives them the same ids, if none is missing.
  for (const [key, container] of [...all].sort(([, a], [, b]) => a.id - b.id)) {
    const { id, account_id, name, created } = container
    const mine = here.filter((other) => other.account_id === account_id)
    const known =
      mine.find((other) => other.id === id && other.created === created) ?? mine.find((other) => other.name === name)
    const now = known?.id ?? (await source.create(container))
    targets.set(key, now)
    if (now !== id) result.renumbered.push({ id, now, name })
  }

  for (const [index, day] of days.entries()) {
    const range = { from: beginOf(day), to: beginOf(day) + day_s, reverse: false }
    for (const container of (await library.manifest(day)).containers) {
      if (wanted.container !== undefined && container.id !== wanted.container) continue
      const id = targets.get(keyOf(container))!
      let batch: string[] = []
      let bytes = 0
      const send = async () => {
        if (batch.length === 0) return
        result.stored += (await source.append(id, batch)).stored
        result.records += batch.length
        batch = []
        bytes = 0
        tell(`${day} (${index + 1} of ${days.length}): ${result.records} records, ${result.stored} of them new`)
      }
      for await (const { json } of library.readDay(day, container.id, range)) {
        batch.push(json)
        bytes += json.length
        if (batch.length >= records_max || bytes >= bytes_max) await send()
      }
      await send()
    }
  }
  return result
}

const keyOf = ({ id, account_id }: ContainerDay) => `${id} ${account_id}`
