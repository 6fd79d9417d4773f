import { Construct } from 'constructs'
import type { DrivePlan } from '../site/plan.ts'
import type { Server } from './server.ts'
import { check } from './site.ts'
import { count } from './words.ts'

export interface RaidMirrorProps {
  readonly drives: readonly DrivePlan[]
  /** False: the machine delivers its drive ready-made. */
  readonly managed?: boolean
}

/** The two system drives as one (MD RAID-1). */
export class RaidMirror extends Construct {
  readonly name: string
  readonly drives: readonly DrivePlan[]
  readonly managed: boolean

  constructor(scope: Server, name: string, { drives, managed = true }: RaidMirrorProps) {
    super(scope, name)
    this.name = name
    this.drives = drives
    this.managed = managed
    check(this, () =>
      drives.length === 2
        ? []
        : [`server ${scope.name}: mirror ${name} has ${count(drives.length, 'drive')}; the system is on two`],
    )
  }
}
