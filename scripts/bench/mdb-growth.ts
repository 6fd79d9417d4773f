/** How MDB's reads change while its store grows: the engine alone, in this process. */
import { rmSync } from 'node:fs'
import { seeded } from '#services/common/random.ts'
import { temporaryFolder } from '#services/common/testing.ts'
import type { Bench } from './main.ts'
import { fleetBatches } from './mdb-data.ts'
import { EngineStore } from './mdb-ours.ts'
import type { Line } from './mdb-worker.ts'

const messages_default = 10_000_000
const devices_default = 10_000
const seed = 1
/** Messages stored between two looks at the clock. */
const batch = 20_000
/** A store is read at these shares of its final size. */
const shares = [0.01, 0.1, 1]
/** So many are stored one by one. A larger store has their pages again and again, for other devices. */
const stored_max = 10_000_000
const read_max = 500_000
const rounds = 100
const random_devices = 10
const newest = 100

export const bench: Bench = async ({ say, messages = messages_default, devices = devices_default }) => {
  const home = temporaryFolder()
  const store = new EngineStore(home.path, devices, false)
  const rows: (string | number)[][] = []
  const wanted = shares.map((share) => Math.floor(messages * share)).filter((count) => count > 0)
  let stored = 0
  let cpu = 0
  let since = 0
  const row = async (rate: number | string, count: number, among: number) => {
    say(`mdb: ${count.toLocaleString('en-US')} messages: reads`)
    const [read, p50, p99, bytes] = await reads(store, among)
    rows.push([count, among, rate, read, p50, p99, (bytes / count).toFixed(1)])
  }
  try {
    await store.open()
    const one_by_one = Math.min(messages, stored_max)
    for await (const packets of fleetBatches({ devices, messages: one_by_one, seed }, batch)) {
      const lines: Line[] = packets.flatMap(({ device, records }) =>
        records.map((message) => ({ device, message, text: '' })),
      )
      const before = process.cpuUsage()
      await store.load(lines)
      const { user, system } = process.cpuUsage(before)
      cpu += (user + system) / 1e6
      since += lines.length
      stored += lines.length
      if (wanted[0] === undefined || stored < wanted[0]) continue
      while (wanted[0] !== undefined && stored >= wanted[0]) wanted.shift()
      await row(Math.round(since / cpu), stored, devices)
      cpu = since = 0
    }
    for (const count of wanted) {
      const times = Math.round(count / stored)
      say(`mdb: the same again for ${((times - 1) * devices).toLocaleString('en-US')} other devices`)
      await store.multiply(times * devices)
      await row('–', times * stored, times * devices)
    }
    await store.close()
  } finally {
    rmSync(home.path, { recursive: true, force: true })
  }
  const table = {
    title: 'Reading as the store grows',
    head: [
      'messages',
      'devices',
      'stored/s of processor',
      'read/s of processor',
      `newest ${newest} of ${random_devices} devices: p50 ms`,
      'p99 ms',
      'bytes a message',
    ],
    rows,
    notes: [
      `The engine alone; stored: since the line before, with the making of blocks. Read: whole histories of random devices, as decoded columns, ${read_max.toLocaleString('en-US')} messages or more.`,
      `Newest: for ${random_devices} random devices one after another the last ${newest} messages as JavaScript objects; time that passed, ${rounds} rounds.`,
      'Each line is taken after its store was compacted and opened again.',
      ...(messages > stored_max
        ? [
            'Beyond 10,000,000 messages the store has their pages again and again, each time for other devices: a device’s history is no longer, the store is.',
          ]
        : []),
    ],
  }
  return [table]
}

async function reads(
  store: EngineStore,
  devices: number,
): Promise<[read: number, p50: number, p99: number, bytes: number]> {
  await store.settle()
  const random = seeded(11)
  const some = () => Array.from({ length: random_devices }, () => Math.floor(random() * devices))
  await store.read(some())
  const before = process.cpuUsage()
  let messages = 0
  // Of few devices with few messages all are read more than once.
  while (messages < read_max) messages += await store.read(some())
  const { user, system } = process.cpuUsage(before)
  const times: number[] = []
  for (let round = 0; round < rounds; round++) {
    const began = performance.now()
    await store.newest(some(), newest)
    times.push(performance.now() - began)
  }
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.floor(times.length * share)] ?? 0
  return [Math.round(messages / ((user + system) / 1e6)), at(0.5), at(0.99), store.bytes()]
}
