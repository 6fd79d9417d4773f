/** Compares what the protocols decode with reference vectors. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { unchecked } from './fuzz.ts'
import { decodeRecorded, type Recorded } from './lines.ts'
import type { Program } from './program.ts'
import { loadProtocol, protocolNames } from './protocols.ts'
import type { Message } from './runtime.ts'
import { carried } from './score-map.ts'
import { Session } from './session.ts'
import type { Tracer } from './trace.ts'

/** A position as the reference vectors give it. */
export interface Reference {
  deviceTime: number | null
  fixTime: number | null
  valid: boolean
  outdated: boolean
  latitude: number
  longitude: number
  altitude: number
  speedKnots: number
  course: number
  attributes: Record<string, unknown>
}

type Vector = Recorded & { result: Reference[] | null }

/** What one protocol gets right. */
export interface Score {
  name: string
  packets: number
  right: number
  attributes: number
  carried: number
  notes: string[]
}

const knots = 1.852
/** When the reference was made (s): a packet without a date carries the day of it, one without a time that moment. */
const reference_made_s = 1_795_523_670
const reference_made_within_s = 3_600
/** Targets: share of packets that are right, and of attributes that are carried. */
const packets_target = 0.98
const attributes_target = 0.9
/** Notes shown of a protocol when many are scored. */
const notes_shown = 3

/** Whether a message's time is the reference's: of the fix or of the message. */
function timeFits(message: Message, wanted: Reference): boolean {
  const times = [wanted.fixTime, wanted.deviceTime].filter((time): time is number => time !== null && time > 0)
  const ours = message.timestamp ?? Number.NaN
  return (
    times.length === 0 ||
    times.some((time) => {
      if (
        Math.abs(time / 1000 - reference_made_s) < reference_made_within_s &&
        Math.abs(ours - reference_made_s) < reference_made_within_s
      )
        return true
      return Math.abs(ours - time / 1000) <= 0.002
    })
  )
}

/** What differs between one message and one reference position, its attributes apart. */
export function differences(message: Message, wanted: Reference): string[] {
  const found: string[] = []
  const check = (name: string, ours: unknown, theirs: number, tolerance: number) => {
    if (!(Math.abs(Number(ours ?? 0) - theirs) <= tolerance)) found.push(`${name} ${ours} instead of ${theirs}`)
  }
  if (!timeFits(message, wanted))
    found.push(`timestamp ${message.timestamp} instead of ${(wanted.fixTime ?? wanted.deviceTime ?? 0) / 1000}`)
  // 0/0 where we have no position is the reference's way of having none.
  const nowhere = wanted.latitude === 0 && wanted.longitude === 0 && message['position.latitude'] === undefined
  if (wanted.outdated || nowhere) return found
  check('latitude', message['position.latitude'], wanted.latitude, 2e-6)
  check('longitude', message['position.longitude'], wanted.longitude, 2e-6)
  check('altitude', message['position.altitude'], wanted.altitude, 0.01)
  check('speed', message['position.speed'], wanted.speedKnots * knots, 0.01)
  check('course', message['position.direction'], wanted.course, 0.01)
  const valid = message['position.valid'] ?? false
  if (valid !== wanted.valid) found.push(`valid ${valid} instead of ${wanted.valid}`)
  return found
}

/** A session for the tools: a recording may begin behind the log-in, unless the protocol says `login first`. */
export function toolSession(program: Program, ident = 'unknown', now?: () => number, tracer?: Tracer): Session {
  const options = {
    ...(tracer ? { tracer } : {}),
    ...(program.header.login === 'first' ? {} : { ident }),
    ...(now ? { now } : {}),
  }
  return new Session(program, options)
}

