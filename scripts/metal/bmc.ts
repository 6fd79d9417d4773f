/** A server's management controller: `ipmi_sim` in a namespace of its own, alive as long as the server has mains, on or off. */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, createWriteStream, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { controllerConfiguration, inputLost, sensorCommands } from '../lab/ipmi.ts'
import { until } from '../lab/shell.ts'
import { readSecret } from '../secrets.ts'
import { bmcMachine, type Ground } from './ground.ts'
import type { WiredServer } from './topology.ts'

/** In the controller's namespace, where nothing else listens. */
const system_port = 9_002
const end_time_max_ms = 5_000

export class Bmc {
  readonly #ground: Ground
  readonly #wired: WiredServer
  readonly #say: (text: string) => void
  #children: ChildProcess[] = []
  #lost = new Set<string>()

  constructor(ground: Ground, wired: WiredServer, say: (text: string) => void) {
    this.#ground = ground
    this.#wired = wired
    this.#say = say
  }

  get alive(): boolean {
    return this.#children.length > 0
  }

  /** Power supplies that its sensors say have no input. */
  get lost(): ReadonlySet<string> {
    return this.#lost
  }

  async start(): Promise<void> {
    if (this.alive) return
    const { plan } = this.#wired
    const folder = this.#ground.bmcFolder(plan.name)
    // Its event log lives there, and outlives a loss of power.
    mkdirSync(join(folder, 'state'), { recursive: true })
    const chassis = join(folder, 'chassis')
    const call = `curl -sf -m 30 --unix-socket '${this.#ground.controlSocket}' --data "$*"`
    writeFileSync(chassis, `#!/bin/sh\nexec ${call} http://metal/chassis/${plan.name}\n`)
    chmodSync(chassis, 0o700)
    const { user, secret, paths } = plan.bmc
    const password = readSecret(this.#ground.site, secret)
    const configuration = controllerConfiguration({ server: plan.name, user, password, paths, chassis, system_port })
    writeFileSync(join(folder, 'lan.conf'), configuration, { mode: 0o600 })
    writeFileSync(join(folder, 'sensors.emu'), sensorCommands(plan.power.map(({ supply }) => supply)))
    const simulator = this.#spawn(
      ['ipmi_sim', '-c', join(folder, 'lan.conf'), '-f', join(folder, 'sensors.emu')].concat(
        '-s',
        join(folder, 'state'),
      ),
    )
    // The server's own way to it crosses from one namespace to another.
    const socket = this.#ground.systemSocket(plan.name)
    rmSync(socket, { force: true })
    const relay = this.#spawn(['socat', `UNIX-LISTEN:${socket},fork`, `TCP:127.0.0.1:${system_port}`])
    this.#children = [simulator, relay]
    simulator.on('close', (code, signal) => {
      if (!this.#children.includes(simulator)) return
      this.#children = []
      relay.kill('SIGKILL')
      this.#say(`the BMC of ${plan.name} ended with ${code ?? signal}`)
    })
    for (const supply of this.#lost) this.#tell(supply, true)
  }

  #spawn(command: readonly string[]): ChildProcess {
    const { name } = this.#wired.plan
    const [program, args] = this.#ground.inside(`bmc-${name}`, bmcMachine(name), command)
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    const log = createWriteStream(join(this.#ground.bmcFolder(name), 'bmc.log'), { flags: 'a' })
    child.stdout.pipe(log, { end: false })
    child.stderr.pipe(log, { end: false })
    child.stdin.on('error', () => {})
    child.on('error', (error) => this.#say(`${command[0]} of ${name}: ${error.message}`))
    child.on('close', () => log.end())
    return child
  }

  /** No mains: it is gone. */
  async stop(): Promise<void> {
    const children = this.#children
    this.#children = []
    for (const child of children) child.kill('SIGKILL')
    const ended = () => children.every(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null)
    await until(`the BMC of ${this.#wired.plan.name} ends`, end_time_max_ms, ended, 5)
  }

  /** Says which power supplies have no input; each change is a line of the event log. */
  setLost(supplies: ReadonlySet<string>): void {
    for (const { supply } of this.#wired.plan.power)
      if (supplies.has(supply) !== this.#lost.has(supply)) this.#tell(supply, supplies.has(supply))
    this.#lost = new Set(supplies)
  }

  #tell(supply: string, lost: boolean): void {
    const index = this.#wired.plan.power.findIndex((one) => one.supply === supply)
    this.#children[0]?.stdin?.write(inputLost(index, lost))
  }
}
