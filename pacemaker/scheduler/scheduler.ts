/**
 * Asks Pacemaker's own scheduler (crm_simulate) what the cluster does when things fail. Needs no running cluster, but
 * Debian's pacemaker-cli-utils.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Document } from '@xmldom/xmldom'
import type { ClusterInput } from '../input.ts'
import { actionsOf, runningOf, withoutFencing } from './result.ts'
import { failedStartIsFatal, faultyCib, onlineCib, parse } from './state.ts'

/** What fails. Empty: nothing does. */
export interface Faults {
  /** Nodes gone without a word: power, crash, cut off. They must be fenced. */
  readonly lost?: readonly string[]
  /** Nodes whose cluster was shut down in order. */
  readonly left?: readonly string[]
  readonly standby?: readonly string[]
  /** Nodes whose fencing fails. */
  readonly unfenceable?: readonly string[]
  readonly failed?: readonly FailedResource[]
  /** Gateways that do not see the router. */
  readonly blind?: readonly string[]
  /** The operator's: nothing is managed. */
  readonly maintenance?: boolean
  /** Resources that the operator stopped. */
  readonly disabled?: readonly string[]
}

/** A resource found dead. `stays`: it cannot be started there again; `cannot stop`: it cannot even be stopped. */
export interface FailedResource {
  readonly resource: string
  readonly node: string
  readonly after: 'restarts' | 'stays' | 'cannot stop'
}

/** What the cluster then does. */
export interface Outcome {
  readonly quorate: boolean
  readonly fenced: readonly string[]
  /** Nodes whose fencing fails; what they ran waits for it. */
  readonly waiting: readonly string[]
  /** In the scheduler's words and order, one a line. */
  readonly actions: readonly string[]
  /** In the end. A node that is lost and was not fenced is still taken to run what it ran. */
  readonly running: Running
}

export type Running = Readonly<Record<string, readonly Place[]>>
export interface Place {
  readonly node: string
  readonly role: 'Started' | 'Promoted' | 'Unpromoted'
}

/** Transitions until the cluster rests; one that needs more does not come to rest at all. */
const transitions_max = 8
/** Answers of agents: not running; a failure of any kind. */
const [notRunning, failure] = [7, 1]
const systemPath = '/usr/sbin:/usr/bin:/sbin:/bin'
const run = promisify(execFile)

interface Transition {
  readonly cib: string
  readonly graph: Document
  readonly actions: readonly string[]
  readonly running: Running
}

export class Scheduler {
  readonly input: ClusterInput
  readonly #folder = mkdtempSync(join(tmpdir(), 'milepost-scheduler-'))
  readonly #known = new Map<string, Promise<Outcome>>()
  #rest: Promise<Transition> | undefined
  #files = 0
  #free = availableParallelism()
  readonly #queue: (() => void)[] = []

  /** Its files go with the process, too. */
  readonly #leave = () => rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10 })

