/** Kills a process that writes to a store, again and again, and compares what is there with what it had acknowledged. */
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seeded } from '#services/common/random.ts'
import { Engine } from '#services/mdb/engine.ts'
import { LmdbStore } from '#services/mdb/lmdb-store.ts'
import { checkStore } from './check.ts'
import { now, recordOf, silent, ttl_s } from './crash-record.ts'
import { cpuSince, openTimes, Progress, print } from './stores.ts'

const life_max_ms = 1_000

interface Ledger {
  /** Numbers acknowledged, as ranges in the order of their beginnings. */
  ranges: [number, number][]
  /** No number from here on was sent. */
  next: number
}

/** One life of the writer, ended by SIGKILL. */
async function live(folder: string, ledger: Ledger, life_ms: number): Promise<void> {
  const file = join(import.meta.dirname, 'crash-child.ts')
  const child = fork(file, [folder, String(ledger.next)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const ended = new Promise<void>((done) => child.once('exit', () => done()))
  let failed = true
  let acknowledged = 0
  child.on('message', (message: { opened?: true; acknowledged?: [number, number] }) => {
    if (message.opened) failed = false
    if (!message.acknowledged) return
    ledger.ranges.push(message.acknowledged)
    // From the first answer on: on a busy machine a start takes long.
    if (acknowledged++ === 0) setTimeout(() => child.kill('SIGKILL'), life_ms)
  })
  await ended
  if (failed) throw new Error('the writer did not open the store')
}

export async function crash(kills: number, seed: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'mdb-crash-'))
  const progress = new Progress()
  const next = seeded(seed)
  const ledger: Ledger = { ranges: [], next: 0 }
  const sum = { lost: 0, doubled: 0, damaged: 0, open_ms: [] as number[], acknowledged: 0 }
  print(`seed ${seed}`)
  try {
    for (let kill = 1; kill <= kills; kill++) {
      const before = ledger.ranges.length
      await live(folder, ledger, next() * life_max_ms)
      for (const [begin, end] of ledger.ranges.slice(before)) sum.acknowledged += end - begin
      await verify(folder, ledger, sum)
      progress.say(`${kill} of ${kills} kills, ${sum.acknowledged} records acknowledged, ${sum.lost} lost`)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  progress.end()
  print(
    `${kills} kills: ${sum.acknowledged} records acknowledged, ${sum.lost} lost, ${sum.doubled} doubled, ` +
      `${sum.damaged} damages; ${openTimes(sum.open_ms)}`,
  )
  return sum.lost + sum.doubled + sum.damaged === 0 ? 0 : 1
}

async function verify(
  folder: string,
  ledger: Ledger,
  sum: { lost: number; doubled: number; damaged: number; open_ms: number[] },
): Promise<void> {
  const began = process.cpuUsage()
  const store = new LmdbStore(folder, { log: silent })
  sum.open_ms.push(cpuSince(began))
  await checkStore(store, (text) => {
    sum.damaged++
    print(`damaged: ${text}`)
  })
  const engine = await Engine.open(store, { log: silent, now: () => 0 })
  const found = new Set<number>()
  let top = ledger.next
  for (const { id } of engine.containers()) {
    for await (const batch of engine.read(id, { from: 0, to: 7e9 })) {
      for (const { n } of batch as unknown as { n: number }[]) {
        if (found.has(n)) {
          sum.doubled++
          print(`doubled: ${n}`)
        }
        found.add(n)
        top = Math.max(top, n + 1)
      }
    }
  }
  await engine.close()
  // The writer's clock was no later than that of the last it sent; what had expired by then may be gone.
  const clock = now(top)
  for (const [begin, end] of ledger.ranges) {
    for (let n = begin; n < end; n++) {
      if (found.has(n) || recordOf(n).timestamp < clock - ttl_s) continue
      sum.lost++
      print(`lost: ${n}`)
    }
  }
  // What has expired is forgotten; the next life goes on behind all that was ever sent.
  ledger.ranges = ledger.ranges.filter(([, end]) => now(end) >= clock - ttl_s)
  ledger.next = top
}
