/** MDB's engine on Cassandra as a store to measure: three nodes on this machine, each page on all of them. */
import { join } from 'node:path'
import { fetchJars } from '#ansible/cassandra/jars.ts'
import { CassandraStore } from '#services/mdb/cassandra-store.ts'
import { patiently } from '#services/mdb/patiently.ts'
import { all_days } from '#services/mdb/store.ts'
import { Nodes, node_count } from '../cassandra/cluster.ts'
import { findJava } from '../cassandra/java.ts'
import { clientSettings, makeRoles } from '../cassandra/roles.ts'
import { folderBytes, memoryOf } from './mdb-candidate.ts'
import { EngineStore } from './mdb-ours.ts'

const numbers = Array.from({ length: node_count }, (_, i) => i + 1)

export class CassandraBenchStore extends EngineStore {
  readonly #folder: string
  #nodes!: Nodes

  constructor(folder: string, devices: number) {
    super(folder, devices, false, async (log) => {
      const { contact_points, ...settings } = clientSettings(folder)
      const store = new CassandraStore({ ...settings, contact_points: [...contact_points] }, log)
      await patiently(() => store.ready())
      return store
    })
    this.#folder = folder
  }

  override async open(): Promise<void> {
    const libraries = await fetchJars(() => {})
    this.#nodes = new Nodes(this.#folder, findJava(), libraries)
    for (const n of numbers) this.#nodes.start(n, 'long')
    await Promise.all(numbers.map((n) => this.#nodes.serving(n)))
    await makeRoles(this.#folder, this.#nodes.addresses)
    await super.open()
  }

  /** All of MDB's pages merged, then what is left of the old ones thrown away by Cassandra's own compaction. */
  override async settle(): Promise<void> {
    for (const { id } of this.engine.containers())
      await this.engine.merger.settle(id, await this.engine.store.days(id, ...all_days))
    for (const n of numbers) {
      this.#nodes.nodetool(n, ['flush', 'mdb'])
      this.#nodes.nodetool(n, ['compact', 'mdb'])
    }
  }

  override bytes(): number {
    return numbers.reduce((sum, n) => sum + folderBytes(join(this.#folder, `node${n}`, 'data/data/mdb')), 0)
  }

  override memory(): number {
    const nodes = numbers.reduce((sum, n) => sum + this.#nodes.memory(n) * 2 ** 20, 0)
    return nodes + memoryOf(process.pid)
  }

  override async close(): Promise<void> {
    await super.close()
    await this.#nodes.stop()
  }
}
