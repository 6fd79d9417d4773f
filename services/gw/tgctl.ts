/** tgctl: a master that keeps worker processes alive; the workers carry the REST of channels and devices. */
import cluster, { type Worker } from 'node:cluster'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { start } from '#services/common/process.ts'

const workers_default = 4
/** A worker reports each second; one that is silent for so long hangs. */
const silence_max_ms = 5_000
/** A new worker loads and compiles first. */
const start_time_max_ms = 20_000
const check_every_ms = 1_000
/** A hanging worker has so long to write down where it hangs. */
const report_time_max_ms = 1_500
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
}

start(import.meta, async ({ config, log, onStop }) => {
  const reports = join(config.data, 'reports')
  rmSync(reports, { recursive: true, force: true })
  mkdirSync(reports, { recursive: true, mode: 0o700 })
  cluster.setupPrimary({
    exec: join(import.meta.dirname, 'tgctl-worker.ts'),
    args: process.argv.slice(2),
    execArgv: ['--report-on-signal', '--report-signal=SIGUSR2', '--report-exclude-env', '--report-exclude-network'],
  })
  let stopping = false
  const slots: Slot[] = []

  function fork(slot: Slot): void {
    if (stopping) return
    const worker = cluster.fork({ MILEPOST_WORKER: String(slot.number) })
    Object.assign(slot, { worker, started: Date.now(), heard: undefined, killing: false })
    worker.on('message', () => {
      slot.heard = Date.now()
    })
    worker.on('error', (error) => log.warn({ worker: slot.number, reason: error.message }, 'a worker'))
    worker.on('exit', (code, signal) => {
      if (stopping) return
      const lived_ms = Date.now() - slot.started
      slot.back_off_ms =
        lived_ms > healthy_after_ms ? 0 : Math.min(Math.max(slot.back_off_ms * 2, back_off_first_ms), back_off_max_ms)
      slot.restarts++
      log.error({ worker: slot.number, code, signal, again_in_ms: slot.back_off_ms }, 'a worker ended')
      setTimeout(() => fork(slot), slot.back_off_ms)
    })
  }

  /** Where a hanging worker hangs, then its end. */
  async function kill(slot: Slot, worker: Worker): Promise<void> {
    slot.killing = true
    const { pid } = worker.process
    const file = join(reports, `${pid}.json`)
    // The report's name is fixed by the worker's own settings: see tgctl-worker.ts.
    worker.process.kill('SIGUSR2')
    const end = Date.now() + report_time_max_ms
    while (!existsSync(file) && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 50))
    log.error({ worker: slot.number, pid, stack: readStack(file) }, 'a worker does not answer: it is killed')
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
    }
    slots.push(slot)
    fork(slot)
  }
  const checks = setInterval(() => {
    const now = Date.now()
    for (const slot of slots) {
      const { worker, heard, started, killing } = slot
      if (!worker || worker.isDead() || killing) continue
      if (heard === undefined ? now - started > start_time_max_ms : now - heard > silence_max_ms)
        void kill(slot, worker)
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

/** The JavaScript stack of a diagnostic report, or why there is none. */
function readStack(file: string): string[] {
  try {
    const report = JSON.parse(readFileSync(file, 'utf8')) as { javascriptStack?: { stack?: string[] } }
    return report.javascriptStack?.stack ?? []
  } catch (error) {
    return [`no report: ${(error as Error).message}`]
  }
}
