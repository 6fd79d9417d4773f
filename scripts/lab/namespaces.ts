/** Network namespaces of a prefix, and a standing hand in each. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { attempt, run } from './shell.ts'

/** Hardware does not wait for a busy processor: what moves its lights runs before all else, where the kernel lets it. */
export const at_once = ['sh', '-c', 'chrt --fifo --pid 1 $$ 2>/dev/null; exec "$@"', 'sh'] as const

/** Printed last, it says that all before it is done. */
const marker = 'link show lo'
const marker_seen = /^\d+: lo: .*\n.*link\/loopback.*$/m

/** Makes a command line that runs in a control group. */
export type Grouped = (group: string, command: string, args: readonly string[]) => [string, string[]]

interface Work {
  readonly commands: readonly string[]
  readonly done: (errors: string) => void
}

/** A standing `ip` in a namespace: a change takes a millisecond, where a process a change takes tens on a busy machine. */
class Hand {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #queue: Work[] = []
  #ended: string | undefined
  #out = ''
  #errors = ''

  constructor(namespace: string, grouped: Grouped) {
    const [command, args] = grouped('fabric', at_once[0], [
      ...at_once.slice(1),
      ...['ip', '-force', '-n', namespace, '-batch', '-'],
    ])
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child.stdin.on('error', () => {})
    this.#child.stderr.on('data', (chunk: Buffer) => (this.#errors += chunk))
    this.#child.stdout.on('data', (chunk: Buffer) => {
      this.#out += chunk
      const seen = marker_seen.exec(this.#out)
      if (!seen) return
      this.#out = this.#out.slice(seen.index + seen[0].length)
      // What went to the other pipe before is read within the same turn of the loop.
      setImmediate(() => this.#finish(this.#errors))
    })
    this.#child.on('error', (error) => this.#end(error.message))
    this.#child.on('close', () => this.#end(`the namespace ${namespace} is gone`))
  }

  /** Its process is gone: with its namespace, or by a mishap. */
  get gone(): boolean {
    return this.#ended !== undefined
  }

  /** Gives what went wrong, empty: nothing. */
  do(commands: readonly string[]): Promise<string> {
    return new Promise((done) => {
      if (this.#ended !== undefined) return done(this.#ended)
      this.#queue.push({ commands, done })
      if (this.#queue.length === 1) this.#write()
    })
  }

  #write(): void {
    const [work] = this.#queue
    if (work) this.#child.stdin.write(`${[...work.commands, marker].join('\n')}\n`)
  }

  #finish(errors: string): void {
    this.#errors = ''
    this.#queue.shift()?.done(errors)
    this.#write()
  }

  #end(reason: string): void {
    this.#ended = reason
    for (const { done } of this.#queue.splice(0)) done(this.#errors || reason)
  }

  close(): void {
    this.#child.kill('SIGKILL')
  }
}

/** The namespaces whose names begin so; `grouped` puts the hands' processes into a control group. */
export function namespacesOf(prefix: string, grouped: Grouped) {
  const namespaceOf = (machine: string) => `${prefix}${machine}`
  const hands = new Map<string, Hand>()

  function hand(machine: string): Hand {
    const known = hands.get(machine)
    if (known && !known.gone) return known
    const made = new Hand(namespaceOf(machine), grouped)
    hands.set(machine, made)
    return made
  }

  /** Several `ip` commands in a machine's namespace, one after the other. */
  async function ip(machine: string, commands: readonly string[]): Promise<void> {
    if (commands.length === 0) return
    const errors = await hand(machine).do(commands)
    if (errors !== '') throw new Error(`${machine}: ip: ${errors.trim()}`)
  }

  /** As `ip`, for what may be gone or there already: each command is tried. */
  async function tryIp(machine: string, commands: readonly string[]): Promise<void> {
    if (commands.length > 0) await hand(machine).do(commands)
  }

  /** Runs a command in a machine's namespace. */
  const inside = (machine: string, command: string, args: readonly string[]) =>
    run('ip', ['netns', 'exec', namespaceOf(machine), command, ...args])

  function close(machine: string): void {
    hands.get(machine)?.close()
    hands.delete(machine)
  }

  async function addNamespace(machine: string): Promise<void> {
    const name = namespaceOf(machine)
    // One of a namespace of this name before is of no use.
    close(machine)
    await run('ip', ['netns', 'add', name])
    await ip(machine, ['link set lo up'])
    // A machine answers ARP for a device's own addresses alone and takes no route over a dead leg; a device that is
    // told to, announces its addresses: so a bond's change of leg is heard of at once.
    const settings = {
      'net.ipv4.conf.all.arp_notify': 1,
      'net.ipv4.conf.default.arp_notify': 1,
      'net.ipv4.conf.all.ignore_routes_with_linkdown': 1,
      'net.ipv6.conf.all.disable_ipv6': 0,
    }
    await inside(machine, 'sysctl', ['-qw', ...Object.entries(settings).map(([key, value]) => `${key}=${value}`)])
  }

  async function removeNamespace(machine: string): Promise<void> {
    // A process in it would keep it.
    close(machine)
    await attempt('ip', ['netns', 'del', namespaceOf(machine)])
  }

  /** Machines that have a namespace of the laboratory's. */
  async function namespaces(): Promise<string[]> {
    const list = (await attempt('ip', ['netns', 'list'])) ?? ''
    return list
      .split('\n')
      .map((line) => line.split(' ')[0]!)
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length))
  }

  return { ip, tryIp, inside, addNamespace, removeNamespace, namespaces }
}
