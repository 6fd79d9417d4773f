import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import type { Logger } from 'pino'
import type { Instance } from './types.ts'

const root = resolve(import.meta.dirname, '../..')

/** Pauses before a restart: at once the first time, then twice as long each time. */
const backoff_first_ms = 50
const backoff_max_ms = 10_000
/** One that lived so long is healthy: the next restart is at once again. */
const healthy_after_ms = 30_000
/** A process that answered once and then is silent for so long hangs. */
const hang_time_ms = 15_000
/** A process that never answered is given so long to start. */
const start_time_ms = 60_000
const stop_time_ms = 8_000
const log_bytes_max = 10 * 1024 * 1024
const log_files_kept = 3

export type Status = 'starting' | 'running' | 'waiting' | 'stopping'

/** What is known of one process. */
export interface ProcessInfo {
  environment: string
  type: string
  instance: string
  pid: number | null
  status: Status
  version: string
  restarts: number
  /** s since it was started. */
  uptime: number
  last_exit: string | null
}

/** Field 22 of /proc/PID/stat: with the pid it names a process for good. Undefined: there is none, or it is a zombie. */
export function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? undefined : fields[19]
  } catch {
    return undefined
  }
}

interface PidFile {
  pid: number
  start: string
  hash: string
}

/** Paths of an instance under the agent's folder. */
export const paths = (state: string, environment: string, instance: string) => ({
  config: join(state, 'run', environment, `${instance}.json`),
  pid: join(state, 'run', environment, `${instance}.pid`),
  log: join(state, 'log', environment, `${instance}.log`),
})

/** One process that is to be there: started, watched, started anew. It outlives the agent and is adopted by the next. */
class Supervised {
  instance: Instance
  readonly #state: string
  readonly #log: Logger
  #pid = 0
  #start = ''
  #hash = ''
  #began = 0
  #answered = 0
  #probing = false
  #failures = 0
  #timer: NodeJS.Timeout | undefined
  #stopping = false
  restarts = 0
  lastExit: string | null = null

  constructor(instance: Instance, state: string, log: Logger) {
    this.instance = instance
    this.#state = state
    this.#log = log.child({ process: `${instance.environment}/${instance.instance}` })
  }

  get #paths() {
    return paths(this.#state, this.instance.environment, this.instance.instance)
  }

  get alive(): boolean {
    return this.#pid !== 0 && startTime(this.#pid) === this.#start
  }

  get running(): boolean {
    return this.alive && this.#answered > 0
  }

