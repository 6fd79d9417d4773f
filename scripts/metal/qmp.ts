/** QEMU's machine protocol: a JSON object a line. Source: docs/interop/qmp-spec.txt of QEMU 7.2. */
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

export interface QmpEvent {
  readonly event: string
  readonly data?: Readonly<Record<string, unknown>>
}

interface Reply {
  readonly id?: number
  readonly return?: unknown
  readonly error?: { readonly desc: string }
  readonly QMP?: unknown
  readonly event?: string
}

const answer_time_max_ms = 30_000

export class Qmp {
  readonly #socket: Socket
  readonly #waiting = new Map<number, (reply: Reply) => void>()
  #id = 0

  private constructor(socket: Socket, onEvent: (event: QmpEvent) => void, greeted: () => void) {
    this.#socket = socket
    createInterface({ input: socket }).on('line', (line) => {
      const reply = JSON.parse(line) as Reply
      if (reply.QMP) greeted()
      else if (reply.event !== undefined) onEvent(reply as QmpEvent)
      else if (reply.id !== undefined) {
        this.#waiting.get(reply.id)?.(reply)
        this.#waiting.delete(reply.id)
      }
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      for (const reply of this.#waiting.values()) reply({ error: { desc: 'the server is off' } })
      this.#waiting.clear()
    })
  }

  /** Rejects when nobody listens at the socket. */
  static async connect(path: string, onEvent: (event: QmpEvent) => void): Promise<Qmp> {
    const socket = connect(path)
    const qmp = await new Promise<Qmp>((resolve, reject) => {
      socket.once('error', reject)
      socket.once('close', () => reject(new Error(`${path} was closed`)))
      const made: Qmp = new Qmp(socket, onEvent, () => resolve(made))
    })
    await qmp.do('qmp_capabilities')
    return qmp
  }

  /** Executes a command; rejects with QEMU's own words. */
  do(command: string, words: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const id = ++this.#id
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) return reject(new Error(`${command}: the server is off`))
      const timer = setTimeout(() => {
        this.#waiting.delete(id)
        reject(new Error(`${command}: QEMU gave no answer within ${answer_time_max_ms / 1000} s`))
      }, answer_time_max_ms)
      this.#waiting.set(id, (reply) => {
        clearTimeout(timer)
        if (reply.error) reject(new Error(`${command}: ${reply.error.desc}`))
        else resolve(reply.return)
      })
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: words, id })}\n`)
    })
  }

  close(): void {
    this.#socket.destroy()
  }
}
