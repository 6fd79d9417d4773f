/** A site ready for its stacks: plan, steps, blueprints, and the hash of what each step applies to each host. */
import { blueprintOf, stepHash, type VariablesOf } from '../render/blueprint.ts'
import type { Files } from '../render/difference.ts'
import { type Step, stepsOf } from '../stacks/steps.ts'
import type { Machines } from './machines.ts'
import type { Plan } from './plan.ts'
import { contentHash, releaseHash } from './release.ts'

export interface Deployment {
  readonly plan: Plan
  readonly steps: readonly Step[]
  /** Per host its files; `site` has what is nobody's alone. */
  readonly blueprints: ReadonlyMap<string, Files>
  readonly hashes: (step: Step) => Record<string, string>
}

export interface DeploymentOptions {
  readonly variablesOf: VariablesOf
  /** Hash of the services' code; absent: that of the tree. */
  readonly release?: string
  /** Which machines the servers are; a step is done again on one that was installed anew. */
  readonly machines?: Machines
  /** Hash of the code of a step's roles and playbooks; absent: that of the tree. */
  readonly codeOf?: (step: Step) => string
}

/** What a step without a host is hashed and recorded under. */
export const nobody = 'site'

export function deploymentOf(
  plan: Plan,
  { variablesOf, release, machines = {}, codeOf = ansibleHash }: DeploymentOptions,
): Deployment {
  const blueprints = new Map(
    plan.servers.map(({ name }): [string, Files] => [name, blueprintOf(plan, name, variablesOf)]),
  )
  const any = blueprints.values().next().value ?? new Map<string, string>()
  blueprints.set(nobody, new Map([...any].filter(([path]) => path.startsWith('channels/'))))
  // What is nobody's alone is kept by all of them.
  const machine = (host: string) => (host === nobody ? JSON.stringify(machines) : (machines[host] ?? ''))
  const code = new Map<string, string>()
  const hashes = (step: Step) => {
    const known = code.get(step.name) ?? codeOf(step)
    code.set(step.name, known)
    const all = step.release ? `${known} ${release ?? releaseHash()}` : known
    const hosts = step.hosts.length > 0 ? step.hosts : [nobody]
    return Object.fromEntries(
      hosts.map((host) => [host, stepHash(step, blueprints.get(host)!, `${all} ${machine(host)}`)]),
    )
  }
  return { plan, steps: stepsOf(plan), blueprints, hashes }
}

/** The roles and playbooks of a step, and what all roles stand on. */
function ansibleHash({ playbooks, roles }: Step): string {
  const everything = (name: string) => !/\.(md|pyc)$/.test(name)
  return contentHash(
    ['ansible/collections', ...roles.map((role) => `ansible/roles/${role}`)],
    everything,
    playbooks.map((playbook) => `ansible/playbooks/${playbook}.yml`),
  )
}
