/** Debian packages that this machine lacks for what is emulated on it. */
import { spawnSync } from 'node:child_process'

/** Whether a program is in the path, or among those of root. */
const exists = (command: string) =>
  spawnSync('sh', ['-c', `command -v ${command}`], {
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  }).status === 0

/** Packages whose programs are missing; `tools`: package by program. */
export const packagesMissing = (tools: Readonly<Record<string, string>>): string[] => [
  ...new Set(
    Object.entries(tools)
      .filter(([command]) => !exists(command))
      .map(([, name]) => name),
  ),
]

/** Throws with apt's last lines when it could not. `command`: how this is asked for. */
export function installPackages(missing: readonly string[], command: string, say: (text: string) => void): void {
  if (missing.length === 0) return say('nothing is missing')
  if (process.getuid?.() !== 0) throw new Error(`installing packages needs root: sudo ${command}`)
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
