/** A laboratory's beginning and end. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeSecrets } from '../secrets.ts'
import { root as checkout } from '../state.ts'
import { groupNames, processesOf, removeGroup, setFrozen } from './cgroup.ts'
import { callLab, isRunning } from './client.ts'
import { namespaces, removeNamespace } from './net.ts'
import { labFolder, logFile } from './paths.ts'
import { requireMachine } from './requirements.ts'
import { attempt, run, until } from './shell.ts'
import { lab_site, labPlan } from './site.ts'
import { forgetHostKeys, removeSshConfig, writeSshConfig } from './ssh.ts'

const pidFile = join(labFolder, 'lab.pid')
const start_time_max_ms = 10_000
const end_time_max_ms = 60_000

/** The laboratory's process, if it lives. */
function daemonPid(): number | undefined {
  if (!existsSync(pidFile)) return undefined
  const pid = Number(readFileSync(pidFile, 'utf8'))
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('lab/daemon.ts') ? pid : undefined
  } catch {
    return undefined
  }
}

/** Brings the rack to what the site file says, and starts what is off; resolves when every server is up. Can be repeated. */
export async function up(say: (text: string) => void): Promise<void> {
  requireMachine()
  const plan = labPlan()
  makeSecrets(plan.site, plan.secrets)
  if (daemonPid() === undefined) {
    const left = await namespaces()
    if (left.length > 0 && !existsSync(labFolder))
      throw new Error(
        `another laboratory runs on this machine (it has ${left.join(', ')}): end it in its checkout, or give this one a name with MILEPOST_LAB`,
      )
    await clean(() => {})
    mkdirSync(labFolder, { recursive: true, mode: 0o755 })
    forgetHostKeys()
    const log = openSync(logFile, 'a')
    // As hardware it does not wait for a busy processor; what it starts is no hardware and waits as anybody does.
    const first =
      spawnSync('chrt', ['--fifo', '1', 'true']).status === 0 ? ['chrt', '--reset-on-fork', '--fifo', '1'] : []
    const [command, ...args] = [...first, process.execPath, join(checkout, 'scripts/lab/daemon.ts')]
    const daemon = spawn(command!, args, {
      cwd: checkout,
      detached: true,
      stdio: ['ignore', log, log],
    })
    writeFileSync(pidFile, String(daemon.pid))
    daemon.unref()
    await until(`the laboratory's process starts (its log is ${logFile})`, start_time_max_ms, isRunning)
  }
  writeSshConfig(plan)
  await callLab('up', [JSON.stringify(plan)], say)
}

/** Ends everything and removes what is left, also after a crash. */
export async function down(say: (text: string) => void): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('a laboratory is ended by root: sudo npm run lab -- down')
  const pid = daemonPid()
  if (pid !== undefined) {
    let stopped = false
    void callLab('stop').then(
      () => (stopped = true),
      () => (stopped = true),
    )
    await until('the laboratory ends', end_time_max_ms, () => stopped).catch((error) => say((error as Error).message))
    await until('the process ends', 2_000, () => daemonPid() === undefined).catch(() => process.kill(pid, 'SIGKILL'))
  }
  await clean(say)
}

/** Removes all traces, whoever left them: processes, groups, mounts, namespaces, folders. */
async function clean(say: (text: string) => void): Promise<void> {
  for (const name of groupNames()) {
    for (const pid of processesOf(name)) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // Gone with its parent.
      }
    }
    try {
      setFrozen(name, false)
    } catch {
      // Not a server's group.
    }
  }
  await until('the processes end', end_time_max_ms, () => groupNames().every((name) => processesOf(name).length === 0))
  // A process that has ended keeps its group busy for a moment.
  await until('the groups are gone', end_time_max_ms, () => {
    removeGroup()
    return groupNames().length === 0
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
    ...groupNames().map((name) => `group ${name}`),
    ...mounts.map((line) => `mount ${line.split(' ')[1]}`),
    ...(existsSync(labFolder) ? [`folder ${labFolder}`] : []),
  ]
}
