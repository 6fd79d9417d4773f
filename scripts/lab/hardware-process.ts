/** The process that plays hardware, of a laboratory or of an emulated site, and what is left of one that ended badly. */
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root as checkout } from '../state.ts'
import type { groupsOf } from './groups.ts'
import { until } from './shell.ts'

const end_time_max_ms = 60_000

export interface HardwareProcess {
  /** Relative to the checkout: `scripts/lab/daemon.ts`. */
  readonly script: string
  readonly args: readonly string[]
  readonly pidFile: string
  readonly logFile: string
}

/** Its number, if it lives. One that another process got meanwhile is not it. */
export function pidOf({ script, pidFile }: HardwareProcess): number | undefined {
  if (!existsSync(pidFile)) return undefined
  const pid = Number(readFileSync(pidFile, 'utf8'))
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(script) ? pid : undefined
  } catch {
    return undefined
  }
}

/** Starts it. As hardware it does not wait for a busy processor; what it starts is no hardware and waits as anybody does. */
export function startHardware({ script, args, pidFile, logFile }: HardwareProcess): void {
  const log = openSync(logFile, 'a')
  const first =
    spawnSync('chrt', ['--fifo', '1', 'true']).status === 0 ? ['chrt', '--reset-on-fork', '--fifo', '1'] : []
  const [command, ...rest] = [...first, process.execPath, join(checkout, script), ...args]
  const child = spawn(command!, rest, { cwd: checkout, detached: true, stdio: ['ignore', log, log] })
  closeSync(log)
  writeFileSync(pidFile, String(child.pid))
  child.unref()
}

/** Asks it to end, by force when it does not. */
export async function endHardware(
  hardware: HardwareProcess,
  stop: () => Promise<unknown>,
  say: (text: string) => void,
): Promise<void> {
  const pid = pidOf(hardware)
  if (pid === undefined) return
  let stopped = false
  const done = () => void (stopped = true)
  void stop().then(done, done)
  await until('the hardware ends', end_time_max_ms, () => stopped).catch((error) => say((error as Error).message))
  await until('its process ends', 2_000, () => pidOf(hardware) === undefined).catch(() => process.kill(pid, 'SIGKILL'))
}

/** Ends whatever runs in groups, and removes them. `killed` is called for each whose processes have their signal. */
export async function endGroups(
  groups: ReturnType<typeof groupsOf>,
  killed: (name: string) => void = () => {},
): Promise<void> {
  for (const name of groups.groupNames()) {
    for (const pid of groups.processesOf(name)) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // Gone with its parent.
      }
    }
    killed(name)
  }
  const dead = () => groups.groupNames().every((name) => groups.processesOf(name).length === 0)
  await until('the processes end', end_time_max_ms, dead)
  // A process that has ended keeps its group busy for a moment.
  await until('the groups are gone', end_time_max_ms, () => {
    groups.removeGroup()
    return groups.groupNames().length === 0
  })
}
