/**
 * Nodes of Cassandra on this machine. All that is known of them lies in a folder, so that each command finds what the one
 * before it left: `nodeN/` with `etc`, `data`, `log`, `pid`; `client.json` for services, `admin.json` for the operator.
 */
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { jars } from '#ansible/cassandra/jars.ts'
import {
  type CassandraNode,
  cassandra_ports,
  cassandraLogging,
  cassandraYaml,
  daemon_class,
  javaArguments,
  nodetool_class,
  nodetoolArguments,
  rackProperties,
} from '#infra/render/cassandra.ts'

export const cluster_name = 'milepost'
/** Three copies need three nodes. */
export const node_count = 3
const memory_mb = 640
/** A machine that does much else takes minutes to start three Javas. */
const start_time_max_ms = 600_000
const stop_time_max_ms = 30_000

/** Where a node lives. */
export interface Place {
  readonly address: string
  /** Command in front of a program that is to run there; empty: here. */
  readonly enter: readonly string[]
  readonly jmx: number
}

/** On the loopback device each node has an address of its own, and a port for its management. */
export const loopback: readonly Place[] = Array.from({ length: node_count }, (_, i) => ({
  address: `127.0.0.${i + 1}`,
  enter: [],
  jmx: cassandra_ports.jmx + i,
}))

export const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms))

/** Whether CQL is served there. */
export const answers = (address: string, port: number = cassandra_ports.cql): Promise<boolean> =>
  new Promise((done) => {
    const socket = connect({ host: address, port, timeout: 1_000 })
    const end = (fine: boolean) => {
      socket.destroy()
      done(fine)
    }
    socket.once('connect', () => end(true))
    socket.once('timeout', () => end(false))
    socket.once('error', () => end(false))
  })

/** For what a node is started: for minutes, two cores are better spent on starting than on optimising. */
export type Pace = 'short' | 'long'

export type NodeState = 'off' | 'starting' | 'serves' | 'paused'

export class Nodes {
  readonly folder: string
  readonly places: readonly Place[]
  readonly #java: string
  readonly #libraries: string

  constructor(folder: string, java: string, libraries: string, places: readonly Place[] = loopback) {
    this.folder = folder
    this.places = places
    this.#java = java
    this.#libraries = libraries
  }

  get addresses(): string[] {
    return this.places.map(({ address }) => address)
  }

