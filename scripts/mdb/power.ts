/**
 * Power cuts, simulated: a process's writes and syncs are recorded; then the file is put together as a cut at any of them could
 * have left it. What was synced is there; of the rest each block is there or not, by chance.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seeded } from '#services/common/random.ts'
import { Engine } from '#services/mdb/engine.ts'
import { LmdbStore } from '#services/mdb/lmdb-store.ts'
import { checkStore } from './check.ts'
import { silent } from './crash-record.ts'
import { cpuSince, openTimes, Progress, print } from './stores.ts'

/** Batches of one recorded run, which gives some thousand operations. */
const batches = 400
const block_bytes = 512

interface Operation {
  kind: string
  offset: number
  bytes: Buffer
}

function record(folder: string): Operation[] {
  const library = join(folder, 'cut.so')
  const source = join(import.meta.dirname, 'cut.c')
  const compiled = spawnSync('gcc', ['-O1', '-shared', '-fPIC', '-o', library, source, '-ldl', '-lpthread'], {
    encoding: 'utf8',
  })
  if (compiled.error) throw new Error('power needs gcc: apt-get install gcc')
  if (compiled.status !== 0) throw new Error(compiled.stderr)
  const trace = join(folder, 'trace')
  const store = join(folder, 'recorded')
  mkdirSync(store)
  execFileSync(process.execPath, [join(import.meta.dirname, 'power-child.ts'), store, String(batches)], {
    env: { ...process.env, LD_PRELOAD: library, CUT_TRACE: trace },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const bytes = readFileSync(trace)
  const operations: Operation[] = []
  for (let at = 0; at < bytes.length; ) {
    const size = bytes.readUInt32LE(at + 9)
    const offset = Number(bytes.readBigUInt64LE(at + 1))
    operations.push({ kind: String.fromCharCode(bytes[at]!), offset, bytes: bytes.subarray(at + 13, at + 13 + size) })
    at += 13 + size
  }
  return operations
}

/** The file as far as it is certain, and what is written and not synced. */
class Disk {
  certain: Buffer = Buffer.alloc(0)
  pending: Operation[] = []

  static put(image: Buffer, { offset, bytes }: Operation): Buffer {
    const end = offset + bytes.length
    const grown = end > image.length ? Buffer.concat([image, Buffer.alloc(end - image.length)]) : image
    bytes.copy(grown, offset)
    return grown
  }

  take(operation: Operation): void {
    const { kind } = operation
    if (kind === 'w') this.pending.push(operation)
    else if (kind === 'd') this.certain = Disk.put(this.certain, operation)
    else if (kind === 's') {
      for (const one of this.pending) this.certain = Disk.put(this.certain, one)
      this.pending = []
    }
  }

  /** What a cut could leave. `under_way`: an operation that had begun. */
  cut(next: () => number, under_way: Operation | undefined): Buffer {
    let image: Buffer = Buffer.from(this.certain)
    const share = [0, 1, next(), 0.5][Math.floor(next() * 4)]!
    // The inner structure is one sector, which is written or not.
    if (under_way?.kind === 'd' && next() < 0.5) image = Disk.put(image, under_way)
    const open = under_way?.kind === 'w' ? [...this.pending, under_way] : this.pending
    for (const { kind, offset, bytes } of open)
      for (let at = 0; at < bytes.length; at += block_bytes)
        if (next() < share)
          image = Disk.put(image, { kind, offset: offset + at, bytes: bytes.subarray(at, at + block_bytes) })
    return image
  }
}

const sum = { lost: 0, doubled: 0, half: 0, damaged: 0, open_ms: [] as number[] }

export async function powerCuts(cuts: number, seed: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'mdb-power-'))
  const progress = new Progress()
  const next = seeded(seed)
  print(`seed ${seed}`)
  let done = 0
  try {
    const operations = record(folder)
    // The file is put in its place once it is whole.
    const opened = operations.findIndex(({ kind, bytes }) => kind === 'a' && bytes.toString().startsWith('opened'))
    const places = operations.filter(({ kind }) => kind !== 'a').length
    const syncs = operations.filter(({ kind }) => kind === 's').length
    print(`${places} writes and syncs recorded, ${syncs} of them syncs`)
    while (done < cuts) {
      const disk = new Disk()
      const begun: [number, number][] = []
      const stored: [number, number][] = []
      // All places, or as many of them as there are cuts left, spread over the run.
      const chance = Math.min(1, (cuts - done) / places)
      for (const [i, operation] of operations.entries()) {
        if (operation.kind === 'a') {
          const [word, begin, end] = operation.bytes.toString().trim().split(' ')
          ;(word === 'begun' ? begun : stored).push([Number(begin), Number(end)])
          continue
        }
        if (i > opened && done < cuts && next() < chance) {
          done++
          await verify(join(folder, 'cut'), disk.cut(next, operation), begun, stored, `cut ${done}`)
          progress.say(`${done} of ${cuts} cuts, ${sum.lost} records lost`)
        }
        disk.take(operation)
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  progress.end()
  print(
    `${done} cuts: ${sum.lost} acknowledged records lost, ${sum.doubled} doubled, ${sum.half} batches half there, ` +
      `${sum.damaged} damages; ${openTimes(sum.open_ms)}`,
  )
  return sum.lost + sum.doubled + sum.half + sum.damaged === 0 ? 0 : 1
}

async function verify(
  folder: string,
  image: Buffer,
  begun: readonly [number, number][],
  stored: readonly [number, number][],
  name: string,
): Promise<void> {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  writeFileSync(join(folder, 'data.mdb'), image)
  const tell = (text: string) => {
    sum.damaged++
    print(`${name}: ${text}`)
  }
  const found = new Map<number, number>()
  try {
    const began = process.cpuUsage()
    const store = new LmdbStore(folder, { log: silent, sync: false })
    sum.open_ms.push(cpuSince(began))
    await checkStore(store, tell)
    const engine = await Engine.open(store, { log: silent })
    for (const { id } of engine.containers())
      for await (const batch of engine.read(id, { from: 0, to: 7e9 }))
        for (const { n } of batch as unknown as { n: number }[]) found.set(n, (found.get(n) ?? 0) + 1)
    await engine.close()
  } catch (error) {
    tell((error as Error).message)
  }
  for (const [n, times] of found) {
    if (times === 1) continue
    sum.doubled++
    print(`${name}: record ${n} is there ${times} times`)
  }
  const there = ([begin, end]: readonly [number, number]) => {
    let count = 0
    for (let n = begin; n < end; n++) if (found.has(n)) count++
    return count
  }
  for (const range of stored) {
    const missing = range[1] - range[0] - there(range)
    if (missing === 0) continue
    sum.lost += missing
    print(`${name}: ${missing} records of ${range[0]} to ${range[1]} are lost`)
  }
  for (const range of begun) {
    const count = there(range)
    if (count === 0 || count === range[1] - range[0]) continue
    sum.half++
    print(`${name}: the batch ${range[0]} to ${range[1]} is half there`)
  }
}
