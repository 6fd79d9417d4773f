/** A site's folder on the machine that deploys: what was rendered, what was applied last, and the secrets. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import type { Files } from '#infra/render/difference.ts'
import { state } from '../state.ts'

export const siteFolder = (site: string) => join(state, 'sites', site)
export const renderedFolder = (site: string) => join(siteFolder(site), 'rendered')
/** What the last deploys applied, per host: what `diff` compares with. */
export const appliedFolder = (site: string, host: string) => join(siteFolder(site), 'applied', host)
/** OpenSSH's configuration to reach the servers, where plain SSH does not do: the laboratory's, a jump host's. */
export const sshConfigFile = (site: string) => join(siteFolder(site), 'ssh_config')

/** Host keys of the site's servers: those that we installed are in it from the beginning. */
export const knownHostsFile = (site: string) => join(siteFolder(site), 'known_hosts')

/** Notes the host key of a server, `ssh-ed25519 AAAA…`, under these names in the place of the one before. The file need not be there. */
export function noteHostKey(file: string, names: readonly string[], port: number, key: string): void {
  const shown = names.map((name) => (port === 22 ? name : `[${name}]:${port}`)).join(',')
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
  const others = lines.filter((line) => line !== '' && line.split(' ')[0] !== shown)
  writeFileSync(file, `${[...others, `${shown} ${key}`].join('\n')}\n`)
}

/** What SSH to the site's servers is told on every call. */
export function sshArguments(site: string): string[] {
  const config = sshConfigFile(site)
  if (existsSync(config)) return ['-F', config]
  const known = existsSync(knownHostsFile(site)) ? ['-o', `UserKnownHostsFile="${knownHostsFile(site)}"`] : []
  return [...known, '-o', 'StrictHostKeyChecking=accept-new']
}

/** All files below a folder by their paths from it; a folder that is absent has none. */
export function readFiles(folder: string): Map<string, string> {
  if (!existsSync(folder)) return new Map()
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const paths = entries.map((entry) => relative(folder, join(entry.parentPath, entry.name))).sort()
  return new Map(paths.map((path) => [path, readFileSync(join(folder, path), 'utf8')]))
}

/**
 * Brings a folder to hold these files; each is replaced as a whole, one that is the same is left alone.
 * `others`: what becomes of the folder's other files.
 */
export function writeFiles(folder: string, files: Files, others: 'remove' | 'keep' = 'remove'): void {
  const before = others === 'remove' ? readFiles(folder) : new Map<string, string>()
  for (const [path, text] of files) {
    if (before.get(path) === text) continue
    const file = join(folder, path)
    mkdirSync(dirname(file), { recursive: true })
    // Steps of a deploy run side by side, and may write the same file.
    writeFileSync(`${file}.${process.pid}.new`, text)
    renameSync(`${file}.${process.pid}.new`, file)
  }
  for (const path of before.keys()) if (!files.has(path)) rmSync(join(folder, path), { force: true })
}
