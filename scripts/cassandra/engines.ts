/** Two processes of MDB's engine on the same containers, one of which is killed: nothing lost, nothing there twice. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pino } from 'pino'
import { Engine } from '#services/mdb/engine.ts'
import { batch_records, type Work } from './engine-process.ts'
import type { Bench } from './trials.ts'

const container_count = 3
const seconds = 12
/** The second process gets no time to end. */
const killed_after_ms = 9_000
const settle_ms = 3_000

interface Outcome {
  acknowledged: Map<number, Set<number>>
  reads: number
  failed: string | undefined
}

function runProcess(work: Work, kill_after_ms?: number): Promise<Outcome> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'engine-process.ts'), JSON.stringify(work)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const acknowledged = new Map(work.containers.map((id) => [id, new Set<number>()]))
  let [reads, errors] = [0, '']
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line === 'read') return void reads++
    const [container = 0, first = 0] = line.split(' ').map(Number)
    if (reads === 0 && kill_after_ms !== undefined && acknowledged.values().every(({ size }) => size === 0))
      setTimeout(() => child.kill('SIGKILL'), kill_after_ms)
    for (let i = 0; i < batch_records; i++) acknowledged.get(container)!.add(first + i)
  })
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk))
  return new Promise((done) => {
    child.on('close', (code, signal) =>
      done({ acknowledged, reads, failed: code === 0 || signal === 'SIGKILL' ? undefined : errors.trim() }),
    )
  })
}

export async function twoEngines(bench: Bench): Promise<string> {
  const store = await bench.store()
  const containers: number[] = []
  for (let n = 0; n < container_count; n++)
    containers.push((await store.create({ account_id: 3, name: `engines-${n}`, ttl: 0 })).id)
  const work = { settings: bench.settings, containers, seconds }
  const outcomes = await Promise.all([
    runProcess({ ...work, index: 0 }),
    runProcess({ ...work, index: 1 }, killed_after_ms),
  ])
  for (const { failed } of outcomes) if (failed !== undefined) throw new Error(failed)

  const engine = await Engine.open(store, { log: pino({ level: 'silent' }), rest_ms: 500 })
  const read = async () => {
    let [acknowledged, found] = [0, 0]
    for (const container of containers) {
      const numbers: number[] = []
      for await (const batch of engine.read(container, { from: 0, to: 7e9 }))
        numbers.push(...batch.map(({ number }) => number as number))
      const there = new Set(numbers)
      if (there.size !== numbers.length)
        throw new Error(`container ${container}: ${numbers.length - there.size} are there twice`)
      const wanted = new Set(outcomes.flatMap((outcome) => [...outcome.acknowledged.get(container)!]))
      const lost = [...wanted].filter((number) => !there.has(number))
      if (lost.length > 0) throw new Error(`container ${container}: ${lost.length} of ${wanted.size} are lost`)
      acknowledged += wanted.size
      found += there.size
    }
    return { acknowledged, found }
  }
  const before = await read()
  for (const container of containers) await engine.merger.settle(container, [20_000, 20_001])
  await new Promise((after) => setTimeout(after, settle_ms))
  const after = await read()
  if (after.found !== before.found)
    throw new Error(`${before.found} records before the last merge, ${after.found} after it`)
  const pages = await Promise.all(
    containers.flatMap((container) => [20_000, 20_001].map((day) => store.heads(container, day))),
  )
  const sent = outcomes.reduce(
    (sum, { acknowledged }) => sum + [...acknowledged.values()].reduce((n, { size }) => n + size, 0),
    0,
  )
  const reads = outcomes.reduce((sum, outcome) => sum + outcome.reads, 0)
  await engine.close()
  return `${sent} records acknowledged, ${sent - after.acknowledged} of them sent by both; ${reads} whole reads meanwhile; one process killed; 0 lost, 0 twice, in ${pages.flat().length} pages`
}
