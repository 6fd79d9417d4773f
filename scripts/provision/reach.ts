/** Whether a server's own system answers: SSH at its address on `lan`, with the key of the site. */
import { spawn } from 'node:child_process'
import { connect } from 'node:net'
import type { ServerPlan } from '#infra/site/plan.ts'
import { secretFile } from '../secrets.ts'
import { sshArguments } from '../site/folders.ts'

const answer_time_max_s = 10

/** `closed`: nothing listens there; `refused`: something does, but the key of the site does not open it. */
export type Answer =
  | { readonly kind: 'closed' }
  | { readonly kind: 'refused' }
  | { readonly kind: 'open'; readonly machine_id: string; readonly installation: string }

export async function reach(site: string, server: ServerPlan): Promise<Answer> {
  if (!(await listens(server.access))) return { kind: 'closed' }
  const { access } = server
  const args = [
    ...sshArguments(site),
    ...['-i', secretFile(site, access.secret), '-o', 'BatchMode=yes', '-o', 'IdentitiesOnly=yes'],
    ...['-o', `ConnectTimeout=${3 * answer_time_max_s}`, '-p', String(access.port), `${access.user}@${access.address}`],
    'cat /etc/machine-id /etc/milepost-installation 2>/dev/null; true',
  ]
  return new Promise((resolve) => {
    const child = spawn('ssh', args, { stdio: ['ignore', 'pipe', 'ignore'], timeout: 15_000 * answer_time_max_s })
    let text = ''
    child.stdout.on('data', (data: Buffer) => (text += data))
    child.on('error', () => resolve({ kind: 'refused' }))
    child.on('close', (code) => {
      const [machine_id = '', installation = ''] = text.trim().split('\n')
      resolve(code === 0 ? { kind: 'open', machine_id, installation } : { kind: 'refused' })
    })
  })
}

const listens = ({ address, port }: ServerPlan['access']): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: address, port, timeout: answer_time_max_s * 1_000 })
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    // A daemon that listens but is not up yet says nothing.
    socket
      .once('data', () => end(true))
      .once('error', () => end(false))
      .once('timeout', () => end(false))
    socket.once('close', () => end(false))
  })
