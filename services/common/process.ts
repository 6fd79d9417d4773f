import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { Logger } from 'pino'
import { pino } from 'pino'

/** What ADMIN's agent writes for each process instance. Ports are TCP, tokens are secrets. */
export interface ProcessConfig {
  environment: string
  /** Process type: `tg`, `mdb`, … */
  type: string
  /** Name of this copy: `tg-1`. */
  instance: string
  /** Release this instance runs, if known. */
  version?: string
  /** Address that its HTTP binds to. */
  host: string
  /** Port of its HTTP; absent: none. */
  port?: number
  /** Directory of its own. */
  data: string
  internal_token: string
  urls: {
    prod: string
    tgctl: string
    mdb: string
    admin: string
    mbus: string
    tg: string[]
    /** Absent: the environment has no archive. */
    archive?: string
  }
  postgres?: PostgresConfig
  cassandra?: CassandraConfig
  /** What only this process type understands. */
  options: Record<string, unknown>
}

export interface PostgresConfig {
  host: string
  port: number
  database: string
  user: string
  password: string
}

/** How a process reaches Cassandra, or another server of CQL. */
export interface CassandraConfig {
  /** Addresses of some nodes; the others are learnt from them. */
  contact_points: string[]
  port?: number
  datacenter: string
  keyspace: string
  user: string
  password: string
  /** PEM text of the authority that signed the nodes' certificates; absent: no TLS. */
  ca?: string
}

/** What a running process is given. */
export interface ProcessContext {
  config: ProcessConfig
  log: Logger
  /** Registers a step of the clean shutdown; steps run in reverse order of registration. */
  onStop(step: () => Promise<void> | void): void
}

/** A clean shutdown that lasts longer is cut short: whoever asked for it waits. */
const stop_time_max_ms = 5_000

/** Reads a process configuration; errors name the file and the missing field. */
export function readConfig(file: string): ProcessConfig {
  let config: ProcessConfig
  try {
    config = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new Error(`configuration ${file} cannot be read: ${(error as Error).message}`)
  }
  for (const field of [
    'environment',
    'type',
    'instance',
    'host',
    'data',
    'internal_token',
    'urls',
    'options',
  ] as const) {
    if (config[field] === undefined) throw new Error(`configuration ${file}: "${field}" is missing`)
  }
  return config
}

/** A pino logger: JSON lines on stdout that name environment, type and instance. */
export function makeLogger(config: Pick<ProcessConfig, 'environment' | 'type' | 'instance'>): Logger {
  return pino({
    level: process.env.MILEPOST_LOG_LEVEL ?? 'info',
    base: {
      pid: process.pid,
      environment: config.environment,
      type: config.type,
      instance: config.instance,
    },
    redact: ['req.headers.authorization', 'headers.authorization', 'internal_token', 'password', 'token'],
  })
}

/**
 * Runs a process: reads `--config FILE`, calls `main`, stops cleanly on SIGTERM and SIGINT.
 * Does nothing when the module is imported instead of run.
 */
export function start(meta: ImportMeta, main: (context: ProcessContext) => Promise<void>): void {
  if (!meta.main) return
  const { values } = parseArgs({
    options: {
      config: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
    strict: false,
  })
  if (typeof values.config !== 'string') {
    process.stderr.write(`usage: node ${process.argv[1]} --config FILE (JSON; normally written by ADMIN's agent)\n`)
    process.exit(values.help ? 0 : 2)
  }
  let config: ProcessConfig
  try {
    config = readConfig(values.config)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    process.exit(2)
  }
  const log = makeLogger(config)
  const steps: (() => Promise<void> | void)[] = []
  let stopping = false

  const stop = async (signal: string) => {
    if (stopping) return
    stopping = true
    log.info({ signal }, 'stopping')
    const timer = setTimeout(() => {
      log.error('the clean shutdown took too long')
      process.exit(1)
    }, stop_time_max_ms)
    for (const step of steps.reverse()) {
      try {
        await step()
      } catch (error) {
        log.error({ err: error }, 'a step of the shutdown failed')
      }
    }
    clearTimeout(timer)
    log.info('stopped')
    process.exit(0)
  }
  process.on('SIGTERM', () => void stop('SIGTERM'))
  process.on('SIGINT', () => void stop('SIGINT'))
  const die = (error: unknown) => {
    log.fatal({ err: error }, 'uncaught error')
    process.exit(1)
  }
  process.on('uncaughtException', die)
  process.on('unhandledRejection', die)

  log.info({ pid: process.pid, node: process.version }, 'starting')
  main({ config, log, onStop: (step) => void steps.push(step) }).then(() => log.info('started'), die)
}
