/** The process of one store: `node mdb-worker.ts NAME FOLDER SCHEMA DEVICES`. Orders come on stdin, answers go to stdout. */
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { type Answer, cpuOfChildren, type Order } from './mdb-candidate.ts'
import type { FleetMessage } from './mdb-data.ts'

/** A message as it is loaded: as an object and as JSON. */
export interface Line {
  device: number
  message: FleetMessage
  text: string
}

export interface Store {
  /** s of the processor that making what is stored took so far: a client's work, where it is done in this process. */
  client_s?: number
  open(): Promise<void>
  /** Resolves when all is durable. */
  load(lines: Line[]): Promise<void>
  settle(): Promise<void>
  /** Messages that were read. */
  read(devices: number[], fields?: string[]): Promise<number>
  bytes(): number | Promise<number>
  memory(): number | Promise<number>
  close(): Promise<void>
}

async function storeOf(name: string, folder: string, schema: [string, string][], devices: number): Promise<Store> {
  if (name.startsWith('engine') || name.startsWith('rest')) {
    const { EngineStore, RestStore } = await import('./mdb-ours.ts')
    if (name.startsWith('engine')) return new EngineStore(folder, devices, name === 'engine-objects')
    return new RestStore(folder, devices, name === 'rest-ndjson')
  }
  if (name === 'cassandra') return new (await import('./mdb-cassandra.ts')).CassandraBenchStore(folder, devices)
  const { PostgresColumns, PostgresJsonb, Sqlite } = await import('./mdb-peers.ts')
  if (name === 'postgres-jsonb') return new PostgresJsonb(folder)
  if (name === 'postgres-columns') return new PostgresColumns(folder, schema)
  if (name === 'sqlite') return new Sqlite(folder)
  throw new Error(`there is no store "${name}"`)
}

function linesOf(file: string): Line[] {
  return readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => {
      const { device, ...message } = JSON.parse(line) as FleetMessage & { device: number }
      return { device, message, text: JSON.stringify(message) }
    })
}

async function obey(store: Store, order: Order): Promise<Answer> {
  let messages = 0
  let [bytes, memory] = [0, 0]
  const lines = order.do === 'load' ? linesOf(order.file) : []
  const began = performance.now()
  const client_before = store.client_s ?? 0
  const [own, children] = [process.cpuUsage(), cpuOfChildren(process.pid)]
  if (order.do === 'load') {
    await store.load(lines)
    messages = lines.length
  } else if (order.do === 'settle') await store.settle()
  else if (order.do === 'read') messages = await store.read(order.devices, order.fields)
  else [bytes, memory] = [await store.bytes(), await store.memory()]
  const seconds = (performance.now() - began) / 1000
  const { user, system } = process.cpuUsage(own)
  const cpu = (user + system) / 1e6 + cpuOfChildren(process.pid) - children
  const client = store.client_s === undefined ? {} : { client: store.client_s - client_before }
  return { seconds, cpu, ...client, messages, bytes, memory }
}

if (import.meta.main) {
  // The end of its input tells it to stop, with its store closed.
  process.on('SIGINT', () => {})
  const [name = '', folder = '', schema = '[]', devices = '0'] = process.argv.slice(2)
  const store = await storeOf(name, folder, JSON.parse(schema), Number(devices))
  await store.open()
  for await (const line of createInterface({ input: process.stdin })) {
    let answer: Answer
    try {
      answer = await obey(store, JSON.parse(line) as Order)
    } catch (error) {
      answer = { seconds: 0, cpu: 0, messages: 0, bytes: 0, memory: 0, error: (error as Error).stack ?? String(error) }
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`)
  }
  await store.close()
  process.exit(0)
}
