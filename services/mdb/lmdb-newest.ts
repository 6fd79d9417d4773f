/** Newest values of containers' parameters, a row a container. */
import type { Database } from 'lmdb'
import { Bounded } from './bounded.ts'
import { fold } from './engine-pages.ts'
import { containerKey, openJson, sealJson } from './lmdb-layout.ts'
import type { Newest } from './store.ts'

/** Remembered for containers with so many parameters together. */
const kept = 200_000

type Row = [name: string, timestamp: number, value: unknown]

export class NewestValues {
  readonly #table: Database<Buffer, Buffer>
  readonly #known = new Bounded<number, Newest>(kept)

  constructor(table: Database<Buffer, Buffer>) {
    this.#table = table
  }

  /** The caller does not change it. */
  read(container: number): Newest {
    const known = this.#known.get(container)
    if (known) return known
    const key = containerKey(container)
    const value = this.#table.get(key)
    const rows = value ? openJson<Row[]>(`newest values of container ${container}`, key, value) : []
    const newest: Newest = new Map(rows.map(([name, timestamp, value]) => [name, { timestamp, value }]))
    this.#known.set(container, newest, newest.size + 1)
    return newest
  }

  /** Within a transaction. */
  fold(container: number, more: Newest): void {
    const newest = new Map(this.read(container))
    fold(newest, more)
    const key = containerKey(container)
    const rows: Row[] = [...newest].map(([name, { timestamp, value }]) => [name, timestamp, value])
    this.#table.put(key, sealJson(key, rows))
    this.#known.set(container, newest, newest.size + 1)
  }

  /** Within a transaction. */
  remove(container: number): void {
    this.#table.remove(containerKey(container))
  }

  forget(container: number): void {
    this.#known.delete(container)
  }

  clear(): void {
    this.#known.clear()
  }
}
