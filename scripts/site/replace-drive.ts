/** A drive of a mirror out, another in, without a stop: `npm run site -- replace-drive SITE SERVER --old SERIAL --new SERIAL`. */
import { createInterface } from 'node:readline/promises'
import type { Plan, ServerPlan } from '#infra/site/plan.ts'
import { Progress } from '../devices/progress.ts'
import { placeOf } from '../provision/compare.ts'
import { apply } from './apply.ts'
import { type Answered, remote } from './remote.ts'

const look_ms = 5_000
const bar_width = 24
export const consent = 'replace drive'

export interface Replacement {
  readonly server: ServerPlan
  readonly bay: number
  readonly old: string
  readonly new: string
}

/** What it touches beyond itself; tests put others in their place. */
export interface Hands {
  run(command: string, line?: (text: string) => void): Promise<Answered>
  deploy(): Promise<void>
  /** What the operator answers. */
  ask(question: string): Promise<string>
  say(text: string): void
  /** A line that is written over. */
  show(text: string): void
  pause(ms: number): Promise<void>
}

/** Throws with what to do first when the site file does not say what is wanted. Pure. */
export function replacementOf(
  plan: Plan,
  name: string,
  { old, new: fresh }: { old?: string | undefined; new?: string | undefined },
): Replacement {
  const server = plan.servers.find((one) => one.name === name)
  if (!server)
    throw new Error(
      `site ${plan.site} has no server "${name}"; it has ${plan.servers.map((one) => one.name).join(', ')}`,
    )
  if (!server.raid.managed)
    throw new Error(`${placeOf(server)}: its mirror is the machine's, not ours: replace the drive there`)
  const serials = server.drives.map(({ serial }) => serial)
  if (!old || !fresh)
    throw new Error(`--old SERIAL and --new SERIAL are needed; the site file has ${serials.join(' and ')}`)
  const bay = server.drives.find(({ serial }) => serial === fresh)?.bay
  if (bay === undefined || serials.includes(old)) {
    const at = server.drives.find(({ serial }) => serial === old)?.bay
    throw new Error(
      `${placeOf(server)}${at === undefined ? '' : `, bay ${at}`}: write ${fresh} in the place of ${old} in the site file first, without a deploy; it has ${serials.join(' and ')}`,
    )
  }
  return { server, bay, old, new: fresh }
}

/** How far the mirror is, `██████░░ 25.0 %, 3 min`, of a line of `milepost-mirror wait --json`. Pure. */
export function progressOf(line: string): string {
  const told = JSON.parse(line) as {
    whole: boolean
    percent?: number | null
    minutes?: number | null
    faults?: string[]
  }
  if (told.whole) return `${'█'.repeat(bar_width)} 100 %`
  if (told.percent === null || told.percent === undefined) return told.faults?.join('; ') ?? 'it waits'
  const full = Math.floor((told.percent / 100) * bar_width)
  const left = told.minutes === null || told.minutes === undefined ? '' : `, ${Math.ceil(told.minutes)} min left`
  return `${'█'.repeat(full)}${'░'.repeat(bar_width - full)} ${told.percent.toFixed(1)} %${left}`
}

/** Every step finds out what was done before: called again after an interruption it goes on. */
export async function replaceDrive({ server, bay, old, new: fresh }: Replacement, hands: Hands): Promise<void> {
  const began = Date.now()
  const place = `${placeOf(server)}, bay ${bay}`
  const must = async (command: string, line?: (text: string) => void) => {
    const { code, out, error } = await hands.run(command, line)
    if (code !== 0) throw new Error(`${place}: ${(error || out || `${command}: exit ${code}`).replace(/^<\d>/gm, '')}`)
    return out
  }
  const known = JSON.parse(await must('cat /etc/milepost/mirror.json')) as { drives: { serial: string }[] }
  const has = (serial: string) => known.drives.some((drive) => drive.serial === serial)
  if (has(old)) {
    hands.say(
      `${place}: drive ${old} goes out, ${fresh} comes in. The other drive carries on alone until the mirror is whole.`,
    )
    const answer = await hands.ask(`Write "${consent}" to go on: `)
    if (answer.trim() !== consent) throw new Error('nothing was changed')
    hands.say(await must(`milepost-mirror remove ${quoted(old)}`))
  } else if (!has(fresh)) {
    throw new Error(
      `${place}: the server knows neither ${old} nor ${fresh}, but ${known.drives.map(({ serial }) => serial).join(' and ')}`,
    )
  }
  if (!(await present())) {
    hands.say(`${place}: pull drive ${old}, push ${fresh} in. Ctrl-C: call this again then, it goes on from here.`)
    for (const since = Date.now(); !(await present()); await hands.pause(look_ms))
      hands.show(`waiting for drive ${fresh} in bay ${bay} (${Math.round((Date.now() - since) / 1_000)} s)`)
  }
  hands.say(`${place}: drive ${fresh} is there`)
  // The role partitions a blank drive, takes it into the mirror, and makes it bootable.
  await hands.deploy()
  await must('milepost-mirror wait --json --seconds 86400', (line) => hands.show(`${server.name}: ${progressOf(line)}`))
  hands.say(
    `${place}: the mirror is whole, both drives start the server; ${Math.round((Date.now() - began) / 1_000)} s in all`,
  )

  async function present(): Promise<boolean> {
    const { out } = await hands.run('lsblk --nodeps --noheadings --output SERIAL')
    return out.split('\n').some((line) => line.trim() === fresh)
  }
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

/** The hands of a person at a terminal. `yes`: the words of consent were given with the call. */
export function realHands(site: string, server: ServerPlan, yes: boolean): Hands {
  const progress = new Progress()
  return {
    run: (command, line) => remote(site, server, command, line),
    deploy: () => apply(site, `server-${server.name}`),
    ask: async (question) => {
      if (yes) return consent
      const terminal = createInterface({ input: process.stdin, output: process.stdout })
      try {
        return await terminal.question(question)
      } finally {
        terminal.close()
      }
    },
    say: (text) => {
      progress.clear()
      process.stdout.write(`${text}\n`)
    },
    show: (text) => progress.show(text),
    pause: (ms) => new Promise((done) => setTimeout(done, ms)),
  }
}
