/** A laboratory's beginning and end. */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { makeSecrets } from '../secrets.ts'
import { groups } from './cgroup.ts'
import { callLab, isRunning } from './client.ts'
import { endGroups, endHardware, type HardwareProcess, pidOf, startHardware } from './hardware-process.ts'
import { namespaces, removeNamespace } from './net.ts'
import { labFolder, logFile } from './paths.ts'
import { requireMachine } from './requirements.ts'
import { attempt, run, until } from './shell.ts'
import { lab_site, labPlan } from './site.ts'
import { forgetHostKeys, removeSshConfig, writeSshConfig } from './ssh.ts'

const hardware: HardwareProcess = {
  script: 'scripts/lab/daemon.ts',
  args: [],
  pidFile: join(labFolder, 'lab.pid'),
  logFile,
}
const start_time_max_ms = 10_000

/** Brings the rack to what the site file says, and starts what is off; resolves when every server is up. Can be repeated. */
export async function up(say: (text: string) => void): Promise<void> {
  requireMachine()
  const plan = labPlan()
  makeSecrets(plan.site, plan.secrets)
  if (pidOf(hardware) === undefined) {
    const left = await namespaces()
    if (left.length > 0 && !existsSync(labFolder))
      throw new Error(
        `another laboratory runs on this machine (it has ${left.join(', ')}): end it in its checkout, or give this one a name with MILEPOST_LAB`,
      )
    await clean(() => {})
    mkdirSync(labFolder, { recursive: true, mode: 0o755 })
    forgetHostKeys()
    startHardware(hardware)
    await until(`the laboratory's process starts (its log is ${logFile})`, start_time_max_ms, isRunning)
  }
  writeSshConfig(plan)
  await callLab('up', [JSON.stringify(plan)], say)
}

/** Ends everything and removes what is left, also after a crash. */
export async function down(say: (text: string) => void): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('a laboratory is ended by root: sudo npm run lab -- down')
  await endHardware(hardware, () => callLab('stop'), say)
  await clean(say)
}

/** Removes all traces, whoever left them: processes, groups, mounts, namespaces, folders. */
async function clean(say: (text: string) => void): Promise<void> {
  // What is frozen dies when it is thawed.
  await endGroups(groups, (name) => {
    try {
      groups.setFrozen(name, false)
    } catch {
      // Not a server's group.
    }
  })
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((mount) => mount.startsWith(`${labFolder}/`))
  for (const mount of mounts.reverse()) await attempt('umount', ['-l', mount])
  for (const machine of await namespaces()) await removeNamespace(machine)
  removeSshConfig(lab_site)
  rmSync(labFolder, { recursive: true, force: true })
  say('nothing is left of the laboratory')
}

/** What `down` would have to remove; empty: nothing is left. */
export async function leftovers(): Promise<string[]> {
  const mounts = (await run('cat', ['/proc/self/mounts'])).split('\n').filter((line) => line.includes(labFolder))
  return [
    ...(await namespaces()).map((name) => `namespace ${name}`),
    ...groups.groupNames().map((name) => `group ${name}`),
    ...mounts.map((line) => `mount ${line.split(' ')[1]}`),
    ...(existsSync(labFolder) ? [`folder ${labFolder}`] : []),
  ]
}
