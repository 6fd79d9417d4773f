/** What the tests of roles stand on: Ansible's own tools, and a site's inventory in a folder. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { Plan } from '#infra/site/plan.ts'
import { inventoryOf } from './inventory.ts'

export const folder = import.meta.dirname
const root = resolve(folder, '..')

/** Folder with ansible-playbook and ansible-lint. */
function tools(): string {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  for (const bin of [join(root, '.milepost/tools/ansible/bin'), join(cache, 'milepost/ansible/bin')])
    if (existsSync(join(bin, 'ansible-playbook'))) return bin
  throw new Error('ansible-playbook is missing: run node scripts/setup.mjs lab')
}

export interface Ran {
  readonly status: number
  /** stdout and stderr. */
  readonly output: string
}

/** Runs one of Ansible's tools in `ansible/`. */
export function ansible(tool: string, args: readonly string[], env: Record<string, string> = {}): Ran {
  const bin = tools()
  const run = spawnSync(join(bin, tool), args, {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, PATH: `${bin}:${process.env.PATH}`, ANSIBLE_CONFIG: join(folder, 'ansible.cfg'), ...env },
  })
  return { status: run.status ?? -1, output: `${run.stdout}${run.stderr}` }
}

/** Writes the inventory of a plan; gives the path of its file. */
export function writeInventory(plan: Plan, into: string): string {
  for (const [path, text] of Object.entries(inventoryOf(plan))) {
    mkdirSync(dirname(join(into, path)), { recursive: true })
    writeFileSync(join(into, path), text)
  }
  return join(into, 'inventory.yml')
}
