/** Which machines a site's servers are: a server that was installed anew is not the one that a step was applied to. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { machinesFile, readMachines } from '#infra/site/machines.ts'
import type { Plan, ServerPlan } from '#infra/site/plan.ts'
import { readState } from '../provision/state.ts'
import { secretFile } from '../secrets.ts'
import { state } from '../state.ts'
import { siteFolder, sshArguments, writeFiles } from './folders.ts'

/** A server that does not answer in time is taken for the one it was: the deploy will tell. */
const answer_time_max_s = 5
/** Made when a system is installed, and kept by it. */
const identity = 'cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub'

/** Asks every server who it is, and notes it for the stacks. */
export async function lookAtMachines(plan: Plan): Promise<void> {
  const known = readMachines(machinesFile(state, plan.site))
  const found = await Promise.all(
    plan.servers.map(
      async (server) =>
        [
          server.name,
          (await ask(plan.site, server)) ?? installed(plan.site, server.name) ?? known[server.name],
        ] as const,
    ),
  )
  const machines = Object.fromEntries(found.filter(([, id]) => id !== undefined))
  writeFiles(siteFolder(plan.site), new Map([['machines.json', `${JSON.stringify(machines, null, 2)}\n`]]), 'keep')
}

/** What a server that we installed would say: it told when it was. */
function installed(site: string, server: string): string | undefined {
  const { machine_id, host_key } = readState(site, server)
  if (machine_id === undefined || host_key === undefined) return undefined
  return identityOf(`${machine_id}\n${host_key} ${server}\n`)
}

const identityOf = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16)

function ask(site: string, { access }: ServerPlan): Promise<string | undefined> {
  const args = [
    ...sshArguments(site),
    ...['-i', secretFile(site, access.secret), '-o', 'BatchMode=yes', '-o', `ConnectTimeout=${answer_time_max_s}`],
    ...['-p', String(access.port), `${access.user}@${access.address}`, identity],
  ]
  return new Promise((resolve) => {
    const child = spawn('ssh', args, { stdio: ['ignore', 'pipe', 'ignore'], timeout: 3_000 * answer_time_max_s })
    let text = ''
    child.stdout.on('data', (data: Buffer) => (text += data))
    child.on('error', () => resolve(undefined))
    child.on('close', (code) => resolve(code === 0 ? identityOf(text) : undefined))
  })
}
