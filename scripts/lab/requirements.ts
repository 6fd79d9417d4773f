/** Whether this machine can carry a laboratory; every miss is one sentence with its remedy. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { tools, wanted_suite } from './packages.ts'

const exists = (command: string) =>
  spawnSync('sh', ['-c', `command -v ${command}`], {
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  }).status === 0

/** Packages that are missing. */
export const missingPackages = (): string[] => [
  ...new Set(
    Object.entries(tools)
      .filter(([command]) => !exists(command))
      .map(([, name]) => name),
  ),
]

/** Throws the one sentence that says what is missing and what to do. */
export function requireMachine(): void {
  if (process.platform !== 'linux') throw new Error('the laboratory needs Linux: its servers are containers')
  if (process.getuid?.() !== 0)
    throw new Error('the laboratory makes network namespaces and mounts: run it as root (sudo npm run lab -- …)')
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
  if (!release.includes(`VERSION_CODENAME=${wanted_suite}`))
    throw new Error(`the laboratory is made on Debian 12 (${wanted_suite}): run it on such a machine, real or virtual`)
  const missing = missingPackages()
  if (missing.length > 0)
    throw new Error(`packages are missing: run "npm run lab -- install", or apt-get install ${missing.join(' ')}`)
}

/** Installs what is missing. */
export function install(say: (text: string) => void): void {
  const missing = missingPackages()
  if (missing.length === 0) return say('nothing is missing')
  if (process.getuid?.() !== 0) throw new Error('installing packages needs root: sudo npm run lab -- install')
  say(`apt-get install ${missing.join(' ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (...args: string[]) => spawnSync('apt-get', ['-qq', ...args], { env, encoding: 'utf8' })
  apt('update')
  const done = apt('install', '-y', '--no-install-recommends', ...missing)
  if (done.status !== 0)
    throw new Error(
      `apt-get could not install ${missing.join(' ')}: ${(done.stderr ?? '').trim().split('\n').slice(-3).join(' ')}`,
    )
}
