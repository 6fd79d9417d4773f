/** What storing costs by the records of a packet: MDB's engine alone, in this process, with the merges that it causes. */
import { rmSync } from 'node:fs'
import { temporaryFolder } from '#services/common/testing.ts'
import type { BenchTable } from './main.ts'
import { type FleetMessage, fleetBatches } from './mdb-data.ts'
import { EngineStore } from './mdb-ours.ts'
import type { Line } from './mdb-worker.ts'

const packets = [1, 4, 20, 100]
/** So many of each that every day is merged again and again. */
const devices = 40
const messages_max = 400_000
const batch = 20_000

/** The same messages, `size` of one device after another. */
function interleaved(histories: FleetMessage[][], size: number): Line[] {
  const lines: Line[] = []
  const longest = Math.max(...histories.map(({ length }) => length))
  for (let at = 0; at < longest; at += size)
    for (const [device, history] of histories.entries())
      for (const message of history.slice(at, at + size)) lines.push({ device, message, text: '' })
  return lines
}

export async function appends({ messages, seed }: { messages: number; seed: number }): Promise<BenchTable> {
  const histories: FleetMessage[][] = Array.from({ length: devices }, () => [])
  const count = Math.min(messages, messages_max)
  for await (const some of fleetBatches({ devices, messages: count, seed }, batch))
    for (const { device, records } of some) histories[device]!.push(...records)
  const rows: (string | number)[][] = []
  for (const size of packets) {
    const home = temporaryFolder()
    const store = new EngineStore(home.path, devices, false)
    try {
      await store.open()
      const lines = interleaved(histories, size)
      const began = performance.now()
      const before = process.cpuUsage()
      await store.load(lines)
      const passed = (performance.now() - began) / 1_000
      const { user, system } = process.cpuUsage(before)
      const cpu = (user + system) / 1e6 - store.client_s
      rows.push([size, Math.round(lines.length / passed), Math.round(lines.length / cpu), store.engine.merger.merges])
      await store.close()
    } finally {
      rmSync(home.path, { recursive: true, force: true })
    }
  }
  return {
    title: 'Storing, by the records of a packet',
    head: ['records a packet', 'stored durably/s', 'stored/s of processor', 'merges meanwhile'],
    rows,
    notes: [
      `The engine alone, ${count.toLocaleString('en-US')} messages of ${devices} devices, commits of 2,000 messages; the processor's time is the engine's with its merges, without the making of blocks, which is tg's work.`,
      'Devices that were out of reach send packets of many records; copies and imports do, too.',
    ],
  }
}
