/** Configuration of `ipmi_sim`, a management controller as a process: IPMI over LAN, its chassis, its power supplies. Pure. */
import { createHash } from 'node:crypto'

/** The controller's own address on its internal bus. */
export const mc = '0x20'
const sel_entries = 1_000
/** Sensor type 08h, power supply; reading 6Fh, sensor-specific. Bit 0: present, bit 3: input lost (IPMI 2.0, table 42-3). */
const power_supply = { type: 8, reading: '0x6f', present: 0, input_lost: 3 } as const
const entity_power_supply = 0x0a

export interface Controller {
  readonly server: string
  readonly user: string
  readonly password: string
  /** Where it listens. */
  readonly paths: readonly { readonly address: string; readonly port: number }[]
  /** Program that is called with `0x20 get|set NAME VALUE …` and prints `NAME:VALUE`. */
  readonly chassis: string
  /** TCP port on 127.0.0.1 where QEMU brings the server's own system interface; absent: it has none. */
  readonly system_port?: number
}

/** The file for `ipmi_sim -c`. It has the password in it. */
export function controllerConfiguration({ server, user, password, paths, chassis, system_port }: Controller): string {
  const rights = ['callback', 'user', 'operator', 'admin'].map(
    (level) => `  allowed_auths_${level} none md2 md5 straight`,
  )
  return [
    `name "${server}"`,
    `set_working_mc ${mc}`,
    // A channel has one address.
    ...paths.flatMap(({ address, port }, i) => [
      `  startlan ${i + 1}`,
      `    addr ${address} ${port}`,
      '    priv_limit admin',
      ...rights.map((line) => `  ${line}`),
      `    guid ${createHash('md5').update(`bmc/${server}`).digest('hex')}`,
      '  endlan',
    ]),
    `  chassis_control "${chassis} ${mc}"`,
    ...(system_port === undefined ? [] : [`  serial 15 127.0.0.1 ${system_port} codec VM`]),
    `  user 2 true "${user}" "${password}" admin 10 none md2 md5 straight`,
    '',
  ].join('\n')
}

/** The file for `ipmi_sim -f`: a sensor a power supply, and the event log. */
export function sensorCommands(supplies: readonly string[]): string {
  const lines = [
    `mc_setbmc ${mc}`,
    `mc_add ${mc} 0 has-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02`,
    `sel_enable ${mc} ${sel_entries} 0x0a`,
  ]
  for (const [i, supply] of supplies.entries()) {
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

/** What its standard input is told when the n-th supply (from 0) loses or regains its input. */
export const inputLost = (supply: number, lost: boolean) =>
  `sensor_set_bit ${mc} 0 ${supply + 1} ${power_supply.input_lost} ${lost ? 1 : 0} 1\n`

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