/** Scores one protocol against its vectors. */
export function scoreProtocol(name: string, sessions: Vector[][]): Score {
  const score: Score = { name, packets: 0, right: 0, attributes: 0, carried: 0, notes: [] }
  const program = loadProtocol(name)
  const lenient = unchecked(program)
  for (const [s, vectors] of sessions.entries()) {
    const now = () => reference_made_s
    const session = toolSession(program, 'unknown', now)
    const unsummed = toolSession(lenient, 'unknown', now)
    for (const [p, vector] of vectors.entries()) {
      score.packets++
      let packets = decodeRecorded(session, vector)
      // Who publishes a packet changes its ident and place and leaves the checksum as it was.
      const passed = decodeRecorded(unsummed, vector)
      if (vector.result && packets.some(({ error }) => error?.code === 'checksum')) {
        packets = passed
        score.notes.push(`  session ${s} packet ${p}: its checksum is wrong, and let pass`)
      }
      const wanted = vector.result ?? []
      let messages = packets.flatMap((packet) => packet.messages)
      // The reference takes a recording for one packet and leaves what stands behind it.
      const [first] = packets
      if (first && packets.length > 1 && messages.length > wanted.length && first.messages.length === wanted.length) {
        messages = first.messages
        score.notes.push(`  session ${s} packet ${p}: ${packets.length} packets, of which the reference has the first`)
      }
      const found: string[] = []
      if (messages.length !== wanted.length) found.push(`${messages.length} messages instead of ${wanted.length}`)
      else
        found.push(...wanted.flatMap((r, i) => differences(messages[i] as Message, r).map((text) => `[${i}] ${text}`)))
      if (found.length === 0) score.right++
      const missing: string[] = []
      for (const [i, reference] of wanted.entries()) {
        for (const [attribute, value] of Object.entries(reference.attributes)) {
          score.attributes++
          if (messages.length === wanted.length && carried(messages[i] as Message, attribute, value, name))
            score.carried++
          else missing.push(`[${i}] ${attribute} ${JSON.stringify(value)}`)
        }
      }
      if (found.length > 0)
        found.push(...packets.flatMap(({ error }) => (error ? [`${error.code}: ${error.reason}`] : [])))
      if (found.length > 0) score.notes.push(`  session ${s} packet ${p}: ${shortened(found, 6)}`)
      if (missing.length > 0) score.notes.push(`  session ${s} packet ${p}: not carried: ${shortened(missing, 8)}`)
    }
  }
  return score
}

const shortened = (list: string[], most: number) =>
  list.slice(0, most).join('; ') + (list.length > most ? `; and ${list.length - most} more` : '')

const percent = (part: number, whole: number) =>
  `${(whole === 0 ? 100 : (100 * part) / whole).toFixed(1).padStart(5)} %`

/** Where the record of what was reached is compared or written. */
export interface ScoreOptions {
  check?: string
  write?: string
}

/** Compares protocols with a folder of vectors; prints a line a protocol and what differs. Gives the exit code. */
export function score(folder: string, names: string[], options: ScoreOptions = {}): number {
  const total = { packets: 0, right: 0, attributes: 0, carried: 0 }
  let below = 0
  const scores = new Map<string, Score>()
  const scored = (names.length > 0 ? names : protocolNames()).filter((name) => {
    const there = existsSync(join(folder, `${name}.json`))
    if (!there && names.length > 0) throw new Error(`${folder} has no ${name}.json`)
    return there
  })
  for (const name of scored) {
    const file = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as { sessions: Vector[][] }
    const one = scoreProtocol(name, file.sessions)
    scores.set(name, one)
    for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += one[key]
    if (one.right < one.packets * packets_target || one.carried < one.attributes * attributes_target) below++
    process.stdout.write(`${line(one)}\n`)
    const shown = names.length > 0 ? one.notes : one.notes.slice(0, notes_shown)
    for (const note of shown) process.stdout.write(`${note}\n`)
    if (shown.length < one.notes.length)
      process.stdout.write(`  and ${one.notes.length - shown.length} more: pvm score FOLDER ${name}\n`)
  }
  process.stdout.write(`${line({ name: `${scored.length} protocols`, notes: [], ...total })}\n`)
  if (below > 0)
    process.stdout.write(
      `${below} below ${packets_target * 100} % of packets or ${attributes_target * 100} % of attributes\n`,
    )
  if (options.write !== undefined) writeFileSync(options.write, record(scores))
  if (options.check !== undefined) return check(scores, options.check)
  return below === 0 ? 0 : 1
}

/** What was reached, one line a protocol: a file that merges well. */
function record(scores: ReadonlyMap<string, Score>): string {
  return [...scores.values()]
    .map((s) => `${s.name} packets ${s.right}/${s.packets} attributes ${s.carried}/${s.attributes}\n`)
    .sort()
    .join('')
}

/** Says which protocols are behind what a record holds, or not there. */
function check(scores: ReadonlyMap<string, Score>, file: string): number {
  const behind: string[] = []
  for (const text of readFileSync(file, 'utf8').split('\n')) {
    if (text.trim() === '' || text.startsWith('#')) continue
    const found = /^(\w+) packets (\d+)\/\d+ attributes (\d+)\/\d+$/.exec(text)
    if (!found) throw new Error(`${file}: not a line of a score: ${text}`)
    const [, name = '', right, held] = found
    const now = scores.get(name)
    if (!now) behind.push(`${name} is missing`)
    else if (now.right < Number(right)) behind.push(`${name}: ${now.right} packets right, they were ${right}`)
    else if (now.carried < Number(held)) behind.push(`${name}: ${now.carried} attributes carried, they were ${held}`)
  }
  for (const text of behind) process.stdout.write(`behind ${file}: ${text}\n`)
  return behind.length === 0 ? 0 : 1
}

const line = (s: Score) =>
  `${s.name.padEnd(16)} packets ${`${s.right}/${s.packets}`.padStart(9)} ${percent(s.right, s.packets)}   attributes ${`${s.carried}/${s.attributes}`.padStart(11)} ${percent(s.carried, s.attributes)}`