  constructor(input: ClusterInput) {
    this.input = input
    process.once('exit', this.#leave)
  }

  /** Different situations asked so far. */
  get situations(): number {
    return this.#known.size
  }

  /** Removes its files. */
  close(): void {
    process.off('exit', this.#leave)
    this.#leave()
  }

  /** What the cluster does when this happens to it at rest. The same faults are simulated once. */
  react(faults: Faults): Promise<Outcome> {
    const key = JSON.stringify(Object.entries(faults).sort())
    const outcome = this.#known.get(key) ?? this.#inTurn(() => this.#simulate(faults))
    this.#known.set(key, outcome)
    return outcome
  }

  /** Whether these nodes have a majority of the votes. */
  hasQuorum(nodes: readonly string[]): boolean {
    const { nodes: all, quorum } = this.input.cluster
    return all.reduce((sum, { name, votes }) => sum + (nodes.includes(name) ? votes : 0), 0) >= quorum.majority
  }

  async #simulate(faults: Faults): Promise<Outcome> {
    this.#rest ??= this.#comeToRest()
    const rest = await this.#rest
    const { lost = [], left = [], unfenceable = [], failed = [] } = faults
    const all = this.input.cluster.nodes.map(({ name }) => name)
    const quorate = this.hasQuorum(all.filter((name) => !lost.includes(name) && !left.includes(name)))
    const always = [`--quorum=${quorate ? 1 : 0}`, ...failed.flatMap(keepsFailing)]
    const events = [
      ...lost.map((node) => `--node-fail=${node}`),
      ...left.map((node) => `--node-down=${node}`),
      ...failed.map(
        (one) => `--op-inject=${one.resource}_monitor_${this.#interval_ms(one.resource)}@${one.node}=${notRunning}`,
      ),
    ]
    const first = await this.#transition(faultyCib(rest.cib, this.input, faults), [...always, ...events])
    const waiting = quorate ? lost.filter((node) => unfenceable.includes(node)) : []
    if (waiting.length > 0) {
      const { fenced, actions, running } = withoutFencing(first.graph, waiting, rest.running)
      return { quorate, fenced, waiting, actions, running }
    }
    // Without a quorum it stops what it can; what it would like to do then is of no interest.
    if (!quorate) return { quorate, fenced: [], waiting, actions: first.actions, running: first.running }
    const actions = [...first.actions]
    let last = first
    for (let round = 1; last.actions.length > 0; round++) {
      if (round > transitions_max)
        throw new Error(`the cluster does not come to rest after ${JSON.stringify(faults)}: ${last.actions.join('; ')}`)
      last = await this.#transition(failedStartIsFatal(last.cib), always)
      actions.push(...last.actions)
    }
    const fenced = actions.filter((line) => line.startsWith('fence ')).map((line) => line.split(' ')[1]!)
    return { quorate, fenced, waiting, actions, running: last.running }
  }

  /** All nodes there, everything started. */
  #comeToRest(): Promise<Transition> {
    return this.#transition(onlineCib(this.input), ['--quorum=1'])
  }

  #interval_ms(resource: string): number {
    return resource.startsWith('fence-') ? 60_000 : this.input.cluster.resources.monitor_interval_s * 1_000
  }

  async #transition(cib: string, options: readonly string[]): Promise<Transition> {
    const name = join(this.#folder, String(this.#files++))
    const [before, after, graph] = [`${name}.in.xml`, `${name}.out.xml`, `${name}.graph.xml`]
    await writeFile(before, cib)
    const command = ['-x', before, '-S', '-O', after, '-G', graph, '--output-as=xml', ...options]
    const result = parse(await simulated(command, options.includes('--quorum=0')))
    const transition = {
      cib: await readFile(after, 'utf8'),
      graph: parse(await readFile(graph, 'utf8')),
      actions: actionsOf(result),
      running: runningOf(result),
    }
    await Promise.all([before, after, graph].map((path) => rm(path)))
    return transition
  }

  /** As many at once as there are processors. */
  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    while (this.#free === 0) await new Promise<void>((resolve) => this.#queue.push(resolve))
    this.#free--
    try {
      return await work()
    } finally {
      this.#free++
      this.#queue.shift()?.()
    }
  }
}

/** Copies of a clone are numbered, and the scheduler may mean any of them. */
function keepsFailing({ resource, node, after }: FailedResource): string[] {
  if (after === 'restarts') return []
  const operation = after === 'stays' ? 'start' : 'stop'
  return ['', ':0', ':1'].map((copy) => `--op-fail=${resource}${copy}_${operation}_0@${node}=${failure}`)
}

/**
 * What crm_simulate prints. Without a quorum it ends with exit 1 when the transition cannot be finished, because stops wait
 * for nodes that nobody may fence; its answer is whole all the same. With a quorum that is a fault of the configuration.
 */
async function simulated(options: readonly string[], unfinished: boolean): Promise<string> {
  try {
    return (await run('crm_simulate', options, { env: { PATH: systemPath }, maxBuffer: 1 << 26 })).stdout
  } catch (error) {
    const { code, stdout } = error as { code?: number; stdout?: string }
    if (unfinished && code === 1 && stdout?.trimEnd().endsWith('</pacemaker-result>')) return stdout
    throw error
  }
}
