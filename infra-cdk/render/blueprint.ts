/**
 * What each host is to be, as files: the roles' variables and the configuration files that roles install.
 * It is compared with what was applied last (`npm run site -- diff`), and hashed to see whether a step has anything to do.
 */
import { createHash } from 'node:crypto'
import { stringify } from 'yaml'
import type { Plan } from '../site/plan.ts'
import type { Step } from '../stacks/steps.ts'
import type { Files } from './difference.ts'
import { renderHost } from './render.ts'

/** Roles that install files of another folder than their own. */
const roleOfFolder: Readonly<Record<string, string>> = { distribution: 'gateway', conntrack: 'gateway' }

/** Variables of a host by name; a variable belongs to the role whose name it begins with. */
export type VariablesOf = (plan: Plan, host: string) => Readonly<Record<string, unknown>>

/** The longest of the roles' names that a variable begins with: `postgres_client_port` is not of `postgres`. */
export function roleOfVariable(variable: string, roles: readonly string[]): string | undefined {
  return roles
    .filter((role) => variable.startsWith(`${role}_`))
    .toSorted((a, b) => b.length - a.length)
    .at(0)
}

/** `base`, `node_service`, …: all that variables may belong to; `milepost` is every role's. */
export const allRoles = [
  'milepost',
  'base',
  'network',
  'bond',
  'raid1',
  'power',
  'hardware',
  'firewall',
  'cluster',
  'gateway',
  'archive',
  'postgres',
  'postgres_client',
  'cassandra',
  'node_service',
  'channels',
  'logs',
  'metrics',
] as const

/** The files of a host: `ROLE/variables.yml`, and what its roles install. */
export function blueprintOf(plan: Plan, host: string, variablesOf: VariablesOf): Files {
  const files = new Map<string, string>()
  const byRole = Map.groupBy(
    Object.entries(variablesOf(plan, host)).filter(([name]) => !name.startsWith('ansible_')),
    ([name]) => roleOfVariable(name, allRoles),
  )
  for (const [role, variables] of byRole) {
    if (role === undefined)
      throw new Error(`host ${host}: variable ${variables[0]?.[0]} begins with the name of no role`)
    files.set(`${role}/variables.yml`, stringify(Object.fromEntries(variables), { aliasDuplicateObjects: false }))
  }
  for (const [path, text] of renderHost(plan, host)) files.set(path, text)
  return new Map([...files].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** The role that a file of a blueprint belongs to. */
export function roleOfFile(path: string): string {
  const folder = path.split('/')[0]!
  return roleOfFolder[folder] ?? folder
}

/** The part of a host's blueprint that a step applies. */
export function partOf(step: Step, blueprint: Files): Files {
  return new Map([...blueprint].filter(([path]) => ['milepost', ...step.roles].includes(roleOfFile(path))))
}

/** SHA-256 over exactly what a step applies to a host, and the code that does so. */
export function stepHash(step: Step, blueprint: Files, code: string): string {
  const hash = createHash('sha256').update(code)
  for (const [path, text] of partOf(step, blueprint)) hash.update(`\0${path}\0`).update(text)
  return hash.digest('hex')
}
