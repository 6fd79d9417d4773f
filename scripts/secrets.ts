/** The secrets of a site: files that are made once and never leave the operator's machine but for the hosts they are for. */
import { spawnSync } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { SecretPlan } from '#infra/site/plan.ts'
import { state } from './state.ts'

export const secretsFolder = (site: string) => join(state, 'sites', site, 'secrets')

/** Where a secret of a site lies, `bmc/gw1`. An `ssh-key` is the private key; the public one lies beside it as `.pub`. */
export const secretFile = (site: string, name: string) => join(secretsFolder(site), name)

/** A secret's text; throws with the remedy when it is not there. */
export function readSecret(site: string, name: string): string {
  const file = secretFile(site, name)
  if (!existsSync(file)) throw new Error(`secret "${name}" of site ${site} is missing: write it to ${file}`)
  return readFileSync(file, 'utf8').trim()
}

// No letters that look alike: an operator may have to type a BMC's password at a console.
const letters = 'abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789'

/** Makes what is missing of `secrets`; what is there stays. Throws when the operator owes one. */
export function makeSecrets(site: string, secrets: readonly SecretPlan[]): void {
  for (const { name, kind, length, origin } of secrets) {
    const file = secretFile(site, name)
    if (existsSync(file)) continue
    if (origin === 'operator')
      throw new Error(`secret "${name}" of site ${site} is the operator's: write it to ${file}`)
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    if (kind === 'ssh-key') {
      const made = spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', `milepost ${site}`, '-f', file])
      if (made.status !== 0) throw new Error(`no SSH key could be made in ${file}: ${made.stderr ?? made.error}`)
      continue
    }
    const text = Array.from({ length }, () => letters[randomInt(letters.length)]).join('')
    const content =
      kind === 'bytes' ? randomBytes(length) : kind === 'token' ? randomBytes(length).toString('hex') : text
    // Whole or not at all: a second deploy may look at the same moment.
    writeFileSync(`${file}.new`, content, { mode: 0o600 })
    chmodSync(`${file}.new`, 0o600)
    renameSync(`${file}.new`, file)
  }
}
