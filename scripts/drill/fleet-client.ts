import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { namespaceOf, outside } from '../lab/paths.ts'
import { pause } from '../lab/shell.ts'
import type { Answer, FleetOptions, FleetReport, Question } from './fleet.ts'
import type { Comparison } from './measure.ts'

/** After a drill the last packets may wait for a gateway, a database, a whole rack. */
const drain_time_max_ms = 120_000

/** The devices of a drill, seen from the drill. */
export class Fleet {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #id = 0

  constructor() {
    const script = join(import.meta.dirname, 'fleet.ts')
    const args = ['netns', 'exec', namespaceOf(outside), process.execPath, script]
    this.#child = spawn('ip', args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child.on('message', ({ id, answer }: { id: number; answer: Answer }) => {
      this.#waiting.get(id)?.(answer)
      this.#waiting.delete(id)
    })
    this.#child.on('close', () => {
      for (const answer of this.#waiting.values()) answer({ error: 'the devices are gone' })
      this.#waiting.clear()
    })
  }

  #ask(question: Question): Promise<unknown> {
    const id = ++this.#id
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, (answer) => {
        // An answer without a value has no `ok` left once it was sent.
        if ('error' in answer) reject(new Error(answer.error))
        else resolve(answer.ok)
      })
      this.#child.send({ id, question }, (error) => {
        if (error) reject(error)
      })
    })
  }

  async start(options: FleetOptions): Promise<void> {
    await this.#ask({ ask: 'start', options })
  }

  report = () => this.#ask({ ask: 'report' }) as Promise<FleetReport>
  pending = () => this.#ask({ ask: 'pending' }) as Promise<number>
  forget = () => this.#ask({ ask: 'forget' }) as Promise<void>

  /** Waits until each record is acknowledged, then compares with what is stored; repeats the reading while a service is away. */
  async settle(): Promise<Comparison> {
    await this.#ask({ ask: 'hush' })
    const end = Date.now() + drain_time_max_ms
    for (;;) {
      const left = await this.pending()
      if (left === 0) break
      if (Date.now() > end)
        throw new Error(`${left} records are still not acknowledged after ${drain_time_max_ms / 1000} s`)
      await pause(50)
    }
    for (;;) {
      try {
        return (await this.#ask({ ask: 'compare' })) as Comparison
      } catch (error) {
        if (Date.now() > end) throw error
        await pause(500)
      }
    }
  }

  stop(): void {
    if (this.#child.connected) this.#child.disconnect()
    this.#child.kill('SIGKILL')
  }
}
