/** A network of its own for each node, so that the way between two of them can be cut while both go on living. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import { cassandra_ports } from '#infra/render/cassandra.ts'
import { attempt, run, until } from '../lab/shell.ts'
import { node_count, type Place } from './cluster.ts'

/** Addresses for measuring networks (RFC 2544): nobody has them, and here they do not leave the namespace. */
const network = '198.18.53'
const bridge = 'cassandra'
/** Set for the program that runs inside. */
const inside = 'MILEPOST_CASSANDRA_NAMESPACE'

export const isInside = () => process.env[inside] === '1'

/** Command that runs a program where it has networks and processes of its own: what it leaves ends with it. */
export function private_(command: readonly string[]): { command: string[]; env: NodeJS.ProcessEnv } {
  const root = process.getuid?.() === 0
  const own = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']
  return {
    command: ['unshare', ...(root ? [] : ['--user', '--map-root-user']), ...own, ...command],
    // The distribution's tools come first: npm packages have commands of the same names.
    env: { ...process.env, [inside]: '1', PATH: `/usr/sbin:/sbin:${process.env.PATH}` },
  }
}

export class Fabric {
  readonly #holders: ChildProcess[] = []
  readonly places: Place[] = []

  /** Only within `private_`: it makes devices. */
  static async make(): Promise<Fabric> {
    const fabric = new Fabric()
    await run('ip', ['link', 'set', 'lo', 'up'])
    await run('ip', ['link', 'add', bridge, 'type', 'bridge'])
    await run('ip', ['address', 'add', `${network}.254/24`, 'dev', bridge])
    await run('ip', ['link', 'set', bridge, 'up'])
    const outside = readlinkSync('/proc/self/ns/net')
    for (let n = 1; n <= node_count; n++) {
      const holder = spawn('unshare', ['--net', 'sleep', 'infinity'], { stdio: 'ignore' })
      fabric.#holders.push(holder)
      const place = `/proc/${holder.pid}/ns/net`
      await until(`the namespace of node ${n}`, 10_000, () => readlinkSync(place) !== outside)
      const enter = ['nsenter', `--net=${place}`, '--']
      const [, ...into] = enter
      await run('ip', ['link', 'add', `node${n}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${holder.pid}`])
      await run('ip', ['link', 'set', `node${n}`, 'master', bridge, 'up'])
      const address = `${network}.${n}`
      await run('nsenter', [...into, 'ip', 'link', 'set', 'lo', 'up'])
      await run('nsenter', [...into, 'ip', 'address', 'add', `${address}/24`, 'dev', 'eth0'])
      await run('nsenter', [...into, 'ip', 'link', 'set', 'eth0', 'up'])
      fabric.places.push({ address, enter, jmx: cassandra_ports.jmx })
    }
    return fabric
  }

  #nft(n: number, rules: string): Promise<string> {
    const [program, ...args] = [...this.places[n - 1]!.enter, 'nft', '-f', '-']
    return run(program!, args, { input: rules })
  }

  /** Nothing passes between two nodes any more, and neither is told so. */
  async cut(a: number, b: number): Promise<void> {
    const drop = (from: number) =>
      `table ip cut {\n chain input {\n type filter hook input priority 0;\n ip saddr ${this.places[from - 1]!.address} drop;\n }\n}\n`
    await Promise.all([this.#nft(a, drop(b)), this.#nft(b, drop(a))])
  }

  async mend(a: number, b: number): Promise<void> {
    for (const n of [a, b]) await this.#nft(n, 'delete table ip cut\n').catch(() => {})
  }

  async remove(): Promise<void> {
    for (const holder of this.#holders) holder.kill('SIGKILL')
    await attempt('ip', ['link', 'delete', bridge])
  }
}
