/** The packets beside a protocol's description, as a device would send them, and what must come of each. */

import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { loadProtocol, type Packet, type Protocol, Session, transportsOf } from '#pvm/index.ts'
import { bytesOf, type LineAnswer, parseLine, type Recorded } from '#pvm/lines.ts'
import { protocolFile } from '#pvm/protocols.ts'
import { timestamp_max } from '#services/common/records.ts'
import { encoders } from './index.ts'

export type Transport = 'tcp' | 'udp' | 'http'
export type Json = Record<string, unknown>

export interface Wanted {
  message: Json
  /** Parameters that are made of the time of coming. */
  volatile: Set<string>
}

/** One packet, and what follows it. */
export interface Step {
  /** Of the session file, from 1. */
  number: number
  bytes: Buffer
  messages: Wanted[]
  /** Null: the device waits for nothing. */
  reply: Buffer | null
  /** The answer is made of the time of coming: its length alone is known. */
  volatileReply: boolean
  /** The gateway closes the connection after it. */
  closes: boolean
  /** A log-in of its own: a device sends it again when it comes back. */
  login: boolean
}

export interface Fixture {
  protocol: string
  transport: Transport
  steps: Step[]
  /** Packets that do not come this way: of the other transport, or with their framing lost in the recording. */
  others: number
}

/** When what is `.expected` was made, and another moment: what differs between the two is made of the time. */
const expected_made_s = 1_700_000_000
const another_s = 1_731_234_567
/** Endings that the reading of a line has taken off a recorded text. */
const endings = ['', '\r\n', '\r', '\n']

/** Transports that a protocol's fixtures can be played over. */
export function fixtureTransports(protocol: string): Transport[] {
  const program = loadProtocol(protocol)
  const http = program.frames.every(({ size }) => size.kind === 'http')
  return transportsOf(program).map((transport) => (transport === 'tcp' && http ? 'http' : transport))
}

/** `ident`: takes the place of the recorded one where the protocol has an encoder for its log-in. */
export function fixtureOf(protocol: string, transport: Transport, ident?: string): Fixture {
  const file = protocolFile(protocol).slice(0, -'.pvm'.length)
  const read = (ending: string) => readFileSync(`${file}.${ending}`, 'utf8').trimEnd().split('\n')
  const recorded = read('session').flatMap((line) => parseLine(line) ?? [])
  const expected = read('expected').map((line) => JSON.parse(line) as LineAnswer)
  const device = new Twin(loadProtocol(protocol), transport)
  const fixture: Fixture = { protocol, transport, steps: [], others: 0 }
  for (const [i, packet] of recorded.entries()) {
    const wanted = expected[i]
    const step = wanted && device.step(packet, wanted)
    if (step) fixture.steps.push({ ...step, number: i + 1 })
    else fixture.others++
  }
  return ident === undefined ? fixture : renamed(fixture, ident)
}

/** Two sessions at two times, fed what tg is fed. */
class Twin {
  readonly #program: Protocol
  readonly #transport: Transport
  #sessions: [Session, Session]
  #login: Buffer | undefined
  /** What they were fed. */
  #fed: Buffer[] = []
  /** A packet was passed over. */
  #passed = false

  constructor(program: Protocol, transport: Transport) {
    this.#program = program
    this.#transport = transport
    this.#sessions = this.#open([])
  }

  #open(fed: Buffer[]): [Session, Session] {
    this.#fed = fed
    const at = (time: number) => {
      const session = new Session(this.#program, { now: () => time })
      for (const bytes of fed) this.#decode(session, bytes)
      return session
    }
    return [at(expected_made_s), at(another_s)]
  }

  #decode(session: Session, bytes: Buffer): Packet[] {
    return this.#transport === 'udp' ? session.datagram(bytes) : session.feed(bytes)
  }

  /** Undefined: the packet does not come by this transport. */
  step(packet: Recorded, wanted: LineAnswer): Omit<Step, 'number'> | undefined {
    for (const bytes of this.#candidates(packet)) {
      if (this.#transport !== 'udp' && !this.#sessions[0].whole(bytes)) continue
      const [now, later] = this.#sessions.map((session) => this.#decode(session, bytes)) as [Packet[], Packet[]]
      const messages = plain(now)
      const failed = now.some(({ error }) => error)
      if (!this.#isSame(messages, wanted.messages) || failed !== (wanted.error !== undefined)) {
        this.#sessions = this.#open(this.#fed)
        continue
      }
      const again = plain(later)
      const [reply, replyLater] = [replyOf(now), replyOf(later)]
      const closes = this.#transport !== 'udp' && now.some(({ close }) => close)
      const login = messages.length === 0 && !closes && now.some((one) => one.login !== undefined)
      if (login) this.#login = bytes
      if (closes) this.#sessions = this.#open(this.#login ? [this.#login] : [])
      else this.#fed.push(bytes)
      return {
        bytes,
        messages: messages.map((message, i) => stored(message, again[i] ?? {})),
        reply,
        volatileReply: !isDeepStrictEqual(reply, replyLater),
        closes,
        login,
      }
    }
    this.#passed = true
    return undefined
  }

  /** The ident may be another one where a packet that does not come this way changed it. */
  #isSame(messages: Json[], wanted: Json[]): boolean {
    if (isDeepStrictEqual(messages, wanted)) return true
    const nameless = (list: Json[]) => list.map((message) => ({ ...message, ident: undefined }))
    return this.#passed && isDeepStrictEqual(nameless(messages), nameless(wanted))
  }

  #candidates(packet: Recorded): Buffer[] {
    const bytes = bytesOf(packet)
    const own = this.#program.frames.flatMap(({ size }) => (size.kind === 'line' ? size.endings : []))
    const all = [...own.map((hex) => Buffer.from(hex, 'hex')), ...endings.map((text) => Buffer.from(text))]
    return [bytes, ...all.map((ending) => Buffer.concat([bytes, ending]))]
  }
}

const plain = (packets: Packet[]): Json[] => JSON.parse(JSON.stringify(packets.flatMap(({ messages }) => messages)))

function replyOf(packets: Packet[]): Buffer | null {
  const bytes = Buffer.concat(packets.flatMap(({ reply }) => (reply ? [reply] : [])))
  return bytes.length === 0 ? null : bytes
}

/** A message as tg stores it. */
function stored(message: Json, later: Json): Wanted {
  const names = new Set([...Object.keys(message), ...Object.keys(later)])
  const volatile = new Set([...names].filter((name) => !isDeepStrictEqual(message[name], later[name])))
  const { timestamp } = message
  if (typeof timestamp === 'number' && timestamp >= 0 && timestamp < timestamp_max) return { message, volatile }
  volatile.add('timestamp')
  return { message: timestamp === undefined ? message : { ...message, 'timestamp.raw': timestamp }, volatile }
}

/** The same of another device. */
function renamed(fixture: Fixture, ident: string): Fixture {
  const encoder = encoders[fixture.protocol]
  const first = fixture.steps.find((step) => step.login)
  if (!encoder || !first || fixture.transport === 'udp') return fixture
  const session = new Session(loadProtocol(fixture.protocol))
  const before = session.feed(first.bytes)[0]?.login
  const same = fixture.steps.every((step) => !step.login || step.bytes.equals(first.bytes))
  if (before === undefined || !same) return fixture
  const steps = fixture.steps.map((step) => ({
    ...step,
    bytes: step.login ? encoder.login(ident) : step.bytes,
    messages: step.messages.map(({ message, volatile }) => ({
      message: message.ident === before ? { ...message, ident } : message,
      volatile,
    })),
  }))
  return { ...fixture, steps }
}
