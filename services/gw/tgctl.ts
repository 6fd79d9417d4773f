/** tgctl: a master that keeps worker processes alive; the workers carry the REST of channels and devices. */
import cluster, { type Worker } from 'node:cluster'
import { join } from 'node:path'
import { start } from '#services/common/process.ts'
import { debuggerOf, stackOf } from './stack.ts'

const workers_default = 4
/** A worker reports each second; one that is silent for so long hangs. */
const silence_max_ms = 5_000
/** A new worker loads and compiles first. */
const start_time_max_ms = 20_000
const check_every_ms = 1_000
/** A hanging worker has so long to tell where it hangs. */
const debugger_time_max_ms = 1_000
const stack_time_max_ms = 1_500
const back_off_first_ms = 100
const back_off_max_ms = 10_000
/** A worker that lived so long before it died starts again without delay. */
const healthy_after_ms = 10_000
const stop_time_max_ms = 4_000

interface Slot {
  number: number
  worker: Worker | undefined
  /** ms; when it started and when it was heard last. */
  started: number
  heard: number | undefined
  back_off_ms: number
  restarts: number
  killing: boolean
  /** Address of its debugger, once that was asked for. */
  debugger: string | undefined
}

start(import.meta, async ({ config, log, onStop }) => {
  // A site with slow processors says how many times as long everything takes.
  const patience = Number(config.options.patience ?? 1)
  cluster.setupPrimary({
    exec: join(import.meta.dirname, 'tgctl-worker.ts'),
    args: process.argv.slice(2),
    // A worker's debugger starts on SIGUSR1 alone, on any free port of the loopback.
    inspectPort: 0,
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  })
  let stopping = false
  const slots: Slot[] = []

  function fork(slot: Slot): void {
    if (stopping) return
    const worker = cluster.fork({ MILEPOST_WORKER: String(slot.number) })
    Object.assign(slot, { worker, started: Date.now(), heard: undefined, killing: false, debugger: undefined })
    worker.process.stderr?.on('data', (chunk: Buffer) => {
      slot.debugger = debuggerOf(chunk.toString()) ?? slot.debugger
      process.stderr.write(chunk)
    })
    worker.on('message', () => {
      slot.heard = Date.now()
    })
    worker.on('error', (error) => log.warn({ worker: slot.number, reason: error.message }, 'a worker'))
    worker.on('exit', (code, signal) => {
      if (stopping) return
      const lived_ms = Date.now() - slot.started
      slot.back_off_ms =
        lived_ms > healthy_after_ms * patience
          ? 0
          : Math.min(Math.max(slot.back_off_ms * 2, back_off_first_ms), back_off_max_ms)
      slot.restarts++
      log.error({ worker: slot.number, code, signal, again_in_ms: slot.back_off_ms }, 'a worker ended')
      setTimeout(() => fork(slot), slot.back_off_ms)
    })
  }

  /** The stack of a worker that hangs, or why there is none. */
  async function where(slot: Slot, worker: Worker): Promise<string[]> {
    if (slot.debugger === undefined) worker.process.kill('SIGUSR1')
    for (const end = Date.now() + debugger_time_max_ms; slot.debugger === undefined && Date.now() < end; )
      await new Promise((resolve) => setTimeout(resolve, 20))
    try {
      return await stackOf(slot.debugger ?? '', stack_time_max_ms)
    } catch (error) {
      return [`no stack: ${(error as Error).message}`]
    }
  }

  /** Where a hanging worker hangs, then its end. */
  async function kill(slot: Slot, worker: Worker): Promise<void> {
    slot.killing = true
    const { pid } = worker.process
    log.error({ worker: slot.number, pid, stack: await where(slot, worker) }, 'a worker does not answer: it is killed')
    worker.process.kill('SIGKILL')
  }

  for (let number = 1; number <= Number(config.options.workers ?? workers_default); number++) {
    const slot: Slot = {
      number,
      worker: undefined,
      started: 0,
      heard: undefined,
      back_off_ms: 0,
      restarts: 0,
      killing: false,
      debugger: undefined,
    }
    slots.push(slot)
    fork(slot)
  }
  const checks = setInterval(() => {
    const now = Date.now()
    for (const slot of slots) {
      const { worker, heard, started, killing } = slot
      if (!worker || worker.isDead() || killing) continue
      const silence_ms = now - (heard ?? started)
      if (silence_ms > patience * (heard === undefined ? start_time_max_ms : silence_max_ms)) void kill(slot, worker)
    }
  }, check_every_ms)

  onStop(async () => {
    stopping = true
    clearInterval(checks)
    const late = setTimeout(() => {
      for (const { worker } of slots) worker?.process.kill('SIGKILL')
    }, stop_time_max_ms)
    await Promise.all(
      slots.map(({ worker }) => {
        if (!worker || worker.isDead()) return undefined
        const ended = new Promise((resolve) => worker.once('exit', resolve))
        worker.process.kill('SIGTERM')
        return ended
      }),
    )
    clearTimeout(late)
  })
})
