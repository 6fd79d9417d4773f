/** An emulated site's beginning and end. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { endGroups, endHardware, type HardwareProcess, pidOf, startHardware } from '../lab/hardware-process.ts'
import { attempt, run, until } from '../lab/shell.ts'
import { makeSecrets } from '../secrets.ts'
import { metalAt } from './client.ts'
import type { Ground } from './ground.ts'
import type { Options } from './options.ts'
import { requireMachine } from './requirements.ts'
import { emulated } from './site.ts'

const start_time_max_ms = 60_000

const hardwareOf = ({ site, pidFile, logFile }: Ground): HardwareProcess => ({
  script: 'scripts/metal/daemon.ts',
  args: [site],
  pidFile,
  logFile,
})

/** Starts what is not there yet; servers are off. Can be repeated. */
export async function up(ground: Ground, options: Options, say: (text: string) => void): Promise<void> {
  requireMachine(options)
  const { plan } = emulated(ground.site)
  if (pidOf(hardwareOf(ground)) === undefined) {
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
    startHardware(hardwareOf(ground))
    await until(`the hardware's process starts (its log is ${ground.logFile})`, start_time_max_ms, () =>
      existsSync(ground.controlSocket),
    )
  }
  await metalAt(ground).call('up', [], say)
}

/** Ends everything and removes what is left, also after a crash. `keep`: the drives stay, for the next `up`. */
export async function down(ground: Ground, keep: boolean, say: (text: string) => void): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('an emulated site is ended by root: sudo npm run metal -- down')
  await endHardware(hardwareOf(ground), () => metalAt(ground).call('stop'), say)
  await clean(ground, keep, say)
}

/** Removes all traces, whoever left them: processes, groups, mounts, namespaces, folders. */
async function clean(ground: Ground, keep: boolean, say: (text: string) => void): Promise<void> {
  const { groups, net, folder, drivesFolder } = ground
  await endGroups(groups)
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
