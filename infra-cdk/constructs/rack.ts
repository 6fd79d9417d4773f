import { Construct } from 'constructs'
import type { Site } from './site.ts'

export interface RackProps {
  /** Height in rack units. */
  readonly units: number
  /** For the operator: room, row, place. */
  readonly position: string
}

/** A rack: its switches, PDUs and servers are made in it. */
export class Rack extends Construct {
  readonly name: string
  readonly units: number
  readonly position: string

  constructor(scope: Site, name: string, { units, position }: RackProps) {
    super(scope, name)
    if (!(Number.isInteger(units) && units >= 1 && units <= 60))
      throw new Error(`rack ${name}: units ${units} is not between 1 and 60`)
    this.name = name
    this.units = units
    this.position = position
  }
}
