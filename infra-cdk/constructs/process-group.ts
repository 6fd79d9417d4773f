import { Construct } from 'constructs'
import { offsets, processTypes } from '#services/admin/types.ts'
import type { InstancePlan } from '../site/plan.ts'
import type { Environment } from './environment.ts'
import type { Server } from './server.ts'
import { check } from './site.ts'

export interface ProcessGroupProps {
  /** Servers that run it; absent: the one machine of a site without racks. */
  readonly on?: readonly Server[]
  /** How many on each. */
  readonly each: number
  /** Options over the type's defaults. */
  readonly options?: Readonly<Record<string, unknown>>
  readonly limits?: InstancePlan['limits']
}

/** Types of which one instance can fail without a word, if there is another. */
const redundant = ['prod', 'tgctl', 'tg']

/** Of three nodes two answer for all, so one may fail. */
const cassandra_nodes_min = 3

const limits_default = { memory_mb: 1_024, open_files: 65_536 }

/** All instances of one process type. */
export class ProcessGroup extends Construct {
  readonly type: string
  readonly servers: readonly Server[]
  readonly each: number
  readonly options: Readonly<Record<string, unknown>>
  readonly limits: InstancePlan['limits']
  readonly environment: Environment

  constructor(scope: Environment, type: string, props: ProcessGroupProps) {
    super(scope, type)
    const known = [...Object.keys(processTypes), 'postgres', 'cassandra']
    if (!known.includes(type))
      throw new Error(
        `environment ${scope.name}: there is no process type "${type}"; the types are ${known.join(', ')}`,
      )
    this.type = type
    this.environment = scope
    this.servers = props.on ?? []
    this.each = props.each
    this.options = props.options ?? {}
    this.limits = props.limits ?? limits_default
    check(this, () => {
      if (!Number.isInteger(props.each) || props.each < 0)
        return [`${type}: ${props.each} of it on each server; it must be a whole number`]
      const [first, second] = [this.port(0), this.port(1)]
      const found: string[] = []
      if (first === second && props.each > 1)
        found.push(`${type}: ${props.each} on one server would all have port ${first}; run it on more servers instead`)
      const devices = scope.devicePorts
      const count = this.instances().length
      const last = this.port(count - 1)
      if (first !== second && last >= devices.first)
        found.push(
          `${type}: instance ${count} has port ${last}, which is among the devices' ports; run fewer than ${devices.first - first}`,
        )
      if (redundant.includes(type) && this.servers.length === 1)
        found.push(
          `${type}: it runs on ${this.servers[0]!.name} alone; run it on two servers or more, so that one may fail`,
        )
      if (type === 'cassandra' && (props.each !== 1 || this.servers.length < cassandra_nodes_min))
        found.push(
          `cassandra: ${props.each} on each of ${this.servers.length} servers; three copies need one on each of ${cassandra_nodes_min} servers or more`,
        )
      return found
    })
  }

  /** Port of the n-th instance of the site, from 0 on. */
  port(index: number): number {
    const base = this.environment.basePort
    if (this.type === 'postgres') return base + offsets.postgres
    if (this.type === 'cassandra') return base + offsets.cassandra
    // What decides about the port is the base port alone.
    return processTypes[this.type]!.port(
      { base_port: base } as Parameters<(typeof processTypes)['tg']['port']>[0],
      index,
    )
  }

  /** Port whose HTTP tells whether the n-th instance lives: MBUS speaks MQTT on its first one. */
  probePort(index: number): number {
    const probe = processTypes[this.type]?.probe
    return probe ? probe({ base_port: this.environment.basePort } as Parameters<typeof probe>[0]) : this.port(index)
  }

  /** Name, server and port of each instance, numbered over all servers. */
  instances(): { instance: string; server: Server; port: number; probe_port: number }[] {
    return this.servers.flatMap((server, place) =>
      Array.from({ length: this.each }, (_, n) => {
        const index = place * this.each + n
        return {
          instance: `${this.type}-${index + 1}`,
          server,
          port: this.port(index),
          probe_port: this.probePort(index),
        }
      }),
    )
  }
}
