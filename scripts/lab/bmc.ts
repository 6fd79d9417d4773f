/** A server's management controller: `ipmi_sim` in a namespace of its own, alive as long as the server has mains, on or off. */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, createWriteStream, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readSecret } from '../secrets.ts'
import { grouped } from './cgroup.ts'
import type { Fabric } from './fabric.ts'
import { controllerConfiguration, inputLost, sensorCommands } from './ipmi.ts'
import { bmcFolder, namespaceOf, socketFile } from './paths.ts'
import { until } from './shell.ts'
import type { WiredServer } from './wiring.ts'

export class Bmc {
  readonly #site: string
  readonly #wired: WiredServer
  readonly #fabric: Fabric
  readonly #say: (text: string) => void
  #child: ChildProcess | undefined
  #lost = new Set<string>()

  constructor(site: string, wired: WiredServer, fabric: Fabric, say: (text: string) => void) {
    this.#site = site
    this.#wired = wired
    this.#fabric = fabric
    this.#say = say
  }

  get alive(): boolean {
    return this.#child !== undefined
  }

  async start(): Promise<void> {
    if (this.#child) return
    const { plan, bmc } = this.#wired
    const folder = bmcFolder(plan.name)
    mkdirSync(join(folder, 'state'), { recursive: true })
    const chassis = join(folder, 'chassis')
    // ipmi_sim calls it with "0x20 get|set NAME VALUE …" and reads "NAME:VALUE".
    writeFileSync(
      chassis,
      `#!/bin/sh\nexec curl -sf -m 30 --unix-socket '${socketFile}' --data "$*" http://lab/chassis/${plan.name}\n`,
    )
    chmodSync(chassis, 0o700)
    const { user, paths, secret } = plan.bmc
    const password = readSecret(this.#site, secret)
    const configuration = controllerConfiguration({ server: plan.name, user, password, paths, chassis })
    writeFileSync(join(folder, 'lan.conf'), configuration, { mode: 0o600 })
    writeFileSync(join(folder, 'sensors.emu'), sensorCommands(plan.power.map(({ supply }) => supply)))
    await this.#fabric.plug(bmc)
    const [command, args] = grouped(`bmc-${plan.name}`, 'ip', [
      'netns',
      'exec',
      namespaceOf(bmc.name),
      'ipmi_sim',
      '-c',
      join(folder, 'lan.conf'),
      '-f',
      join(folder, 'sensors.emu'),
      '-s',
      join(folder, 'state'),
    ])
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    const log = createWriteStream(join(folder, 'bmc.log'), { flags: 'a' })
    child.stdout.pipe(log, { end: false })
    child.stderr.pipe(log, { end: false })
    child.stdin.on('error', () => {})
    child.on('error', (error) => this.#say(`${bmc.name}: ${error.message}`))
    child.on('close', (code, signal) => {
      log.end()
      if (this.#child !== child) return
      this.#child = undefined
      this.#say(`${bmc.name}: ended with ${code ?? signal}`)
    })
    this.#child = child
    for (const supply of this.#lost) this.#tell(supply, true)
  }

  /** No mains: it is gone. */
  async stop(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    child?.kill('SIGKILL')
    if (child)
      await until(`${this.#wired.bmc.name} ends`, 5_000, () => child.exitCode !== null || child.signalCode !== null, 5)
    await this.#fabric.unplug(this.#wired.bmc)
  }

  /** Says which power supplies have no input; each change is a line of the event log. */
  setLost(supplies: ReadonlySet<string>): void {
    for (const { supply } of this.#wired.plan.power) {
      if (supplies.has(supply) !== this.#lost.has(supply)) this.#tell(supply, supplies.has(supply))
    }
    this.#lost = new Set(supplies)
  }

  #tell(supply: string, lost: boolean): void {
    this.#child?.stdin?.write(
      inputLost(
        this.#wired.plan.power.findIndex((one) => one.supply === supply),
        lost,
      ),
    )
  }
}
