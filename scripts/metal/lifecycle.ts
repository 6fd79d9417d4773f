/** An emulated site's beginning and end. */
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { attempt, run, until } from '../lab/shell.ts'
import { makeSecrets } from '../secrets.ts'
import { root as checkout } from '../state.ts'
import { metalAt } from './client.ts'
import type { Ground } from './ground.ts'
import type { Options } from './options.ts'
import { requireMachine } from './requirements.ts'
import { emulated } from './site.ts'

const start_time_max_ms = 60_000
const end_time_max_ms = 60_000

/** The hardware's process, if it lives. */
function daemonPid({ pidFile }: Ground): number | undefined {
  if (!existsSync(pidFile)) return undefined
  const pid = Number(readFileSync(pidFile, 'utf8'))
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('metal/daemon.ts') ? pid : undefined
  } catch {
    return undefined
  }
}

/** Starts what is not there yet; servers are off. Can be repeated. */
export async function up(ground: Ground, options: Options, say: (text: string) => void): Promise<void> {
  requireMachine(options)
  const { plan } = emulated(ground.site)
  if (daemonPid(ground) === undefined) {
    const left = await ground.net.namespaces()
    if (left.length > 0 && !existsSync(ground.folder))
      throw new Error(
        `another checkout emulates a site of this name (namespaces ${ground.prefix}…): end it there, or give this one a name with MILEPOST_METAL`,
      )
    await clean(ground, true, () => {})
    mkdirSync(ground.drivesFolder, { recursive: true, mode: 0o700 })
    if (options.drives === 'memory' && readdirSync(ground.drivesFolder).length === 0)
      await run('mount', ['-t', 'tmpfs', '-o', 'mode=0700', 'milepost-drives', ground.drivesFolder])
    writeFileSync(ground.optionsFile, `${JSON.stringify(options)}\n`)
    // Who buys BMCs sets their passwords: here that is us.
    makeSecrets(
      plan.site,
      plan.secrets
        .filter(({ name }) => plan.servers.some(({ bmc }) => bmc.secret === name))
        .map((secret) => ({ ...secret, origin: 'generated' as const })),
    )
    const log = openSync(ground.logFile, 'a')
    // As hardware it does not wait for a busy processor; what it starts is no hardware and waits as anybody does.
    const first =
      spawnSync('chrt', ['--fifo', '1', 'true']).status === 0 ? ['chrt', '--reset-on-fork', '--fifo', '1'] : []
    const [command, ...args] = [...first, process.execPath, join(checkout, 'scripts/metal/daemon.ts'), ground.site]
    const daemon = spawn(command!, args, { cwd: checkout, detached: true, stdio: ['ignore', log, log] })
    closeSync(log)
    writeFileSync(ground.pidFile, String(daemon.pid))
    daemon.unref()
    await until(`the hardware's process starts (its log is ${ground.logFile})`, start_time_max_ms, () =>
      existsSync(ground.controlSocket),
    )
  }
  await metalAt(ground).call('up', [], say)
}

/** Ends everything and removes what is left, also after a crash. `keep`: the drives stay, for the next `up`. */
export async function down(ground: Ground, keep: boolean, say: (text: string) => void): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('an emulated site is ended by root: sudo npm run metal -- down')
  const pid = daemonPid(ground)
  if (pid !== undefined) {
    let stopped = false
    const done = () => void (stopped = true)
    void metalAt(ground).call('stop').then(done, done)
    await until('the hardware ends', end_time_max_ms, () => stopped).catch((error) => say((error as Error).message))
    await until('the process ends', 2_000, () => daemonPid(ground) === undefined).catch(() =>
      process.kill(pid, 'SIGKILL'),
    )
  }
  await clean(ground, keep, say)
}

/** Removes all traces, whoever left them: processes, groups, mounts, namespaces, folders. */
async function clean(ground: Ground, keep: boolean, say: (text: string) => void): Promise<void> {
  const { groups, net, folder, drivesFolder } = ground
  for (const name of groups.groupNames())
    for (const pid of groups.processesOf(name)) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // Gone with its parent.
      }
    }
  const dead = () => groups.groupNames().every((name) => groups.processesOf(name).length === 0)
  await until('the processes end', end_time_max_ms, dead)
  // A process that has ended keeps its group busy for a moment.
  await until('the groups are gone', end_time_max_ms, () => {
    groups.removeGroup()
    return groups.groupNames().length === 0
  })
  for (const machine of await net.namespaces()) await net.removeNamespace(machine)
  if (!existsSync(folder)) return
  const mounted = readFileSync('/proc/self/mounts', 'utf8').includes(` ${drivesFolder} `)
  if (mounted && !keep) await attempt('umount', ['-l', drivesFolder])
  for (const name of readdirSync(folder))
    if (!(keep && join(folder, name) === drivesFolder)) rmSync(join(folder, name), { recursive: true, force: true })
  if (!keep) rmSync(folder, { recursive: true, force: true })
  say(keep ? 'only the drives are left' : 'nothing is left of the site')
}

/** What `down` would have to remove; empty: nothing is left. */
export async function leftovers(ground: Ground): Promise<string[]> {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n')
  return [
    ...(await ground.net.namespaces()).map((name) => `namespace ${name}`),
    ...ground.groups.groupNames().map((name) => `group ${name}`),
    ...mounts.filter((line) => line.includes(ground.folder)).map((line) => `mount ${line.split(' ')[1]}`),
    ...(existsSync(ground.folder) ? [`folder ${ground.folder}`] : []),
  ]
}