  #place(n: number): Place {
    const place = this.places[n - 1]
    if (!place) throw new Error(`there is no node ${n}; there are 1 to ${this.places.length}`)
    return place
  }

  #path(n: number, ...names: string[]): string {
    return join(this.folder, `node${n}`, ...names)
  }

  /** Process of a node, if it lives. A number that another process got meanwhile is not it. */
  pid(n: number): number | undefined {
    this.#place(n)
    const file = this.#path(n, 'pid')
    if (!existsSync(file)) return undefined
    const pid = Number(readFileSync(file, 'utf8'))
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      // Empty for a moment while one program becomes the next: what enters the place, then Java.
      if (command !== '' && !command.includes(`@${this.#path(n, 'etc')}`)) return undefined
      return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8')) ? undefined : pid
    } catch {
      return undefined
    }
  }

  async state(n: number): Promise<NodeState> {
    const pid = this.pid(n)
    if (pid === undefined) return 'off'
    if (/\) T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))) return 'paused'
    return (await answers(this.#place(n).address)) ? 'serves' : 'starting'
  }

  /** Memory a node has now, MB. */
  memory(n: number): number {
    const pid = this.pid(n)
    if (pid === undefined) return 0
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
  }

  #node(n: number): CassandraNode {
    const { address, jmx } = this.#place(n)
    return {
      cluster: cluster_name,
      datacenter: 'local',
      rack: `rack${n}`,
      address,
      seeds: this.addresses,
      ports: { cql: cassandra_ports.cql, nodes: cassandra_ports.nodes, jmx },
      memory_mb,
      data: this.#path(n, 'data'),
      etc: this.#path(n, 'etc'),
      libraries: this.#libraries,
    }
  }

  /** Starts the process of a node; see `serving`. */
  start(n: number, pace: Pace = 'short'): void {
    if (this.pid(n) !== undefined) return
    const { enter } = this.#place(n)
    const etc = this.#path(n, 'etc')
    mkdirSync(etc, { recursive: true, mode: 0o700 })
    mkdirSync(this.#path(n, 'data'), { recursive: true, mode: 0o700 })
    const node = this.#node(n)
    const quick = [
      // On one machine there is nothing to wait for.
      '-Dcassandra.skip_wait_for_gossip_to_settle=0',
      '-Dcassandra.superuser_setup_delay_ms=0',
      ...(pace === 'short' ? ['-XX:TieredStopAtLevel=1'] : []),
    ]
    writeFileSync(
      join(etc, 'java.args'),
      `${quick.join('\n')}\n${javaArguments(
        node,
        jars().map(({ path }) => path),
      )}`,
    )
    writeFileSync(join(etc, 'cassandra.yaml'), cassandraYaml(node))
    writeFileSync(join(etc, 'cassandra-rackdc.properties'), rackProperties(node))
    writeFileSync(join(etc, 'logback.xml'), cassandraLogging())
    const log = openSync(this.#path(n, 'log'), 'a', 0o600)
    const [program, ...args] = [...enter, this.#java, `@${join(etc, 'java.args')}`, daemon_class]
    const child = spawn(program!, args, { detached: true, stdio: ['ignore', log, log], cwd: this.#path(n) })
    closeSync(log)
    child.unref()
    if (child.pid === undefined) throw new Error(`node ${n}: ${program} does not start`)
    writeFileSync(this.#path(n, 'pid'), `${child.pid}\n`)
  }

  /** Resolves when it answers CQL; rejects with the last words of its log when it ends instead. */
  async serving(n: number, say: (text: string) => void = () => {}): Promise<void> {
    const began = performance.now()
    let told = began
    while (!(await answers(this.#place(n).address))) {
      const now = performance.now()
      const seconds = Math.round((now - began) / 1000)
      if (this.pid(n) === undefined) throw new Error(`node ${n} ended while it started:\n${this.lastWords(n)}`)
      if (now - began > start_time_max_ms)
        throw new Error(`node ${n} does not serve after ${seconds} s: see ${this.#path(n, 'log')}`)
      if (now - told > 10_000) {
        told = now
        say(`  node ${n} starts … ${seconds} s`)
      }
      await pause(200)
    }
  }

  lastWords(n: number, lines = 12): string {
    const file = this.#path(n, 'log')
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').slice(-lines).join('\n') : 'it left no log'
  }

  #signal(n: number, signal: NodeJS.Signals): number {
    const pid = this.pid(n)
    if (pid === undefined) throw new Error(`node ${n} is off: npm run cassandra -- up starts it`)
    process.kill(pid, signal)
    return pid
  }

  /** As a power cut of its process: nothing is flushed. */
  async kill(n: number): Promise<void> {
    this.#signal(n, 'SIGKILL')
    while (this.pid(n) !== undefined) await pause(20)
  }

  pause(n: number): void {
    this.#signal(n, 'SIGSTOP')
  }

  resume(n: number): void {
    this.#signal(n, 'SIGCONT')
  }

  /** Ends all nodes, by force the one that does not end in time. */
  async stop(): Promise<void> {
    const nodes = this.places.map((_, i) => i + 1).filter((n) => this.pid(n) !== undefined)
    for (const n of nodes) {
      this.resume(n)
      this.#signal(n, 'SIGTERM')
    }
    const end = performance.now() + stop_time_max_ms
    for (const n of nodes) {
      while (this.pid(n) !== undefined && performance.now() < end) await pause(50)
      if (this.pid(n) !== undefined) await this.kill(n)
    }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** Cassandra's own tool on a node. Gives what it says; its exit code is thrown with it. */
  nodetool(n: number, args: readonly string[]): string {
    const { enter, jmx } = this.#place(n)
    mkdirSync(this.folder, { recursive: true, mode: 0o700 })
    const file = join(this.folder, 'nodetool.args')
    writeFileSync(
      file,
      nodetoolArguments(
        this.#libraries,
        jars().map(({ path }) => path),
      ),
    )
    const [program, ...rest] = [
      ...enter,
      this.#java,
      `@${file}`,
      nodetool_class,
      '-h',
      '127.0.0.1',
      '-p',
      String(jmx),
      ...args,
    ]
    const { status, stdout, stderr } = spawnSync(program!, rest, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`nodetool ${args.join(' ')}: ${(stderr || stdout).trim()}`)
    return stdout
  }
}
