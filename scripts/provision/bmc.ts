/** Management controllers over the network (IPMI 2.0, cipher suite 3), with ipmitool. Passwords go through the environment. */
import { spawn } from 'node:child_process'
import type { Plan, ServerPlan } from '#infra/site/plan.ts'
import { readSecret } from '../secrets.ts'
import { placeOf } from './compare.ts'

type Path = ServerPlan['bmc']['paths'][number]

const answer_time_max_s = 2
const tries = 3
/** A command is given so often over each path before it counts as refused. */
const rounds = 2
/** ipmitool may hang on a controller that answers half. */
const command_time_max_ms = 40_000

interface Said {
  readonly code: number
  readonly text: string
}

function ipmitool(user: string, password: string, path: Path, words: readonly string[]): Promise<Said> {
  const args = [
    ...['-v', '-I', 'lanplus', '-C', '3', '-N', String(answer_time_max_s), '-R', String(tries)],
    ...['-H', path.address, '-p', String(path.port), '-U', user, '-E', ...words],
  ]
  return new Promise((resolve, reject) => {
    const child = spawn('ipmitool', args, {
      env: { ...process.env, IPMI_PASSWORD: password },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: command_time_max_ms,
    })
    let text = ''
    child.stdout.on('data', (data: Buffer) => (text += data))
    child.stderr.on('data', (data: Buffer) => (text += data))
    child.on('error', (error) =>
      reject(
        (error as NodeJS.ErrnoException).code === 'ENOENT'
          ? new Error('ipmitool is missing: apt-get install ipmitool')
          : error,
      ),
    )
    child.on('close', (code) => resolve({ code: code ?? 1, text }))
  })
}

/** What is wrong when a controller did not do it, from ipmitool's words. Pure. */
export function whyNot(text: string, server: ServerPlan, path: Path): string {
  const { bmc } = server
  const at = `${placeOf(server)}: BMC ${path.address}`
  const cable = `port ${path.link.port} of switch ${path.link.switch}`
  if (/RAKP 2 HMAC is invalid|password/i.test(text))
    return `${at}: wrong password for user ${bmc.user}; the deploy uses the one in secrets/${bmc.secret}`
  if (/unauthorized name/i.test(text))
    return `${at}: it has no user ${bmc.user}; make it, or correct user in the site file`
  if (/unauthorized role|insufficient privilege/i.test(text)) return `${at}: user ${bmc.user} is no administrator there`
  if (/no cipher suite match|cipher suite/i.test(text)) return `${at}: it does not offer cipher suite 3; allow it`
  if (/Unable to establish|timeout|No route|unreachable/i.test(text))
    return `${at}: no answer; look at its address, the cable to ${cable}, IPMI over LAN, and the mains`
  const last = text.trim().split('\n').at(-1) ?? ''
  return `${at}: ${last.slice(0, 160)}`
}

/** A power supply as the controller reports it. */
export interface Supply {
  readonly sensor: string
  readonly states: readonly string[]
}

/** Discrete sensors of power supplies in the output of `sdr type 'Power Supply'`; what measures watts is left out. Pure. */
export function parseSupplies(text: string): Supply[] {
  const found: Supply[] = []
  for (const line of text.split('\n')) {
    const [sensor, , status, , states] = line.split('|').map((part) => part.trim())
    if (sensor === undefined || states === undefined || status === 'ns' || /^[\d.]+ /.test(states)) continue
    found.push({ sensor, states: states.split(',').map((part) => part.trim()) })
  }
  return found
}

/** What is wrong with the supplies of a server: one that is absent, failed or without input, with its outlet. Pure. */
export function supplyFindings(plan: Plan, server: ServerPlan, supplies: readonly Supply[]): string[] {
  // Controllers without such sensors say nothing of supplies.
  if (supplies.length === 0) return []
  const place = placeOf(server)
  const found: string[] = []
  for (const [index, { supply, pdu, outlet, feed }] of server.power.entries()) {
    const states = supplies[index]?.states ?? []
    const source = plan.feeds.find(({ name }) => name === feed)?.source ?? ''
    const where = `outlet ${outlet} of ${pdu}, feed ${feed}${source === '' ? '' : ` (${source})`}`
    if (supplies[index] === undefined) found.push(`${place}: its BMC does not see ${supply} (${where})`)
    else if (states.some((state) => /lost|AC out|input out/i.test(state)))
      found.push(`${place}: ${supply} has no input; look at ${where}`)
    else if (states.some((state) => /fail/i.test(state) && !/predictive/i.test(state)))
      found.push(`${place}: ${supply} has failed; replace it (${where})`)
    else if (!states.some((state) => /presence/i.test(state)))
      found.push(`${place}: ${supply} is not in its bay (${where})`)
  }
  return found
}

export class BmcClient {
  readonly #server: ServerPlan
  readonly #password: string

  constructor(site: string, server: ServerPlan) {
    this.#server = server
    this.#password = readSecret(site, server.bmc.secret)
  }

  /** Runs a command over the first path that works; throws with what is wrong on the last one. */
  async #run(words: readonly string[]): Promise<string> {
    const { user, paths } = this.#server.bmc
    let why = ''
    // A controller that is busy loses an answer now and then.
    for (const path of Array.from({ length: rounds }, () => paths).flat()) {
      const { code, text } = await ipmitool(user, this.#password, path, words)
      if (code === 0) return text
      why = whyNot(text, this.#server, path)
    }
    throw new Error(why)
  }

  /** What is wrong with each path to the controller; empty: nothing. */
  async findings(): Promise<string[]> {
    const { user, paths } = this.#server.bmc
    const said = await Promise.all(
      paths.map(async (path) => ({
        path,
        ...(await ipmitool(user, this.#password, path, ['chassis', 'power', 'status'])),
      })),
    )
    return said.filter(({ code }) => code !== 0).map(({ text, path }) => whyNot(text, this.#server, path))
  }

  async supplies(): Promise<Supply[]> {
    return parseSupplies(await this.#run(['sdr', 'type', 'Power Supply']))
  }

  async isOn(): Promise<boolean> {
    return /Chassis Power is on/i.test(await this.#run(['chassis', 'power', 'status']))
  }

  /** Its next start, and that one alone, is over the network; whatever runs on it ends. */
  async startOverNetwork(): Promise<void> {
    const uefi = this.#server.firmware === 'uefi'
    await this.#run(['chassis', 'bootdev', 'pxe', ...(uefi ? ['options=efiboot'] : [])])
    await this.#run(['chassis', 'power', (await this.isOn()) ? 'cycle' : 'on'])
  }

  async on(): Promise<void> {
    if (!(await this.isOn())) await this.#run(['chassis', 'power', 'on'])
  }

  /** At once: only for a server whose system is none that could be told. */
  async off(): Promise<void> {
    await this.#run(['chassis', 'power', 'off'])
  }
}
