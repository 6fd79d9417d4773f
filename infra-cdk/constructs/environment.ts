import { Construct } from 'constructs'
import type { ChannelPlan, PortRange } from '../site/plan.ts'
import { check, type Site } from './site.ts'

export interface EnvironmentProps {
  /** First of the environment's ports. */
  readonly base_port: number
  /** Channels that are there from the first deploy on. */
  readonly channels: readonly ChannelPlan[]
}

/** Ports of an environment that its own processes may take, and those of devices, from the base port on. */
const service_ports = 100
const device_ports_end = 999

/** A full set of processes with its own ports and data. */
export class Environment extends Construct {
  readonly name: string
  readonly basePort: number
  readonly channels: readonly ChannelPlan[]

  constructor(scope: Site, name: string, { base_port, channels }: EnvironmentProps) {
    super(scope, `environment-${name}`)
    this.name = name
    this.basePort = base_port
    this.channels = channels
    check(this, () => {
      const found: string[] = []
      if (!(base_port >= 1_024 && base_port <= 64_000))
        found.push(`site ${scope.name}: base_port ${base_port} is not between 1024 and 64000`)
      const ports = new Map<number, string>()
      for (const { name: channel, port } of channels) {
        const other = ports.get(port)
        if (other !== undefined) found.push(`channel ${channel}: port ${port} is that of channel ${other}`)
        ports.set(port, channel)
        const { first, last } = this.devicePorts
        if (port >= base_port && port < first)
          found.push(`channel ${channel}: port ${port} is among the services' ports; use ${first} or above`)
        else if (port < first || port > last)
          found.push(`channel ${channel}: port ${port} is not among the devices' ports, ${first} to ${last}`)
      }
      return found
    })
  }

  get devicePorts(): PortRange {
    return { first: this.basePort + service_ports, last: this.basePort + device_ports_end }
  }
}
