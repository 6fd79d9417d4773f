/** A device that plays a fixture: sends its packets one by one, each after the answer to the one before. */
import { createSocket } from 'node:dgram'
import { connect, type Socket } from 'node:net'
import type { Fixture, Json, Step, Wanted } from './fixture.ts'

/** A device waits for an answer so long, then it sends a datagram again. */
const answer_time_ms = 2_000
const datagram_sends_max = 5
/** The gateway answers after it has stored; a busy store takes its time. */
const stream_answer_time_ms = 15_000
/** What tg adds to a message. */
const added = new Set(['server.timestamp', 'channel.id', 'device.id', 'protocol.id', 'peer'])

export interface Played {
  answers: number
  answers_right: number
  /** What went otherwise, one a line. */
  notes: string[]
}

export function play(fixture: Fixture, host: string, port: number): Promise<Played> {
  return fixture.transport === 'udp' ? playDatagrams(fixture, host, port) : playStream(fixture, host, port)
}

/** One connection: what came on it, and whether it ended. */
class Line {
  readonly socket: Socket
  received: Buffer = Buffer.alloc(0)
  ended = false
  #wake: (() => void) | undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk])
      this.#wake?.()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.ended = true
      this.#wake?.()
    })
  }

  static open(host: string, port: number): Promise<Line> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true }, () => resolve(new Line(socket)))
      socket.once('error', reject)
    })
  }

  /** Waits until so many bytes came, or the connection ended, or time is over; takes them. */
  async take(count: number): Promise<Buffer> {
    const end = Date.now() + stream_answer_time_ms
    while (this.received.length < count && !this.ended && Date.now() < end) await this.#next(end)
    const taken = this.received.subarray(0, count)
    this.received = this.received.subarray(taken.length)
    return taken
  }

  async end(): Promise<boolean> {
    const end = Date.now() + stream_answer_time_ms
    while (!this.ended && Date.now() < end) await this.#next(end)
    return this.ended
  }

  #next(end: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, end - Date.now()))
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

async function playStream({ steps }: Fixture, host: string, port: number): Promise<Played> {
  const played: Played = { answers: 0, answers_right: 0, notes: [] }
  let line = await Line.open(host, port)
  let login: Step | undefined
  for (const step of steps) {
    if (line.ended) {
      line = await Line.open(host, port)
      if (login && !step.login) {
        line.socket.write(login.bytes)
        await line.take(login.reply?.length ?? 0)
      }
    }
    if (step.login) login = step
    line.socket.write(step.bytes)
    if (step.reply) heard(played, step, await line.take(step.reply.length))
    if (step.closes && !(await line.end())) {
      played.notes.push(`packet ${step.number}: the connection was not closed`)
      line.socket.destroy()
      line.ended = true
    }
  }
  // Half-closed: what has no answer is stored before the gateway closes its side.
  if (!line.ended) {
    line.socket.end()
    if (!(await line.end())) played.notes.push('the gateway did not close its side')
    if (line.received.length > 0) played.notes.push(`bytes that answer nothing: ${line.received.toString('hex')}`)
  }
  return played
}

function heard(played: Played, step: Step, answer: Buffer): void {
  const reply = step.reply as Buffer
  played.answers++
  if (step.volatileReply ? answer.length === reply.length : answer.equals(reply)) played.answers_right++
  else
    played.notes.push(
      `packet ${step.number}: answer ${answer.toString('hex') || 'missing'} instead of ${reply.toString('hex')}`,
    )
}

async function playDatagrams({ steps }: Fixture, host: string, port: number): Promise<Played> {
  const played: Played = { answers: 0, answers_right: 0, notes: [] }
  const socket = createSocket('udp4')
  let received = Buffer.alloc(0)
  let wake: (() => void) | undefined
  socket.on('message', (bytes) => {
    received = Buffer.concat([received, bytes])
    wake?.()
  })
  const sent = (bytes: Buffer) =>
    new Promise<void>((resolve, reject) =>
      socket.send(bytes, port, host, (error) => (error ? reject(error) : resolve())),
    )
  /** Whether so many bytes came in time. */
  const came = async (count: number) => {
    const end = Date.now() + answer_time_ms
    while (received.length < count && Date.now() < end)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(0, end - Date.now()))
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    return received.length >= count
  }
  try {
    for (const step of steps) {
      received = Buffer.alloc(0)
      await sent(step.bytes)
      if (!step.reply) continue
      for (let sends = 1; !(await came(step.reply.length)) && sends < datagram_sends_max; sends++)
        await sent(step.bytes)
      heard(played, step, received)
    }
  } finally {
    socket.close()
  }
  return played
}

/** What is missing of the wanted messages, and what is there that nobody wanted; a message that came twice is one. */
export function differences(wanted: Wanted[], found: Json[]): string[] {
  const notes: string[] = []
  const left = new Set(found)
  for (const want of wanted) {
    const same = found.filter((message) => isSame(want, message))
    for (const message of same) left.delete(message)
    if (same.length > 0) continue
    const near = found.find((message) => message.timestamp === want.message.timestamp)
    const instead = near ? `; there is ${JSON.stringify(near)}` : ''
    notes.push(`missing: ${JSON.stringify(want.message)}${instead}`)
  }
  for (const message of left) notes.push(`not wanted: ${JSON.stringify(message)}`)
  return notes
}

function isSame({ message, volatile }: Wanted, found: Json): boolean {
  const names = Object.keys(found).filter((name) => !added.has(name) && !volatile.has(name))
  const wanted = Object.keys(message).filter((name) => !added.has(name) && !volatile.has(name))
  return (
    names.length === wanted.length &&
    wanted.every((name) => JSON.stringify(found[name]) === JSON.stringify(message[name]))
  )
}
