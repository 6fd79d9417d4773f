import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What the deploying machine knows of a site's servers: an id that another installation does not have. */
export type Machines = Readonly<Record<string, string>>

export const machinesFile = (state: string, site: string) => join(state, 'sites', site, 'machines.json')

/** Folder of how far each server is from blank to ready, a file a server. */
export const serversFolder = (state: string, site: string) => join(state, 'sites', site, 'servers')

/** By server, how often the operator asked for it to be installed again. */
export function readReinstalled(state: string, site: string): Record<string, number> {
  const folder = serversFolder(state, site)
  if (!existsSync(folder)) return {}
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'))
  return Object.fromEntries(
    files.map((file) => [
      file.replace(/\.json$/, ''),
      (JSON.parse(readFileSync(join(folder, file), 'utf8')) as { reinstalled: number }).reinstalled,
    ]),
  )
}

/** Ids by server, as they were seen last; empty before the first deploy. */
export function readMachines(file: string): Machines {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Machines) : {}
}
