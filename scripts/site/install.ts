/** The first part of a deploy where servers come blank. */
import type { Plan, ServerPlan } from '#infra/site/plan.ts'
import { stackId } from '#infra/stacks/site-stack.ts'
import { cdktf } from '../cdktf.ts'
import { orderReinstall, provision } from '../provision/provision.ts'
import { LiveTable } from '../provision/table.ts'
import { confirmed } from './ask.ts'
import { remote } from './remote.ts'

const say = (text: string) => void process.stdout.write(`${text}\n`)

/** Before a line that is a finding: the process that started this one says them together at the end. */
export const finding_mark = '! '

/** What the stack's provisioner runs. Gives the exit code. */
export async function install(plan: Plan): Promise<number> {
  try {
    await provision(plan, say)
    return 0
  } catch (error) {
    for (const line of (error as Error).message.split('\n')) say(`${finding_mark}${line}`)
    return 1
  }
}

/** Installs what is not installed; gives whether anything was. */
export async function installServers(plan: Plan): Promise<boolean> {
  const stack = stackId(plan.site, 'install')
  if (!process.stdout.isTTY) return cdktf('deploy', stack)
  const table = new LiveTable(plan, process.stdout)
  try {
    return await cdktf('deploy', stack, (line) => table.say(line))
  } finally {
    table.end()
  }
}

export interface Reinstalls {
  /** To be confirmed by a person. */
  readonly ask: readonly string[]
  /** Confirmed by whoever wrote the command. */
  readonly yes: readonly string[]
}

/** A member that vanishes is fenced: its power would go in the middle of the installation. One that is dead was fenced before. */
async function leaveCluster(site: string, server: ServerPlan): Promise<void> {
  const leave = 'if systemctl --quiet is-active corosync; then systemctl stop pacemaker corosync && echo left; fi'
  const { code, out, error } = await remote(site, server, leave)
  if (code === 255) say(`${server.name} does not answer, and is taken for dead`)
  else if (code !== 0) throw new Error(`${server.name} does not leave the cluster: ${error || out}`)
  else if (out === 'left') say(`${server.name} left the cluster; what the cluster moves runs elsewhere`)
}

/** Takes the operator's word; throws when it was not given. */
export async function orderReinstalls(plan: Plan, { ask, yes }: Reinstalls): Promise<void> {
  const names = [...new Set([...ask, ...yes])]
  if (names.length > 0 && !plan.install)
    throw new Error(`site ${plan.site}: its servers come installed (the site has no install); nothing to install again`)
  for (const name of names)
    if (!plan.servers.some((server) => server.name === name))
      throw new Error(
        `site ${plan.site} has no server "${name}"; it has ${plan.servers.map((one) => one.name).join(', ')}`,
      )
  for (const name of ask.filter((other) => !yes.includes(other))) {
    await confirmed(
      `Everything on both drives of ${name} will be gone. Write its name again to go on: `,
      name,
      `--reinstall ${name} asks a person; in a script say --yes-reinstall ${name}`,
    )
  }
  for (const name of names) {
    await leaveCluster(plan.site, plan.servers.find((server) => server.name === name)!)
    orderReinstall(plan, name)
    say(`${name} will be installed again`)
  }
}
