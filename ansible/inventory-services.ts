/** The processes of a host as the role node-service is told of them. */
import type { InstancePlan, Plan } from '#infra/site/plan.ts'
import { offsets, processTypes } from '#services/admin/types.ts'

/** What a type needs of the environment beyond the plan's own options. */
function optionsOf({ environment, servers }: Plan, type: string): Record<string, unknown> {
  // Servers that may tell of their hardware on it; the role adds what their passwords are known by.
  if (type === 'mbus')
    return { ws_port: environment.base_port + offsets.mbus_ws, servers: servers.map(({ name }) => name) }
  if (type === 'tgctl') return { device_ports: [environment.device_ports.first, environment.device_ports.last] }
  return {}
}

/** Port whose HTTP says whether an instance lives: MBUS speaks MQTT on its first port. */
export const probePort = ({ environment }: Plan, { type, port }: Pick<InstancePlan, 'type' | 'port'>): number =>
  type === 'mbus' ? environment.base_port + offsets.mbus_ws : port

/** Types of the plan that are not ours to run: roles of their own make them. */
export const stores: readonly string[] = ['postgres', 'cassandra']

export interface NodeInstance {
  readonly type: string
  readonly instance: string
  /** File to run, relative to the top of the release. */
  readonly file: string
  readonly address: string
  readonly port: number
  readonly probe_port: number
  readonly postgres: boolean
  readonly options: Record<string, unknown>
  readonly limits: InstancePlan['limits']
}

export function instancesOn(plan: Plan, host: string): NodeInstance[] {
  return plan.environment.instances
    .filter((instance) => instance.host === host && !stores.includes(instance.type))
    .map((instance) => {
      const kind = processTypes[instance.type]
      if (!kind) throw new Error(`instance ${instance.instance}: there is no process type "${instance.type}"`)
      const { type, address, port, limits } = instance
      return {
        type,
        instance: instance.instance,
        file: kind.file,
        address,
        port,
        probe_port: probePort(plan, instance),
        postgres: kind.postgres ?? false,
        options: { ...optionsOf(plan, type), ...instance.options },
        limits,
      }
    })
}
