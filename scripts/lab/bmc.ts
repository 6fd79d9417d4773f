/** A server's management controller: `ipmi_sim` in a namespace of its own, alive as long as the server has mains, on or off. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, createWriteStream, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readSecret } from '../secrets.ts'
import { grouped } from './cgroup.ts'
import type { Fabric } from './fabric.ts'
import { bmcFolder, namespaceOf, socketFile } from './paths.ts'
import { until } from './shell.ts'
import type { WiredServer } from './wiring.ts'

/** The controller's own address on its internal bus. */
const mc = '0x20'
const sel_entries = 1_000
/** Sensor type 08h, power supply; reading 6Fh, sensor-specific. Bit 0: present, bit 3: input lost (IPMI 2.0, table 42-3). */
const power_supply = { type: 8, reading: '0x6f', present: 0, input_lost: 3 } as const
const entity_power_supply = 0x0a

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
    writeFileSync(join(folder, 'lan.conf'), this.#configuration(chassis), { mode: 0o600 })
    writeFileSync(join(folder, 'sensors.emu'), this.#sensors())
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
    const sensor = this.#wired.plan.power.findIndex((one) => one.supply === supply) + 1
    this.#child?.stdin?.write(`sensor_set_bit ${mc} 0 ${sensor} ${power_supply.input_lost} ${lost ? 1 : 0} 1\n`)
  }

  #configuration(chassis: string): string {
    const { plan } = this.#wired
    const password = readSecret(this.#site, plan.bmc.secret)
    const rights = ['callback', 'user', 'operator', 'admin'].map(
      (level) => `  allowed_auths_${level} none md2 md5 straight`,
    )
    return [
      `name "${plan.name}"`,
      `set_working_mc ${mc}`,
      '  startlan 1',
      ...plan.bmc.paths.map(({ address, port }) => `    addr ${address} ${port}`),
      '    priv_limit admin',
      ...rights.map((line) => `  ${line}`),
      `    guid ${createHash('md5').update(`bmc/${plan.name}`).digest('hex')}`,
      '  endlan',
      `  chassis_control "${chassis} ${mc}"`,
      `  user 2 true "${plan.bmc.user}" "${password}" admin 10 none md2 md5 straight`,
      '',
    ].join('\n')
  }

  #sensors(): string {
    const { plan } = this.#wired
    const lines = [
      `mc_setbmc ${mc}`,
      `mc_add ${mc} 0 has-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02`,
      `sel_enable ${mc} ${sel_entries} 0x0a`,
    ]
    for (const [i, { supply }] of plan.power.entries()) {
      const sensor = i + 1
      // Presence is no event; losing and regaining the input are.
      const bits = (bit: number) => (1 << bit).toString(2).padStart(15, '0')
      const shown = ((1 << power_supply.present) | (1 << power_supply.input_lost)).toString(2).padStart(15, '0')
      lines.push(
        `sensor_add ${mc} 0 ${sensor} ${power_supply.type} ${power_supply.reading}`,
        `sensor_set_bit ${mc} 0 ${sensor} ${power_supply.present} 1 0`,
        `sensor_set_event_support ${mc} 0 ${sensor} enable scanning per-state ${shown} ${shown} ${bits(power_supply.input_lost)} ${bits(power_supply.input_lost)}`,
        `main_sdr_add ${mc} ${record(sensor, `${supply} input`).join(' ')}`,
      )
    }
    return `${lines.join('\n')}\nmc_enable ${mc}\n`
  }
}

/** A compact sensor record (IPMI 2.0, table 43-2): makes the sensor appear by name in `ipmitool sdr`. */
function record(sensor: number, name: string): string[] {
  const text = [...Buffer.from(name.slice(0, 16), 'latin1')]
  const mask = 1 << power_supply.input_lost
  const shown = (1 << power_supply.present) | mask
  const body = [
    // Owner, its lun, sensor number.
    ...[0x20, 0, sensor],
    // Entity and instance, initialisation, capabilities, type and reading.
    ...[entity_power_supply, sensor, 0x67, 0xc0, power_supply.type, Number(power_supply.reading)],
    // Events that are asserted and deasserted, bits that can be read.
    ...[mask, 0, mask, 0, shown, 0],
    // Units, sharing, hysteresis, reserved, OEM.
    ...[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
    0xc0 | text.length,
    ...text,
  ]
  return [0, 0, 0x51, 0x02, body.length, ...body].map((byte) => `0x${byte.toString(16).padStart(2, '0')}`)
}
