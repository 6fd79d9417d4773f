/**
 * A process of MDB's engine for the self-test: appends to the same containers as others do, reads meanwhile, merges in
 * the background, and says on standard output what was acknowledged. usage: node engine-process.ts JSON
 */
import { readFileSync } from 'node:fs'
import { pino } from 'pino'
import { ApiError } from '#services/common/errors.ts'
import { CassandraStore } from '#services/mdb/cassandra-store.ts'
import { Engine } from '#services/mdb/engine.ts'
import { patiently } from '#services/mdb/patiently.ts'
import { toAppend } from '#services/mdb/record.ts'

export interface Work {
  /** File of settings. */
  settings: string
  containers: number[]
  /** Which of `processes` this is: it sends records of its own, and each shared one as the others do. */
  index: number
  seconds: number
}

export const first_second = 20_000 * 86_400
export const batch_records = 10
/** Every so many batches is sent by all processes. */
export const shared_every = 3
/** Numbers of records: those that all send, and from here on those of each process. */
export const own_from = 10_000_000

/** The n-th batch of a process: numbers, which are the records' contents and tell their times. */
export function batchOf(index: number, n: number): number[] {
  const base = n % shared_every === 0 ? n * batch_records : own_from * (index + 1) + n * batch_records
  return Array.from({ length: batch_records }, (_, i) => base + i)
}

/** Within two days, out of order. */
export const timestampOf = (number: number): number => first_second + ((number * 7_919) % 172_000)

async function main({ settings, containers, index, seconds }: Work): Promise<void> {
  const log = pino({ level: 'silent' })
  const store = new CassandraStore(JSON.parse(readFileSync(settings, 'utf8')), log)
  await patiently(() => store.ready())
  const engine = await Engine.open(store, { log, rest_ms: 1_000 })
  const end = performance.now() + seconds * 1_000
  const acknowledged = new Map(containers.map((id) => [id, new Set<number>()]))
  const append = async () => {
    for (let n = 0; performance.now() < end; n++) {
      const container = containers[n % containers.length]!
      const numbers = batchOf(index, n)
      const records = numbers.map((number) => ({ timestamp: timestampOf(number), number }))
      try {
        await engine.append([toAppend(container, records, '')!])
        for (const number of numbers) acknowledged.get(container)!.add(number)
        process.stdout.write(`${container} ${numbers[0]}\n`)
      } catch (error) {
        if (!(error instanceof ApiError) || error.kind !== 'unavailable') throw error
      }
    }
  }
  const read = async () => {
    for (let n = 0; performance.now() < end; n++) {
      const container = containers[n % containers.length]!
      const wanted = [...acknowledged.get(container)!]
      const found: number[] = []
      try {
        for await (const batch of engine.read(container, { from: 0, to: 7e9 }))
          for (const { number } of batch) found.push(number as number)
      } catch (error) {
        if (!(error instanceof ApiError) || error.kind !== 'unavailable') throw error
        continue
      }
      const there = new Set(found)
      if (there.size !== found.length)
        throw new Error(`container ${container}: ${found.length - there.size} read twice`)
      const lost = wanted.filter((number) => !there.has(number))
      if (lost.length > 0) throw new Error(`container ${container}: ${lost.length} acknowledged are not read`)
      process.stdout.write('read\n')
    }
  }
  await Promise.all([append(), read()])
  await engine.close()
}

if (import.meta.main) {
  try {
    await main(JSON.parse(process.argv[2] ?? ''))
    process.exit(0)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    process.exit(1)
  }
}
