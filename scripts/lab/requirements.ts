/** Whether this machine can carry a laboratory; every miss is one sentence with its remedy. */
import { existsSync, readFileSync } from 'node:fs'
import { installPackages, packagesMissing } from './apt.ts'
import { tools, wanted_suite } from './packages.ts'

/** Packages that are missing. */
export const missingPackages = (): string[] => packagesMissing(tools)

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
export const install = (say: (text: string) => void): void =>
  installPackages(missingPackages(), 'npm run lab -- install', say)
