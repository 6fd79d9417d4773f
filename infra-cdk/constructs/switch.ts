import { Construct } from 'constructs'
import { PowerSupply } from './power-supply.ts'
import type { Rack } from './rack.ts'
import { all, check } from './site.ts'

export interface SwitchProps {
  /** `a` takes every server's first leg, `b` the second. */
  readonly side: 'a' | 'b'
  readonly unit: number
  readonly ports: number
}

/** A port of a switch: where a cable ends. */
export interface Port {
  readonly switch: Switch
  readonly port: number
}

/** A switch of a rack. */
export class Switch extends Construct {
  readonly name: string
  readonly rack: Rack
  readonly side: 'a' | 'b'
  readonly unit: number
  readonly height = 1
  readonly ports: number
  readonly trunks: { readonly port: number; readonly to: Port }[] = []

  constructor(scope: Rack, name: string, { side, unit, ports }: SwitchProps) {
    super(scope, name)
    this.name = name
    this.rack = scope
    this.side = side
    this.unit = unit
    this.ports = ports
    check(this, () =>
      this.supplies.length === 0 ? [`switch ${name}: it has no power supply; add one with an outlet of a PDU`] : [],
    )
  }

  get supplies(): PowerSupply[] {
    return all(this, PowerSupply)
  }

  port(port: number): Port {
    if (!(Number.isInteger(port) && port >= 1 && port <= this.ports))
      throw new Error(`switch ${this.name}: there is no port ${port}; it has ${this.ports}`)
    return { switch: this, port }
  }

  /** A cable between two switches. */
  trunk(port: number, to: Port): void {
    this.port(port)
    this.trunks.push({ port, to })
    to.switch.trunks.push({ port: to.port, to: { switch: this, port } })
  }
}
