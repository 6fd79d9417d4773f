import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** A place to deploy to, described once. */
export interface Site {
  name: string
  /** First of the environment's ports. */
  base_port: number
  /** How many of each process type. */
  processes: Record<string, number>
  /** Options of a process type over its defaults. */
  options: Record<string, Record<string, unknown>>
  /** Channels that are there from the first deploy on. */
  channels: { name: string; protocol: string; port: number; policy: 'open' | 'registered' }[]
}

const root = resolve(import.meta.dirname, '..')

/** Problems of a site, in words that name the field and the remedy; empty: none. */
export function siteProblems(site: Site): string[] {
  const problems: string[] = []
  if (!/^[a-z][a-z0-9-]*$/.test(site.name))
    problems.push(`site "${site.name}": the name has lower-case letters, digits and - only`)
  if (!(site.base_port >= 1_024 && site.base_port <= 64_000))
    problems.push(`site ${site.name}: base_port ${site.base_port} is not between 1024 and 64000`)
  const ports = new Map<number, string>()
  for (const { name, port } of site.channels) {
    const other = ports.get(port)
    if (other !== undefined) problems.push(`channel ${name}: port ${port} is that of channel ${other}`)
    ports.set(port, name)
    if (port >= site.base_port && port < site.base_port + 100)
      problems.push(`channel ${name}: port ${port} is among the services' ports; use ${site.base_port + 100} or above`)
  }
  for (const [type, count] of Object.entries(site.processes)) {
    if (!Number.isInteger(count) || count < 0)
      problems.push(`site ${site.name}: processes.${type} is ${count}; it must be a whole number`)
  }
  return problems
}

/** SHA-256 over what a release is made of: the code and the exact versions of its libraries. */
export function releaseHash(): string {
  const hash = createHash('sha256')
  const files = ['services', 'pvm'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.(ts|pvm)$/.test(entry.name) && !entry.name.endsWith('.test.ts'))
      .map((entry) => join(entry.parentPath, entry.name)),
  )
  for (const file of [...files, join(root, 'package-lock.json')].sort())
    hash.update(file.slice(root.length)).update('\0').update(readFileSync(file)).update('\0')
  return hash.digest('hex').slice(0, 16)
}
