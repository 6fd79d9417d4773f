/** Bits flipped, and ends cut off, in a store's file: each is found, or changes no answer. */
import { fork } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Engine } from '#services/mdb/engine.ts'
import { LmdbStore } from '#services/mdb/lmdb-store.ts'
import { toAppend } from '#services/mdb/record.ts'
import { all_days } from '#services/mdb/store.ts'
import { containers, recordOf, silent } from './crash-record.ts'
import { Progress, print } from './stores.ts'

const records = 12_000
/** A reader that takes longer was led astray. */
const read_time_max_ms = 120_000

export type Outcome = 'found' | 'harmless' | 'wrong'

/** A store with merged, bundled and fresh pages in several containers. */
async function make(folder: string): Promise<void> {
  const engine = await Engine.open(new LmdbStore(folder, { log: silent, sync: false }), { log: silent })
  const ids: number[] = []
  for (let i = 0; i < containers; i++) ids.push((await engine.create({ account_id: 0, name: `c${i}`, ttl: 0 })).id)
  for (let at = 0; at < records; at += 600) {
    const groups = new Map<number, Record<string, unknown>[]>()
    for (let n = at; n < at + 600; n++)
      groups.set(ids[n % containers]!, [...(groups.get(ids[n % containers]!) ?? []), recordOf(n)])
    await engine.append([...groups].map(([id, some]) => toAppend(id, some, 'x')!))
    const rest = at % 3_000 === 0
    if (rest || at % 3_000 === 1_800)
      for (const id of ids) await engine.merger.settle(id, await engine.store.days(id, ...all_days), rest)
  }
  await engine.close()
}

export async function flips(count: number, seed: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'mdb-flips-'))
  const progress = new Progress()
  const outcomes: Record<string, number> = { found: 0, harmless: 0, wrong: 0, ended: 0 }
  print(`seed ${seed}`)
  try {
    mkdirSync(join(folder, 'store'))
    await make(join(folder, 'store'))
    const size = readFileSync(join(folder, 'store/data.mdb')).length
    let done = 0
    while (done < count) {
      await new Promise<void>((resolve) => {
        const file = join(import.meta.dirname, 'flips-child.ts')
        // What LMDB says as it ends is expected.
        const child = fork(file, [folder, String(seed), String(done), String(count)], {
          stdio: ['ignore', 'inherit', 'ignore', 'ipc'],
        })
        let late: NodeJS.Timeout | undefined
        const arm = () => {
          clearTimeout(late)
          late = setTimeout(() => child.kill('SIGKILL'), read_time_max_ms)
        }
        arm()
        child.on('message', ({ outcome, text }: { outcome: Outcome; text?: string }) => {
          arm()
          done++
          outcomes[outcome]!++
          if (text) print(text)
          progress.say(`${done} of ${count} flips: ${JSON.stringify(outcomes)}`)
        })
        child.once('exit', (code) => {
          clearTimeout(late)
          // LMDB ended the process over it: `check` names that, too.
          if (code !== 0 && done < count) {
            done++
            outcomes.ended!++
          }
          resolve()
        })
      })
    }
    progress.end()
    const { found, harmless, ended, wrong } = outcomes
    print(
      `${count} flips and cuts in a file of ${size} bytes: ${found} found and named, ${ended} ended the reading process, ` +
        `${harmless} changed no answer, ${wrong} gave a wrong answer`,
    )
    return wrong === 0 ? 0 : 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
