/** What the tests of all services share: free ports, folders that vanish, real PostgreSQL, real processes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import pg from 'pg'
import { freePort } from './ports.ts'
import { spawnPostgres } from './postgres-server.ts'
import type { PostgresConfig, ProcessConfig } from './process.ts'

export { freePort }

const root = resolve(import.meta.dirname, '../..')

/** Compiling all a process is made of takes long on a machine that is busy with other tests. */
const start_time_max_ms = 45_000

/** A folder of its own under the system's temporary folder; `remove` deletes it. */
export function temporaryFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'milepost-test-'))
  chmodSync(path, 0o711)
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

/** Waits until `condition` holds; rejects with `what` after `time_max_ms`. */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  time_max_ms = 15_000,
): Promise<void> {
  const end = Date.now() + time_max_ms
  for (;;) {
    try {
      if (await condition()) return
    } catch {
      // Not yet.
    }
    if (Date.now() > end) throw new Error(`not within ${time_max_ms} ms: ${what}`)
    await new Promise((done) => setTimeout(done, 25))
  }
}

async function ended(child: ChildProcess, signal: NodeJS.Signals, time_max_ms = 6_000): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  await new Promise<void>((done) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), time_max_ms)
    child.once('exit', () => {
      clearTimeout(timer)
      done()
    })
    child.kill(signal)
  })
}

export interface TestPostgres {
  config: PostgresConfig
  /** The server's process, to kill it. */
  pid: number
  stop(): Promise<void>
}

/** A PostgreSQL server of the test's own, ready for connections; quick, not crash-safe, unless `settings` say otherwise. */
export async function startPostgres(settings: Record<string, string> = { fsync: 'off' }): Promise<TestPostgres> {
  const folder = temporaryFolder()
  const config = {
    host: '127.0.0.1',
    port: await freePort(),
    database: 'postgres',
    user: 'milepost',
    password: randomBytes(8).toString('hex'),
  }
  const child = spawnPostgres({
    data: join(folder.path, 'data'),
    binaries: join(folder.path, 'binaries'),
    port: config.port,
    user: config.user,
    password: config.password,
    settings,
  })
  let output = ''
  child.stderr?.on('data', (chunk) => (output += chunk))
  child.stdout?.resume()
  await until(
    'PostgreSQL accepts connections',
    async () => {
      if (child.exitCode !== null) throw new Error(`PostgreSQL ended: ${output}`)
      const client = new pg.Client(config)
      await client.connect()
      await client.end()
      return true
    },
    20_000,
  )
  return {
    config,
    pid: child.pid ?? 0,
    async stop() {
      await ended(child, 'SIGINT')
      folder.remove()
    },
  }
}

export interface TestProcess {
  pid: number
  config: ProcessConfig
  /** Its log lines so far. */
  output(): string
  kill(signal?: NodeJS.Signals): void
  /** Resolves when it has ended. */
  exited: Promise<void>
  /** SIGTERM, then waits. */
  stop(): Promise<void>
}

/**
 * Starts `node FILE --config …` as the agent does and waits for its `/healthz` if it has a port.
 * `file` is relative to the top of the tree: `services/mdb/mdb.ts`. `probe`: the port of its HTTP where it is not `port`.
 */
export async function startProcess(
  file: string,
  partial: Partial<ProcessConfig> & { data: string },
  probe = partial.port,
): Promise<TestProcess> {
  const config: ProcessConfig = {
    environment: 'test',
    type: file.replace(/^.*\/|\.ts$/g, ''),
    instance: `${file.replace(/^.*\/|\.ts$/g, '')}-1`,
    host: '127.0.0.1',
    internal_token: 'internal',
    urls: { prod: '', tgctl: '', mdb: '', admin: '', mbus: '', tg: [] },
    options: {},
    ...partial,
  }
  mkdirSync(config.data, { recursive: true })
  const configFile = join(config.data, 'config.json')
  writeFileSync(configFile, JSON.stringify(config), { mode: 0o600 })
  const child = spawn(process.execPath, [resolve(root, file), '--config', configFile], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk) => (output = (output + chunk).slice(-200_000)))
  child.stderr.on('data', (chunk) => (output = (output + chunk).slice(-200_000)))
  const exited = new Promise<void>((done) => child.once('exit', () => done()))
  if (probe !== undefined) {
    const alive = async () => {
      if (child.exitCode !== null) return true
      return (await fetch(`http://127.0.0.1:${probe}/healthz`)).ok
    }
    try {
      await until(`${file} is alive`, alive, start_time_max_ms)
    } catch (error) {
      child.kill('SIGKILL')
      throw new Error(`${(error as Error).message}\n${output}`)
    }
    if (child.exitCode !== null) throw new Error(`${file} ended with ${child.exitCode}:\n${output}`)
  }
  return {
    pid: child.pid ?? 0,
    config,
    output: () => output,
    kill: (signal = 'SIGKILL') => void child.kill(signal),
    exited,
    stop: () => ended(child, 'SIGTERM'),
  }
}
