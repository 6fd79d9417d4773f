/** What the stacks' provisioners call: one step of a deploy. Every step can be repeated. */
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { makeLibraryRelease } from '#ansible/cassandra/release.ts'
import { makeRelease } from '#ansible/release.ts'
import { partOf, roleOfFile } from '#infra/render/blueprint.ts'
import { nobody } from '#infra/site/deployment.ts'
import type { Plan } from '#infra/site/plan.ts'
import type { StackName, Step } from '#infra/stacks/steps.ts'
import { makeSecrets } from '../secrets.ts'
import { state } from '../state.ts'
import { runAnsible } from './ansible.ts'
import { appliedFolder, readFiles, renderedFolder, siteFolder, writeFiles } from './folders.ts'
import { deploymentNamed, planNamed, renderedFiles } from './site.ts'

const say = (text: string) => void process.stdout.write(`${text}\n`)

/** Renders the site and makes the secrets that are missing. */
export function prepare(site: string): void {
  const plan = planNamed(site)
  makeSecrets(site, plan.secrets)
  writeFiles(renderedFolder(site), renderedFiles(plan))
}

/** Before the first step of a stack: the hosts answer. */
export async function begin(site: string, stack: StackName): Promise<void> {
  if (stack !== 'hardware') return
  prepare(site)
  await runAnsible({ site, playbooks: ['preflight'], hosts: [] })
  say(`all servers of ${site} answer`)
}

/** Applies a step to its hosts, and notes what they have now. */
export async function apply(site: string, name: string): Promise<void> {
  const { steps, blueprints, hashes } = deploymentNamed(site)
  const step = steps.find((other) => other.name === name)
  if (!step)
    throw new Error(`site ${site} has no step "${name}"; it has ${steps.map((other) => other.name).join(', ')}`)
  prepare(site)
  const began = Date.now()
  const hosts = Object.entries(hashes(step))
  const cutShort = hosts.some(([host]) => readFiles(appliedFolder(site, host)).get(stepFile(step)) === unfinished)
  if (step.playbooks.includes('cassandra')) await makeLibraryRelease(join(state, 'releases'), say)
  const variables = {
    ...(step.release ? { node_service_release: makeRelease(join(state, 'releases')).hash } : {}),
    ...(cutShort ? { milepost_unfinished: true } : {}),
  }
  for (const [host] of hosts) note(site, step, host, unfinished)
  const recap = await runAnsible({ site, playbooks: step.playbooks, hosts: step.hosts, variables })
  for (const [host, hash] of hosts) note(site, step, host, `${hash}\n`, partOf(step, blueprints.get(host)!))
  const changed = recap.reduce((sum, host) => sum + host.changed, 0)
  say(`${changed === 0 ? 'nothing to change' : `${changed} changed`}, ${((Date.now() - began) / 1_000).toFixed(1)} s`)
}

/** Notes how far a step is on a host; `part`: what the host has of it now, absent: as before. */
function note(site: string, step: Step, host: string, how: string, part?: ReadonlyMap<string, string>): void {
  const folder = appliedFolder(site, host)
  const replaced = (path: string) => step.roles.includes(roleOfFile(path)) || path.startsWith('milepost/')
  const kept = [...readFiles(folder)].filter(([path]) => part === undefined || !replaced(path))
  writeFiles(folder, new Map([...kept, ...(part ?? []), [stepFile(step), how]]))
}

/** Forgets what was applied to servers that the site no longer has: one that comes back under the name is another. */
export function forgetServers({ site, servers }: Plan): void {
  const folder = join(siteFolder(site), 'applied')
  const kept = new Set([...servers.map(({ name }) => name), nobody])
  for (const name of existsSync(folder) ? readdirSync(folder) : [])
    if (!kept.has(name)) rmSync(join(folder, name), { recursive: true })
}

/** Stands for the hash while a step runs, and after one that failed or was cut short. */
export const unfinished = 'unfinished\n'
/** Holds the hash of what a step applied to a host. */
export const stepFile = (step: Step) => `steps/${step.name}`

/** Takes away what a stack's steps made; a host that does not answer is passed over: it may be gone for good. */
export async function remove(site: string, stack: StackName): Promise<void> {
  const { steps } = deploymentNamed(site)
  prepare(site)
  const own = steps.filter((step) => step.stack === stack)
  const playbooks = [...new Set(own.flatMap((step) => step.playbooks))].toReversed()
  await runAnsible({ site, playbooks: ['remove'], hosts: [], variables: { milepost_remove: playbooks } })
  for (const host of [...new Set(own.flatMap(({ hosts }) => hosts)), nobody]) {
    const folder = appliedFolder(site, host)
    const names = new Set(own.map(stepFile))
    const roles = new Set(own.flatMap((step) => step.roles))
    writeFiles(
      folder,
      new Map([...readFiles(folder)].filter(([path]) => !names.has(path) && !roles.has(roleOfFile(path)))),
    )
  }
  say(`what stack ${stack} made is taken away`)
}
