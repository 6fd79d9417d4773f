import { Construct } from 'constructs'
import type { Outlet } from './pdu.ts'
import type { Server } from './server.ts'
import type { Switch } from './switch.ts'

export interface PowerSupplyProps {
  readonly outlet: Outlet
}

/** A power supply of a server or switch, with its cord. */
export class PowerSupply extends Construct {
  readonly name: string
  readonly outlet: Outlet

  constructor(scope: Server | Switch, name: string, { outlet }: PowerSupplyProps) {
    super(scope, name)
    this.name = name
    this.outlet = outlet
  }
}
