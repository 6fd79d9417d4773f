import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Plan } from '#infra/site/plan.ts'
import { secretFile } from '../secrets.ts'
import { sshConfigFile as siteSshConfigFile } from '../site/folders.ts'
import { knownHostsFile, namespaceOf, operator, sshConfigFile } from './paths.ts'

/** OpenSSH's configuration to reach the servers of a laboratory: from the operator's desk, with keys that are checked. */
export function sshConfig(plan: Plan): string {
  const hosts = plan.servers.map(({ name, fqdn, access }) =>
    [
      `Host ${name} ${fqdn} ${access.address}`,
      `  HostName ${access.address}`,
      `  Port ${access.port}`,
      `  User ${access.user}`,
      `  IdentityFile ${secretFile(plan.site, access.secret)}`,
    ].join('\n'),
  )
  const all = [
    'Host *',
    '  IdentitiesOnly yes',
    '  StrictHostKeyChecking yes',
    `  UserKnownHostsFile ${knownHostsFile}`,
    `  ProxyCommand ip netns exec ${namespaceOf(operator)} nc %h %p`,
    '  ServerAliveInterval 5',
    '  ConnectTimeout 10',
    '  LogLevel ERROR',
  ].join('\n')
  return `${[...hosts, all].join('\n\n')}\n`
}

export function writeSshConfig(plan: Plan): void {
  mkdirSync(dirname(sshConfigFile), { recursive: true, mode: 0o700 })
  writeFileSync(sshConfigFile, sshConfig(plan), { mode: 0o600 })
  // Where a deploy looks for it.
  const link = siteSshConfigFile(plan.site)
  mkdirSync(dirname(link), { recursive: true })
  rmSync(link, { force: true })
  symlinkSync(sshConfigFile, link)
}

export function forgetHostKeys(): void {
  mkdirSync(dirname(knownHostsFile), { recursive: true, mode: 0o700 })
  writeFileSync(knownHostsFile, '')
}

export const removeSshConfig = (site: string) => rmSync(siteSshConfigFile(site), { force: true })
