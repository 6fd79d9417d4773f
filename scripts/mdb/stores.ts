/** Stores by their names on the command line. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { ownerOf } from '#services/mdb/lmdb-owner.ts'
import { LmdbStore } from '#services/mdb/lmdb-store.ts'
import type { Store } from '#services/mdb/store.ts'

export const quiet = pino({ level: 'error' }, pino.destination(2))

export type Access = 'look' | 'look while nobody writes' | 'write'

/** Opens a store; a folder without one is made when it is to be written to. */
export async function openStore(name: string, access: Access): Promise<Store> {
  if (name.startsWith('cassandra:')) {
    const { CassandraStore } = await import('#services/mdb/cassandra-store.ts')
    const store = new CassandraStore(JSON.parse(readFileSync(name.slice('cassandra:'.length), 'utf8')), quiet)
    await store.ready()
    return store
  }
  const there = existsSync(join(name, 'data.mdb'))
  if (!there && access !== 'write') throw new Error(`${name}: there is no store here (no data.mdb)`)
  const owner = ownerOf(name)
  if (owner !== undefined && access !== 'look')
    throw new Error(`${name} is open in process ${owner}: stop MDB first, then this is safe`)
  const store = new LmdbStore(name, { log: quiet, readOnly: access !== 'write' })
  if (store.firstLayout) {
    await store.close()
    throw new Error(`${name} has the first layout, a key per record: start MDB on it once, which moves it`)
  }
  return store
}

/** A line that is written over and over on a terminal, and now and then elsewhere. */
export class Progress {
  #said = 0

  say(text: string): void {
    const every_ms = process.stderr.isTTY ? 200 : 10_000
    if (Date.now() - this.#said < every_ms) return
    this.#said = Date.now()
    process.stderr.write(process.stderr.isTTY ? `\r${text}\u001b[K` : `${text}\n`)
  }

  end(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
  }
}

export const print = (text: string): void => void process.stdout.write(`${text}\n`)

/** ms of the processor since `began`: a machine that is busy with other things does not stretch it. */
export function cpuSince(began: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(began)
  return (user + system) / 1000
}

/** How long a store took to open. */
export function openTimes(ms: number[]): string {
  const sorted = [...ms].sort((a, b) => a - b)
  const [median = 0, worst = 0] = [sorted[sorted.length >> 1], sorted.at(-1)]
  return `opened in ${Math.round(median)} ms of the processor (median), ${Math.round(worst)} ms (worst)`
}
