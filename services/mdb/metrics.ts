/** What MDB tells Prometheus. */
import { Counter, Gauge, type Registry } from 'prom-client'
import type { Engine } from './engine.ts'
import { LmdbStore } from './lmdb-store.ts'

export function addMetrics(registry: Registry, engine: () => Engine | undefined): void {
  const registers = [registry]
  const counter = (name: string, help: string, read: (engine: Engine) => number | undefined) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset()
        const opened = engine()
        const value = opened && read(opened)
        if (value !== undefined) this.inc(value)
      },
    })
  const gauge = (
    name: string,
    help: string,
    read: (engine: Engine) => number | undefined | Promise<number | undefined>,
  ) =>
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        const opened = engine()
        const value = opened && (await read(opened))
        if (value !== undefined) this.set(value)
      },
    })
  const lmdb = ({ store }: Engine) => (store instanceof LmdbStore ? store : undefined)

  counter('mdb_commits', 'durable commits', (e) => lmdb(e)?.commits.count)
  counter('mdb_commit_seconds', 'time that commits took', (e) => (lmdb(e)?.commits.ms ?? 0) / 1000)
  counter('mdb_append_groups', 'groups of appends that shared a commit', (e) => e.groups)
  counter('mdb_records_stored', 'records stored since the start', (e) => e.stored)
  counter('mdb_records_duplicate', 'records that were there already', (e) => e.duplicates)
  counter('mdb_appends_refused', 'appends told to come back: too much waited', (e) => e.refused)
  counter('mdb_merges', 'merges of pages, into bundles too', (e) => e.merger.merges)
  counter('mdb_merge_records', 'records that merges wrote', (e) => e.merger.records)
  counter('mdb_merge_seconds', 'time that merges computed', (e) => e.merger.ms / 1000)
  counter('mdb_damages', 'damaged pages met', (e) => e.damages)
  gauge('mdb_records', 'records held', (e) => e.containers().reduce((sum, c) => sum + c.records, 0))
  gauge('mdb_bytes', 'bytes of JSON of the records held', (e) => e.containers().reduce((sum, c) => sum + c.bytes, 0))
  gauge('mdb_containers', 'containers', (e) => e.containers().length)
  gauge('mdb_waiting_bytes', 'bytes of appends that wait for the disk', (e) => e.waitingBytes)
  gauge('mdb_pressure', 'share of the room for fresh pages that is taken', (e) => e.store.pressure)
  gauge('mdb_disk_bytes', 'bytes of the store on disk', (e) => e.store.diskBytes())
}
