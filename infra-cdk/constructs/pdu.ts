import { Construct } from 'constructs'
import type { PowerFeed } from './power-feed.ts'
import type { Rack } from './rack.ts'

export interface PduProps {
  readonly feed: PowerFeed
  readonly outlets: number
}

/** A socket of a PDU. */
export interface Outlet {
  readonly pdu: Pdu
  readonly outlet: number
}

/** A power distribution unit: brings one feed to a rack. */
export class Pdu extends Construct {
  readonly name: string
  readonly feed: PowerFeed
  readonly outlets: number

  constructor(scope: Rack, name: string, { feed, outlets }: PduProps) {
    super(scope, name)
    this.name = name
    this.feed = feed
    this.outlets = outlets
  }

  outlet(outlet: number): Outlet {
    if (!(Number.isInteger(outlet) && outlet >= 1 && outlet <= this.outlets))
      throw new Error(`pdu ${this.name}: there is no outlet ${outlet}; it has ${this.outlets}`)
    return { pdu: this, outlet }
  }
}
