/** What a drill has at hand: the hardware, and servers over SSH from the operator's desk. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { ServerPlan } from '#infra/site/plan.ts'
import { type Pings, pinging } from '../../lab/ping.ts'
import { pause, run, until } from '../../lab/shell.ts'
import { readSecret, secretFile } from '../../secrets.ts'
import { type Metal, metalAt } from '../client.ts'
import { type Ground, operator } from '../ground.ts'
import type { ServerStatus } from '../hardware.ts'
import type { Topology } from '../topology.ts'

export type Say = (text: string) => void

/** An emulated processor is slow: firmware, kernel and services of a full server together. */
export const boot_time_max_ms = 300_000
const ssh_time_max_s = 10
/** Steady before something is done, and after all is well. */
export const calm_ms = 3_000

export class Bench {
  readonly topology: Topology
  readonly metal: Metal
  readonly ground: Ground
  /** The server that is drilled, and all that are on. */
  readonly server: ServerPlan
  readonly running: readonly ServerPlan[]
  readonly say: Say

  constructor(ground: Ground, topology: Topology, server: ServerPlan, running: readonly ServerPlan[], say: Say) {
    this.ground = ground
    this.topology = topology
    this.metal = metalAt(ground)
    this.server = server
    this.running = running
    this.say = say
  }

  get #namespace() {
    return this.ground.namespaceOf(operator)
  }

  /** Runs a command line at the operator's desk. */
  desk(command: readonly string[], accept: readonly number[] = []): Promise<string> {
    return run('ip', ['netns', 'exec', this.#namespace, ...command], { accept })
  }

  /** Runs a command line on a server, as root. */
  ssh(server: ServerPlan, command: string, accept: readonly number[] = []): Promise<string> {
    const { address, port, user, secret } = server.access
    const folder = join(this.ground.folder, 'ssh')
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const options = {
      IdentitiesOnly: 'yes',
      BatchMode: 'yes',
      ConnectTimeout: ssh_time_max_s,
      ServerAliveInterval: 2,
      ServerAliveCountMax: 15,
      LogLevel: 'ERROR',
      // The deploy pins host keys; the drill is told by its own cables whom it reaches.
      StrictHostKeyChecking: 'no',
      UserKnownHostsFile: '/dev/null',
    }
    const words = Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`])
    const elevated = user === 'root' ? command : `sudo sh -c '${command.replaceAll("'", "'\\''")}'`
    const key = secretFile(this.ground.site, secret)
    return this.desk(['ssh', ...words, '-i', key, '-p', String(port), `${user}@${address}`, elevated], accept)
  }

  /** `ipmitool` at the desk. */
  ipmi(server: ServerPlan, words: readonly string[], path = 0): Promise<string> {
    const { paths, user, secret } = server.bmc
    const { address, port } = paths[path]!
    return this.desk([
      ...['ipmitool', '-I', 'lanplus', '-C', '3', '-N', '2', '-R', '2', '-H', address, '-p', String(port)],
      ...['-U', user, '-P', readSecret(this.ground.site, secret), ...words],
    ])
  }

  ping(server: ServerPlan): { stop(): Promise<Pings> } {
    return pinging(this.#namespace, server.access.address)
  }

  async status(server: ServerPlan = this.server): Promise<ServerStatus> {
    return (await this.metal.status()).servers.find(({ name }) => name === server.name)!
  }

  /** The link that a server's bond uses, as its switches hear it: `srv1/eth0`. */
  async activeLink(server: ServerPlan = this.server): Promise<string> {
    const { links } = await this.status(server)
    const active = links.find((one) => one.active)
    if (!active) throw new Error(`no switch hears ${server.name}: is it up?`)
    return `${server.name}/${active.name}`
  }

  /** Until SSH lets people in; gives how long that took. */
  async untilUp(server: ServerPlan = this.server): Promise<number> {
    const began = performance.now()
    let words = ''
    await until(
      `${server.name} lets people in`,
      boot_time_max_ms,
      async () => {
        words = await this.ssh(server, 'systemctl is-system-running', [1]).catch(() => '')
        if (words === '') this.say(`${server.name}: ${(await this.status(server)).console}`)
        return words !== ''
      },
      1_000,
    )
    return performance.now() - began
  }

  /** Shuts down in order, as a person would. */
  async shutDown(server: ServerPlan = this.server): Promise<void> {
    await this.ssh(server, 'systemctl poweroff', [255]).catch(() => {})
    await until(`${server.name} is off`, boot_time_max_ms, async () => (await this.status(server)).power === 'off', 500)
  }

  calm(): Promise<void> {
    return pause(calm_ms)
  }
}
