/** A command on a server of the site, over SSH as a deploy goes. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { ServerPlan } from '#infra/site/plan.ts'
import { secretFile } from '../secrets.ts'
import { sshArguments } from './folders.ts'

const answer_time_max_s = 10

export interface Answered {
  /** SSH's own failure is 255. */
  readonly code: number
  readonly out: string
  readonly error: string
}

/** Runs it as root; `line` is called with each line of its output as it comes. */
export function remote(
  site: string,
  { access }: ServerPlan,
  command: string,
  line: (text: string) => void = () => {},
): Promise<Answered> {
  const args = [
    ...sshArguments(site),
    ...['-i', secretFile(site, access.secret), '-o', 'BatchMode=yes', '-o', `ConnectTimeout=${answer_time_max_s}`],
    // A server that dies in the middle is noticed.
    ...['-o', 'ServerAliveInterval=5', '-o', 'ServerAliveCountMax=3', '-o', 'LogLevel=ERROR'],
    ...['-p', String(access.port), `${access.user}@${access.address}`],
    access.user === 'root' ? command : `sudo -n sh -c '${command.replaceAll("'", "'\\''")}'`,
  ]
  return new Promise((resolve) => {
    const child = spawn('ssh', args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const [out, error]: [string[], string[]] = [[], []]
    createInterface({ input: child.stdout }).on('line', (text) => {
      out.push(text)
      line(text)
    })
    createInterface({ input: child.stderr }).on('line', (text) => error.push(text))
    child.on('error', (failure) => resolve({ code: 255, out: '', error: failure.message }))
    child.on('close', (code) => resolve({ code: code ?? 255, out: out.join('\n'), error: error.join('\n') }))
  })
}
