import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadProtocol, type Message, protocolNames, Session } from './index.ts'
import { carried } from './score-map.ts'

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

const knots = 1.852
const near = (a: unknown, b: number, tolerance: number) => Math.abs(Number(a ?? 0) - b) <= tolerance

/** What differs between one message and one reference position; empty: nothing. */
export function differences(message: Message, wanted: Reference): string[] {
  const found: string[] = []
  const check = (name: string, fits: boolean, got: unknown, expected: unknown) => {
    if (!fits) found.push(`${name} ${got} instead of ${expected}`)
  }
  const time = wanted.fixTime ?? wanted.deviceTime
  // A reference without a time of its own carries the moment when it was made.
  if (time !== null && time < 1_790_000_000_000)
    check('timestamp', near(message.timestamp, time / 1000, 0.001), message.timestamp, time / 1000)
  if (!wanted.outdated) {
    check(
      'latitude',
      near(message['position.latitude'], wanted.latitude, 1e-6),
      message['position.latitude'],
      wanted.latitude,
    )
    check(
      'longitude',
      near(message['position.longitude'], wanted.longitude, 1e-6),
      message['position.longitude'],
      wanted.longitude,
    )
    check(
      'altitude',
      near(message['position.altitude'], wanted.altitude, 0.01),
      message['position.altitude'],
      wanted.altitude,
    )
    check(
      'speed',
      near(message['position.speed'], wanted.speedKnots * knots, 0.01),
      message['position.speed'],
      wanted.speedKnots * knots,
    )
    check(
      'course',
      near(message['position.direction'], wanted.course, 0.01),
      message['position.direction'],
      wanted.course,
    )
    check('valid', (message['position.valid'] ?? false) === wanted.valid, message['position.valid'], wanted.valid)
  }
  for (const [name, value] of Object.entries(wanted.attributes)) {
    if (!carried(message, name, value)) found.push(`${name} ${JSON.stringify(value)} is not carried`)
  }
  return found
}

/** Compares protocols with a folder of vectors; prints a line a protocol and what differs. Gives the exit code. */
export function score(folder: string, names: string[]): number {
  let wrong = 0
  for (const name of names.length > 0 ? names : protocolNames()) {
    const file = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as {
      sessions: { hex?: string; text?: string; result: Reference[] | null }[][]
    }
    const protocol = loadProtocol(name)
    const ending = protocol.frames.find((frame) => frame.ending)?.ending
    const notes: string[] = []
    let packets = 0
    let right = 0
    for (const [s, packetsOf] of file.sessions.entries()) {
      const session = new Session(protocol)
      for (const [p, vector] of packetsOf.entries()) {
        packets++
        const bytes =
          vector.hex === undefined
            ? Buffer.concat([Buffer.from(vector.text ?? ''), ending ?? Buffer.alloc(0)])
            : Buffer.from(vector.hex, 'hex')
        const decoded = session.feed(bytes)
        const rest = session.resume()
        if (rest) decoded.push(rest)
        const messages = decoded.flatMap((packet) => packet.messages)
        const found: string[] = decoded.flatMap(({ error }) => (error ? [`${error.code}: ${error.reason}`] : []))
        const wanted = vector.result ?? []
        if (messages.length !== wanted.length) found.push(`${messages.length} messages instead of ${wanted.length}`)
        else
          for (const [i, reference] of wanted.entries())
            found.push(...differences(messages[i] as Message, reference).map((text) => `[${i}] ${text}`))
        if (found.length === 0 || (wanted.length === 0 && messages.length === 0)) right++
        else
          notes.push(
            `  session ${s} packet ${p}: ${found.slice(0, 6).join('; ')}${found.length > 6 ? `; and ${found.length - 6} more` : ''}`,
          )
      }
    }
    wrong += packets - right
    process.stdout.write(`${name.padEnd(16)} ${right}/${packets}\n${notes.map((note) => `${note}\n`).join('')}`)
  }
  return wrong === 0 ? 0 : 1
}
