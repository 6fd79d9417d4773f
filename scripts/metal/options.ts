/** What is emulated differently from how it is built: sizes that a laptop can carry. */
import { existsSync, readFileSync } from 'node:fs'
import { type Firmware, firmwares } from '#infra/site/plan.ts'

export interface Options {
  /** Memory of a server. */
  readonly memory_mb: number
  /** One: a kernel for one is emulated with less. */
  readonly cpus: number
  /** Size of each drive; files are sparse. */
  readonly drive_gb: number
  /** Where drives lie: files in the state folder, or memory. */
  readonly drives: 'files' | 'memory'
  /** `tcg` runs everywhere; `kvm` where the machine has it. */
  readonly accel: 'tcg' | 'kvm'
  /** Of all servers; absent: each has what the site says. */
  readonly firmware?: Firmware
}

export const defaults: Options = {
  memory_mb: 2_048,
  cpus: 1,
  drive_gb: 4,
  drives: 'files',
  accel: 'tcg',
}

/** Smallest that an installer still works with. */
const memory_mb_min = 256
const drive_gb_max = 2_000

function whole(name: string, text: string, least: number, most: number): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < least || value > most)
    throw new Error(`--${name} ${text}: a whole number from ${least} to ${most}`)
  return value
}

function among<T extends string>(name: string, text: string, words: readonly T[]): T {
  if (!words.includes(text as T)) throw new Error(`--${name} ${text}: one of ${words.join(', ')}`)
  return text as T
}

/** From the command line; throws with the option that is wrong. */
export function optionsOf(values: Readonly<Record<string, string | boolean | undefined>>): Options {
  const text = (name: string, otherwise: string | number) => String(values[name] ?? otherwise)
  return {
    memory_mb: whole('memory-mb', text('memory-mb', defaults.memory_mb), memory_mb_min, 65_536),
    cpus: whole('cpus', text('cpus', defaults.cpus), 1, 64),
    drive_gb: whole('drive-gb', text('drive-gb', defaults.drive_gb), 1, drive_gb_max),
    drives: among('drives', text('drives', defaults.drives), ['files', 'memory']),
    accel: among('accel', text('accel', defaults.accel), ['tcg', 'kvm']),
    ...(values.firmware === undefined ? {} : { firmware: among('firmware', String(values.firmware), firmwares) }),
  }
}

/** Those of the site that is up. */
export const readOptions = (file: string): Options =>
  existsSync(file) ? { ...defaults, ...(JSON.parse(readFileSync(file, 'utf8')) as Partial<Options>) } : defaults
