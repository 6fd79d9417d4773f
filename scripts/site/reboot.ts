/** Boots the servers of a site one after the other, the site whole before each; stops at the first that is not well after it. */
import type { Plan, ServerPlan } from '#infra/site/plan.ts'
import { placeOf } from '../provision/compare.ts'
import { runAnsible } from './ansible.ts'
import { prepare } from './apply.ts'
import { remote } from './remote.ts'

const say = (text: string) => void process.stdout.write(`${text}\n`)

/** Those that carry least come first; of the gateways the active one last, so that the addresses move but once. Pure. */
export function rebootOrder(servers: readonly ServerPlan[], active: string | undefined): string[] {
  const turn = ({ name, role }: ServerPlan) =>
    role === 'archive' ? 0 : role === 'server' ? 1 : name === active ? 3 : 2
  return servers.toSorted((a, b) => turn(a) - turn(b)).map(({ name }) => name)
}

/** What is said when the one at `at` did not come back well. Pure. */
export function stoppedText(plan: Plan, order: readonly string[], at: number, why: string): string {
  const server = plan.servers.find(({ name }) => name === order[at])!
  const bmc = server.bmc.paths.map(({ address }) => address).join(' or ')
  return [
    `${placeOf(server)} was not booted, or is not well after it:`,
    ...why.split('\n').map((line) => `  ${line}`),
    `Left as they were: ${order.slice(at + 1).join(', ') || 'none'}. If ${server.name} is in standby, nothing that the cluster moves runs there until it is well.`,
    `Look at its console, power and cables (BMC ${bmc}), mend it, switch it on, then go on with`,
    `  npm run site -- reboot ${plan.site} ${order.slice(at).join(' ')}`,
  ].join('\n')
}

export interface Reboot {
  /** In this order; empty: all, in ours. */
  readonly names: readonly string[]
  /** How long a server may take until its system answers; s. */
  readonly wait_s?: number
}

export async function reboot(plan: Plan, { names, wait_s }: Reboot): Promise<void> {
  for (const name of names)
    if (!plan.servers.some((server) => server.name === name))
      throw new Error(
        `site ${plan.site} has no server "${name}"; it has ${plan.servers.map((one) => one.name).join(', ')}`,
      )
  prepare(plan.site)
  const order = names.length > 0 ? names : rebootOrder(plan.servers, await activeGateway(plan))
  say(`in this order: ${order.join(', ')}`)
  for (const [at, name] of order.entries()) {
    const server = plan.servers.find((one) => one.name === name)!
    const began = Date.now()
    say(placeOf(server))
    try {
      await runAnsible({
        site: plan.site,
        playbooks: ['reboot'],
        hosts: [],
        variables: { server: name, ...(wait_s === undefined ? {} : { reboot_seconds: wait_s }) },
        say: (line) => say(`  ${line}`),
      })
    } catch (error) {
      throw new Error(stoppedText(plan, order, at, (error as Error).message))
    }
    say(`  back, and all is whole, ${((Date.now() - began) / 1_000).toFixed(1)} s`)
  }
}

/** The gateway that has the external address, if one answers. */
async function activeGateway({ site, servers, virtual_addresses }: Plan): Promise<string | undefined> {
  const external = virtual_addresses.find(({ purpose }) => purpose === 'external')?.address
  for (const server of servers.filter(({ role }) => role === 'gateway')) {
    const { out } = await remote(site, server, 'ip -4 -oneline address show')
    if (out.includes(` ${external}/`)) return server.name
  }
  return undefined
}