  info(): ProcessInfo {
    const { environment, type, instance, config } = this.instance
    const status: Status = this.#stopping ? 'stopping' : this.running ? 'running' : this.alive ? 'starting' : 'waiting'
    return {
      environment,
      type,
      instance,
      status,
      pid: this.alive ? this.#pid : null,
      version: config.version ?? '',
      restarts: this.restarts,
      uptime: this.alive ? Math.round((Date.now() - this.#began) / 1000) : 0,
      last_exit: this.lastExit,
    }
  }

  /** Whether it runs with another configuration than it should. */
  get outdated(): boolean {
    return this.alive && this.#hash !== hashOf(this.instance)
  }

  /** Takes over a process that an earlier agent started, or starts one. */
  begin(): void {
    try {
      const file = JSON.parse(readFileSync(this.#paths.pid, 'utf8')) as PidFile
      if (startTime(file.pid) === file.start) {
        this.#pid = file.pid
        this.#start = file.start
        this.#hash = file.hash
        this.#began = statSync(this.#paths.pid).mtimeMs
        this.#log.info({ pid: file.pid }, 'adopted')
        return
      }
    } catch {
      // None was started before.
    }
    this.#launch()
  }

  #launch(): void {
    if (this.#stopping) return
    const { config, pid, log } = this.#paths
    const { instance } = this
    for (const folder of [dirname(config), dirname(log)]) mkdirSync(folder, { recursive: true, mode: 0o700 })
    mkdirSync(instance.config.data, { recursive: true })
    chmodSync(instance.config.data, 0o711)
    writeFileSync(`${config}.new`, JSON.stringify(instance.config, null, 2), { mode: 0o600 })
    renameSync(`${config}.new`, config)
    const output = openSync(log, 'a', 0o600)
    let child: ChildProcess
    try {
      child = spawn(process.execPath, [join(root, instance.file), '--config', config], {
        cwd: root,
        detached: true,
        stdio: ['ignore', output, output],
      })
    } finally {
      closeSync(output)
    }
    child.on('error', (error) => this.#log.error({ reason: error.message }, 'cannot be started'))
    child.on('exit', (code, signal) => {
      this.lastExit = signal ?? `code ${code}`
      if (child.pid === this.#pid) this.#ended()
    })
    child.unref()
    this.#pid = child.pid ?? 0
    this.#start = startTime(this.#pid) ?? ''
    this.#hash = hashOf(instance)
    this.#began = Date.now()
    this.#answered = 0
    writeFileSync(pid, JSON.stringify({ pid: this.#pid, start: this.#start, hash: this.#hash } satisfies PidFile), {
      mode: 0o600,
    })
  }

  #ended(): void {
    if (this.#pid === 0) return
    const lived = Date.now() - this.#began
    this.#pid = 0
    if (this.#stopping) return
    this.#failures = lived > healthy_after_ms ? 0 : this.#failures + 1
    const pause =
      this.#failures <= 1 ? backoff_first_ms : Math.min(backoff_max_ms, backoff_first_ms * 2 ** this.#failures)
    this.restarts++
    this.#log.warn({ exit: this.lastExit, pause_ms: pause }, 'ended; is started again')
    this.#timer = setTimeout(() => this.#launch(), pause)
  }

  /** Called often: notices the end of an adopted process, and one that hangs. */
  check(): void {
    if (this.#pid === 0) return
    if (!this.alive) return this.#ended()
    const now = Date.now()
    const silent = this.#answered > 0 ? now - this.#answered > hang_time_ms : now - this.#began > start_time_ms
    if (silent) {
      this.#log.error('does not answer; is killed')
      this.#began = now
      process.kill(this.#pid, 'SIGKILL')
    }
  }

  probe(): void {
    if (this.#pid === 0 || this.#probing) return
    this.#probing = true
    const pid = this.#pid
    const done = (fine: boolean) => {
      if (!this.#probing) return
      this.#probing = false
      if (fine && pid === this.#pid) this.#answered = Date.now()
    }
    const { kind, port } = this.instance.probe
    if (kind === 'tcp') {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy()
        done(true)
      })
      socket.on('error', () => done(false))
      socket.setTimeout(2_000, () => socket.destroy(new Error('silent')))
    } else {
      // The first answer that counts is "ready"; later "alive" is enough: a dependency that is away is not this one's fault.
      const path = this.#answered > 0 ? '/healthz' : '/readyz'
      const call = request({ host: '127.0.0.1', port, path, agent: false, timeout: 3_000 }, (response) => {
        response.resume()
        done(response.statusCode === 200)
      })
      call.on('timeout', () => call.destroy(new Error('silent')))
      call.on('error', () => done(false))
      call.end()
    }
  }

  /** SIGTERM (or what the type wants), then SIGKILL. */
  async stop(): Promise<void> {
    this.#stopping = true
    clearTimeout(this.#timer)
    if (this.alive) {
      try {
        process.kill(this.#pid, this.instance.stop)
      } catch {
        // It ended by itself.
      }
      const end = Date.now() + stop_time_ms
      while (this.alive) {
        if (Date.now() > end) {
          this.#log.error('did not stop in time; is killed')
          process.kill(this.#pid, 'SIGKILL')
        }
        await new Promise((done) => setTimeout(done, 20))
      }
    }
    this.#pid = 0
    rmSync(this.#paths.pid, { force: true })
  }

  async restart(instance: Instance): Promise<void> {
    await this.stop()
    this.instance = instance
    this.#stopping = false
    this.#failures = 0
    this.#launch()
  }

  /** Copies a log that has grown too large aside and empties it: its writer appends, so it need not know. */
  rotate(): void {
    const { log } = this.#paths
    if (!existsSync(log) || statSync(log).size < log_bytes_max) return
    for (let n = log_files_kept - 1; n > 0; n--)
      if (existsSync(`${log}.${n}`)) renameSync(`${log}.${n}`, `${log}.${n + 1}`)
    copyFileSync(log, `${log}.1`)
    truncateSync(log, 0)
  }
}

const hashOf = (instance: Instance) => createHash('sha256').update(JSON.stringify(instance)).digest('hex')
const keyOf = ({ environment, instance }: Pick<Instance, 'environment' | 'instance'>) => `${environment}/${instance}`

/** Keeps the wanted processes of this machine alive, and only those. */
export class Supervisor {
  readonly #state: string
  readonly #log: Logger
  readonly #processes = new Map<string, Supervised>()
  readonly #timers: NodeJS.Timeout[]
  #applying: Promise<void> = Promise.resolve()

  constructor(state: string, log: Logger) {
    this.#state = state
    this.#log = log
    const each = (work: (process: Supervised) => void) => () => {
      for (const process of this.#processes.values()) work(process)
    }
    this.#timers = [
      setInterval(
        each((p) => p.check()),
        100,
      ),
      setInterval(
        each((p) => !p.running && p.probe()),
        100,
      ),
      setInterval(
        each((p) => p.probe()),
        2_000,
      ),
      setInterval(
        each((p) => p.rotate()),
        5_000,
      ),
    ]
  }

  processes(): ProcessInfo[] {
    return [...this.#processes.values()].map((process) => process.info())
  }

  /** Makes the processes what `wanted` says. New ones start at once, changed ones are restarted one after another. */
  apply(wanted: Instance[]): Promise<void> {
    this.#applying = this.#applying
      .then(() => this.#apply(wanted))
      .catch((err) => this.#log.error({ err }, 'the wanted state was not reached'))
    return this.#applying
  }

  async #apply(wanted: Instance[]): Promise<void> {
    const keys = new Set(wanted.map(keyOf))
    await this.#stopAll([...this.#processes.keys()].filter((key) => !keys.has(key)))
    const changed: [Supervised, Instance][] = []
    for (const instance of wanted) {
      const known = this.#processes.get(keyOf(instance))
      if (known && hashOf(known.instance) !== hashOf(instance)) changed.push([known, instance])
      if (known) continue
      const process = new Supervised(instance, this.#state, this.#log)
      this.#processes.set(keyOf(instance), process)
      process.begin()
      if (process.outdated) changed.push([process, instance])
    }
    for (const [process, instance] of changed) {
      await process.restart(instance)
      // The next one waits until this one serves again, but not for ever.
      for (let i = 0; i < 200 && !process.running; i++) await new Promise((done) => setTimeout(done, 50))
    }
  }

  async #stopAll(keys: string[]): Promise<void> {
    await Promise.all(keys.map((key) => this.#processes.get(key)?.stop()))
    for (const key of keys) this.#processes.delete(key)
  }

  /** Stops all: services first, ADMIN, then PostgreSQL. */
  async stop(): Promise<void> {
    this.release()
    const late = ['admin', 'postgres']
    const all = [...this.#processes.entries()]
    await this.#stopAll(all.filter(([, p]) => !late.includes(p.instance.type)).map(([key]) => key))
    for (const type of late) await this.#stopAll(all.filter(([, p]) => p.instance.type === type).map(([key]) => key))
  }

  /** Stops watching; the processes go on and wait for the next agent. */
  release(): void {
    for (const timer of this.#timers) clearInterval(timer)
  }

  /** Files of an environment that is gone: configurations, logs, data. */
  removeFiles(environment: string): void {
    for (const folder of ['run', 'log', 'data', 'environments'])
      rmSync(join(this.#state, folder, environment), { recursive: true, force: true })
  }
}

/** Ends what an agent that died left behind. Gives the number of processes that were ended. */
export async function endLeftovers(state: string): Promise<number> {
  const run = join(state, 'run')
  if (!existsSync(run)) return 0
  const left: PidFile[] = []
  for (const environment of readdirSync(run)) {
    for (const name of readdirSync(join(run, environment)).filter((file) => file.endsWith('.pid'))) {
      const file = JSON.parse(readFileSync(join(run, environment, name), 'utf8')) as PidFile
      if (startTime(file.pid) === file.start) left.push(file)
      rmSync(join(run, environment, name))
    }
  }
  const signal = (name: NodeJS.Signals) => {
    for (const { pid, start } of left) if (startTime(pid) === start) process.kill(pid, name)
  }
  // SIGINT is a clean stop for all of them, PostgreSQL included.
  signal('SIGINT')
  const end = Date.now() + stop_time_ms
  while (left.some(({ pid, start }) => startTime(pid) === start)) {
    if (Date.now() > end) signal('SIGKILL')
    await new Promise((done) => setTimeout(done, 50))
  }
  return left.length
}
