import { join } from 'node:path'
import type { PostgresConfig, ProcessConfig } from '#services/common/process.ts'

/** A process that runs on a machine: what the agent is told to keep alive. */
export interface Instance {
  environment: string
  type: string
  instance: string
  /** File to run, relative to the top of the tree. */
  file: string
  config: ProcessConfig
  /** How the agent sees that it works. */
  probe: { kind: 'http' | 'tcp'; port: number }
  /** Signal for a clean stop. */
  stop: 'SIGTERM' | 'SIGINT'
}

/** A full set of processes with its own ports, database and data. */
export interface Environment {
  name: string
  base_port: number
  /** Content hash of the code it runs. */
  release: string
  /** How many of each type. */
  processes: Record<string, number>
  /** Options of a type over the defaults: `{"tg": {"device_host": "127.0.0.1"}}`. */
  options: Record<string, Record<string, unknown>>
  internal_token: string
  /** SHA-256 of the token that its root account starts with. */
  bootstrap_token_sha256: string
  database: PostgresConfig
  admin_url: string
}

/** Where each type listens, counted from the environment's base port. */
export const offsets = {
  prod: 0,
  mbus: 1,
  mbus_ws: 2,
  admin: 3,
  tgctl: 4,
  mdb: 5,
  postgres: 6,
  agent: 7,
  archive: 8,
  tg: 10,
  /** For clients, and for its nodes among themselves. */
  cassandra: 90,
  cassandra_nodes: 91,
  device_first: 100,
  device_last: 999,
} as const

/** Distance of the base ports of environments. */
export const port_step = 1_000

export const processes_default: Record<string, number> = { mbus: 1, mdb: 1, prod: 1, tgctl: 1, tg: 2 }
/** More tg than this have no ports between them and the devices'. */
export const tg_max = 16

interface ProcessType {
  file: string
  /** Port of its HTTP, or undefined. */
  port(environment: Environment, index: number): number
  probe?(environment: Environment): number
  options?(environment: Environment): Record<string, unknown>
  postgres?: boolean
}

/** The process types of an environment. */
export const processTypes: Record<string, ProcessType> = {
  mbus: {
    file: 'services/mbus/mbus.ts',
    port: (e) => e.base_port + offsets.mbus,
    probe: (e) => e.base_port + offsets.mbus_ws,
    options: (e) => ({ ws_port: e.base_port + offsets.mbus_ws }),
  },
  mdb: { file: 'services/mdb/mdb.ts', port: (e) => e.base_port + offsets.mdb },
  prod: {
    file: 'services/prod/prod.ts',
    port: (e) => e.base_port + offsets.prod,
    options: (e) => ({ bootstrap_token_sha256: e.bootstrap_token_sha256 }),
    postgres: true,
  },
  tgctl: {
    file: 'services/gw/tgctl.ts',
    port: (e) => e.base_port + offsets.tgctl,
    options: (e) => ({ device_ports: [e.base_port + offsets.device_first, e.base_port + offsets.device_last] }),
    postgres: true,
  },
  tg: { file: 'services/gw/tg.ts', port: (e, index) => e.base_port + offsets.tg + index },
  archive: { file: 'services/archive/archive.ts', port: (e) => e.base_port + offsets.archive, postgres: true },
}

/** All instances of an environment. Pure: the same environment gives the same bytes. `data`: folder of all environments' data. */
export function instancesOf(environment: Environment, data: string): Instance[] {
  const { name, base_port: base } = environment
  const http = (port: number) => `http://127.0.0.1:${port}`
  const urls: ProcessConfig['urls'] = {
    prod: http(base + offsets.prod),
    tgctl: http(base + offsets.tgctl),
    mdb: http(base + offsets.mdb),
    admin: environment.admin_url,
    mbus: `mqtt://127.0.0.1:${base + offsets.mbus}`,
    tg: Array.from({ length: environment.processes.tg ?? 0 }, (_, index) => http(base + offsets.tg + index)),
    ...(environment.processes.archive ? { archive: http(base + offsets.archive) } : {}),
  }
  return Object.entries(processTypes).flatMap(([type, kind]) =>
    Array.from({ length: environment.processes[type] ?? 0 }, (_, index): Instance => {
      const instance = `${type}-${index + 1}`
      const port = kind.port(environment, index)
      const config: ProcessConfig = {
        environment: name,
        type,
        instance,
        version: environment.release,
        host: '127.0.0.1',
        port,
        data: join(data, name, instance),
        internal_token: environment.internal_token,
        urls,
        options: { ...kind.options?.(environment), ...environment.options[type] },
        ...(kind.postgres ? { postgres: environment.database } : {}),
      }
      const probe = { kind: 'http', port: kind.probe?.(environment) ?? port } as const
      return { environment: name, type, instance, file: kind.file, config, probe, stop: 'SIGTERM' }
    }),
  )
}
