import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What the deploying machine knows of a site's servers: an id that another installation does not have. */
export type Machines = Readonly<Record<string, string>>

export const machinesFile = (state: string, site: string) => join(state, 'sites', site, 'machines.json')

/** Ids by server, as they were seen last; empty before the first deploy. */
export function readMachines(file: string): Machines {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Machines) : {}
}
