/** The root that every server is installed from: a plain Debian with what the roles need already fetched, made once and kept. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cached, services_off, system, wanted_suite } from './packages.ts'
import { cacheFolder } from './paths.ts'
import { attempt, run } from './shell.ts'

/** Grows when what is done to a fresh root below changes. */
const recipe = 4

const hashOfRoot = () =>
  createHash('sha256')
    .update(JSON.stringify([recipe, wanted_suite, system, cached, services_off]))
    .digest('hex')
    .slice(0, 12)

export const rootFolder = () => join(cacheFolder, `lab-root-${hashOfRoot()}`)

/** This machine's own Debian sources: a server is installed from where its host is. */
function sources(): string[] {
  const folder = '/etc/apt/sources.list.d'
  const files = [
    '/etc/apt/sources.list',
    ...(existsSync(folder) ? readdirSync(folder).map((file) => join(folder, file)) : []),
  ]
  const found = files.filter(
    (file) =>
      /\.(list|sources)$/.test(file) &&
      existsSync(file) &&
      new RegExp(`(^|[ \\t])${wanted_suite}\\b.*`, 'm').test(readFileSync(file, 'utf8')),
  )
  // A file of another repository may name the suite too; Debian's names its main component.
  return found.filter(
    (file) => /\bmain\b/.test(readFileSync(file, 'utf8')) && /debian/i.test(readFileSync(file, 'utf8')),
  )
}

/** Debian with these packages in a new folder. Its apt lists go along: a role that installs what is there finds it without a network. */
export async function bootstrap(
  folder: string,
  packages: readonly string[],
  options: readonly string[] = [],
): Promise<void> {
  const from = sources()
  if (from.length === 0) throw new Error(`/etc/apt names no source of Debian ${wanted_suite}; add one`)
  await run('nice', [
    '-n',
    '5',
    'mmdebstrap',
    '--quiet',
    '--variant=apt',
    '--format=directory',
    '--aptopt=APT::Install-Recommends "false"',
    '--dpkgopt=path-exclude=/usr/share/man/*',
    '--dpkgopt=path-exclude=/usr/share/doc/*',
    '--dpkgopt=path-exclude=/usr/share/locale/*',
    `--include=${packages.join(',')}`,
    '--skip=cleanup/apt/lists',
    ...options,
    wanted_suite,
    folder,
    ...from,
  ])
}

/** Makes the root unless it is there. Gives its folder. */
export async function makeRoot(say: (text: string) => void): Promise<string> {
  const root = rootFolder()
  if (existsSync(root)) return root
  mkdirSync(cacheFolder, { recursive: true })
  // Another checkout may make the same root at the same time; the first that is whole is taken.
  const unfinished = `${root}.${process.pid}`
  rmSync(unfinished, { recursive: true, force: true })
  const began = performance.now()
  const timer = setInterval(
    () => say(`the servers' root is being made (once) … ${Math.round((performance.now() - began) / 1000)} s`),
    10_000,
  )
  say(`the servers' root is being made (once): ${system.length + cached.length} packages and what they need`)
  try {
    await bootstrap(unfinished, [...system, ...cached])
    await finish(unfinished)
    if (existsSync(root)) rmSync(unfinished, { recursive: true, force: true })
    else renameSync(unfinished, root)
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true })
    throw error
  } finally {
    clearInterval(timer)
  }
  // Another laboratory's servers may stand on an older one.
  const mounted = readFileSync('/proc/mounts', 'utf8')
  for (const old of readdirSync(cacheFolder).filter(
    (name) => /^lab-root-[0-9a-f]{12}$/.test(name) && join(cacheFolder, name) !== root && !mounted.includes(name),
  ))
    rmSync(join(cacheFolder, old), { recursive: true, force: true })
  say(`the servers' root is made, ${Math.round((performance.now() - began) / 1000)} s`)
  return root
}

/** A laboratory's server: the clock and the console are the machine's, and it has no disks to trim or check. */
async function finish(root: string): Promise<void> {
  await settle(root)
  for (const unit of ['console-getty.service', 'e2scrub_all.timer', 'fstrim.timer'])
    await run('systemctl', [`--root=${root}`, 'mask', '--quiet', unit])
}

/** As an installer leaves a server: a network that is managed, SSH for root by key, and nothing on that nobody asked for. */
export async function settle(root: string): Promise<void> {
  const enable = (unit: string) => run('systemctl', [`--root=${root}`, 'enable', '--quiet', unit])
  // The package makes a set of databases of its own; an installer would not have one.
  await run('chroot', [root, 'pg_dropcluster', '15', 'main'])
  for (const unit of services_off) await attempt('systemctl', [`--root=${root}`, 'disable', '--quiet', unit])
  await enable('systemd-networkd.service')
  await enable('ssh.service')
  await run('systemctl', [`--root=${root}`, 'mask', '--quiet', 'systemd-networkd-wait-online.service'])
  for (const timer of ['apt-daily.timer', 'apt-daily-upgrade.timer', 'man-db.timer', 'dpkg-db-backup.timer'])
    await attempt('systemctl', [`--root=${root}`, 'disable', '--quiet', timer])
  writeFileSync(join(root, 'etc/ssh/sshd_config.d/installer.conf'), 'PasswordAuthentication no\nUseDNS no\n')
  for (const file of ['ssh_host_rsa_key', 'ssh_host_ecdsa_key', 'ssh_host_ed25519_key'])
    for (const end of ['', '.pub']) rmSync(join(root, 'etc/ssh', file + end), { force: true })
  rmSync(join(root, 'etc/resolv.conf'), { force: true })
  writeFileSync(join(root, 'etc/resolv.conf'), '')
  writeFileSync(join(root, 'etc/machine-id'), '')
}
