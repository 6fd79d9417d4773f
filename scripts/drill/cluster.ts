/** What the drills know of the cluster: who is active, and whether everything is there twice again. */
import type { Plan } from '#infra/site/plan.ts'
import { hardware } from '../lab/client.ts'
import { enter, peek } from '../lab/look.ts'
import type { RackStatus } from '../lab/rack.ts'

/** What crm_mon says, as far as it matters here. */
export interface ClusterView {
  quorum: boolean
  nodes: { name: string; online: boolean; well: boolean }[]
  resources: { id: string; role: string; nodes: string[]; failed: boolean }[]
}

/** Reads crm_mon's XML. Pure. */
export function clusterView(xml: string): ClusterView {
  const nodes = [...xml.matchAll(/<node name="([^"]+)"[^>]*? online="(\w+)"([^>]*)>/g)].map(
    ([, name, online, rest]) => ({
      name: name!,
      online: online === 'true',
      well: !/(standby|maintenance|pending|unclean|shutdown)="true"/.test(rest!),
    }),
  )
  const resources = [...xml.matchAll(/<resource id="([^"]+)"([^>]*?)(?:\/>|>([\s\S]*?)<\/resource>)/g)].map(
    ([, id, attributes, body = '']) => ({
      id: id!,
      role: /\brole="([^"]+)"/.exec(attributes!)?.[1] ?? '',
      nodes: [...body.matchAll(/<node name="([^"]+)"/g)].map(([, name]) => name!),
      failed: /\bfailed="true"/.test(attributes!),
    }),
  )
  return { quorum: /<current_dc[^>]*with_quorum="true"/.test(xml), nodes, resources }
}

/** Links to other members that are not connected, from `corosync-cfgtool -s`. Pure. */
export const brokenLinks = (text: string): string[] =>
  [...text.matchAll(/nodeid:?\s+(\d+):\s+(\w+)/g)]
    .filter(([, , state]) => state === 'disconnected')
    .map(([, id]) => id!)

export class ClusterWatch {
  /** What must be there; another one when the site changed. */
  plan: Plan

  constructor(plan: Plan) {
    this.plan = plan
  }

  get gateways(): string[] {
    return this.plan.servers.filter(({ role }) => role === 'gateway').map(({ name }) => name)
  }

  /** Addresses that the active gateway holds. */
  get addresses(): string[] {
    return this.plan.virtual_addresses.filter(({ role }) => role === 'gateway').map(({ address }) => address)
  }

  /** The gateway that holds the external address; throws when none or more than one does. */
  async active(): Promise<string> {
    const external = this.plan.virtual_addresses.find(({ purpose }) => purpose === 'external')!
    const holders = await hardware.holders(external.address)
    if (holders.length !== 1)
      throw new Error(`the external address ${external.address} is on ${holders.join(' and ') || 'no gateway'}`)
    return holders[0]!
  }

  /** All that is not there twice, or not well, in words; empty: full redundancy. */
  async weaknesses(): Promise<string[]> {
    const status = await hardware.status()
    const found = hardwareWeaknesses(status)
    if (found.length > 0) return found
    const pid = (name: string) => status.servers.find((server) => server.name === name)!.pid!
    const xml = await peek(pid(this.plan.cluster.nodes[0]!.name), ['crm_mon', '--output-as=xml', '-1', '-r'])
    if (xml === undefined) return ['the cluster does not answer']
    const view = clusterView(xml)
    if (!view.quorum) found.push('no quorum')
    for (const { name } of this.plan.cluster.nodes) {
      const node = view.nodes.find((one) => one.name === name)
      if (!node?.online || !node.well) found.push(`${name} is ${node?.online ? 'not ready' : 'offline'}`)
    }
    for (const { id, role, failed } of view.resources) {
      if (failed) found.push(`${id} failed`)
      else if (!['Started', 'Promoted', 'Unpromoted'].includes(role)) found.push(`${id} is ${role.toLowerCase()}`)
    }
    if (view.resources.length === 0) found.push('no resources')
    if (found.length > 0) return found
    const more = await Promise.all([
      ...this.plan.cluster.nodes.map(async ({ name }) => {
        const links = await peek(pid(name), ['corosync-cfgtool', '-s'])
        if (links === undefined) return [`${name}: corosync does not answer`]
        return brokenLinks(links).map((id) => `${name}: a link to member ${id} is down`)
      }),
      ...this.#hosts().map(async (host) => {
        const urls = this.plan.environment.instances
          .filter((one) => one.host === host && one.type !== 'postgres')
          .map(({ instance, type, address, port }) => ({
            instance,
            url: `http://${address}:${type === 'mbus' ? port + 1 : port}/readyz`,
          }))
        const bad = await Promise.all(
          urls.map(async ({ instance, url }) =>
            (await peek(pid(host), ['curl', '-sf', '-m', '2', '-o', '/dev/null', url])) === undefined
              ? instance
              : undefined,
          ),
        )
        return bad.filter((one) => one !== undefined).map((instance) => `${instance} is not ready`)
      }),
    ])
    return more.flat()
  }

  #hosts(): string[] {
    return [...new Set(this.plan.environment.instances.map(({ host }) => host))]
  }

  /** Whether all members hold the same configuration and state; in words what differs, or undefined. */
  async sameCib(): Promise<string | undefined> {
    const { servers } = await hardware.status()
    const versions = await Promise.all(
      this.plan.cluster.nodes.map(async ({ name }) => {
        const pid = servers.find((server) => server.name === name)?.pid
        const text =
          pid === undefined ? undefined : await peek(pid, ['cibadmin', '--query', '--local', '--no-children'])
        return ['admin_epoch', 'epoch', 'num_updates']
          .map((key) => new RegExp(` ${key}="(\\d+)"`).exec(text ?? '')?.[1])
          .join('.')
      }),
    )
    if (new Set(versions).size === 1) return undefined
    return this.plan.cluster.nodes.map(({ name }, i) => `${name} ${versions[i]}`).join(', ')
  }

  /** Runs a command in a server, network or not. */
  async enter(server: string, command: readonly string[]): Promise<string> {
    const { servers } = await hardware.status()
    const pid = servers.find(({ name }) => name === server)?.pid
    if (pid === undefined) throw new Error(`${server} is off`)
    return enter(pid, command)
  }
}

function hardwareWeaknesses(status: RackStatus): string[] {
  return [
    ...status.servers.flatMap((server) => [
      ...(server.power === 'off' ? [`${server.name} is off`] : server.booted ? [] : [`${server.name} boots`]),
      ...(server.frozen ? [`${server.name} is frozen`] : []),
      ...server.legs
        .filter(({ light }) => light !== 'on')
        .map(({ name, light }) => `${server.name}:${name} is ${light}`),
      ...server.supplies.filter(({ on }) => !on).map(({ name }) => `${server.name}:${name} is off`),
      ...(server.bmc.alive && server.bmc.light === 'on' ? [] : [`${server.name}: its BMC is away`]),
    ]),
    ...status.switches.filter(({ on }) => !on).map(({ name }) => `${name} is off`),
    ...status.feeds.filter(({ on }) => !on).map(({ name }) => `feed ${name} is off`),
    ...status.cables.filter(({ light }) => light !== 'on').map(({ name, light }) => `${name} is ${light}`),
  ]
}
