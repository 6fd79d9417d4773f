/** How a command speaks to the process that is the hardware: HTTP on a socket; progress is a line each, then the result. */
import { rmSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { createInterface } from 'node:readline'

/** One line of an answer. */
export type Line = { say: string } | { error: string } | { result: unknown }

const body_bytes_max = 64 * 1024

/** Calls a method; `said` gets its progress. Rejects with its own words, or with `none` when nobody listens. */
export function callAt(
  socketFile: string,
  none: string,
  method: string,
  args: readonly string[] = [],
  said: (text: string) => void = () => {},
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify({ method, args })
    const call = request({ socketPath: socketFile, path: '/call', method: 'POST' }, (response) => {
      let last: Line | undefined
      createInterface({ input: response })
        .on('line', (text) => {
          last = JSON.parse(text) as Line
          if ('say' in last) said(last.say)
        })
        .on('close', () => {
          if (last && 'result' in last) resolve(last.result)
          else
            reject(
              new Error(last && 'error' in last ? last.error : `the hardware ended while it was asked for ${method}`),
            )
        })
    })
    call.on('error', (error: NodeJS.ErrnoException) => {
      const nobody = error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
      reject(new Error(nobody ? none : error.message))
    })
    call.end(body)
  })
}

export interface Service {
  readonly socketFile: string
  /** What each call does; `progress` reaches who called. */
  readonly methods: Readonly<Record<string, (args: string[], progress: (text: string) => void) => unknown>>
  /** What a BMC asks of a server's chassis: `0x20 get power`. */
  chassis(server: string, words: readonly string[]): Promise<string>
  say(text: string): void
}

async function read(message: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of message) {
    text += chunk
    if (text.length > body_bytes_max) throw new Error('the request is too long')
  }
  return text
}

async function answer(service: Service, message: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await read(message)
  const chassis = /^\/chassis\/(.+)$/.exec(message.url ?? '')
  if (chassis) {
    response.end(`${await service.chassis(chassis[1]!, body.trim().split(/\s+/))}\n`)
    return
  }
  const { method, args } = JSON.parse(body) as { method: string; args: string[] }
  const write = (line: Line) => void response.write(`${JSON.stringify(line)}\n`)
  try {
    if (!Object.hasOwn(service.methods, method)) throw new Error(`the hardware does not know "${method}"`)
    const result = await service.methods[method]!(args, (text) => {
      service.say(text)
      write({ say: text })
    })
    write({ result: result ?? null })
  } catch (error) {
    service.say(`${method} ${args.join(' ')}: ${(error as Error).stack}`)
    write({ error: (error as Error).message })
  }
  response.end()
}

/** Listens for calls. One that fails is said and answered; the hardware goes on. */
export function serve(service: Service, listening: () => void): void {
  const server = createServer((message, response) => {
    answer(service, message, response).catch((error) => {
      service.say(`a call failed: ${(error as Error).message}`)
      response.statusCode = 500
      response.end()
    })
  })
  // Whoever asked may wait for a whole build.
  server.requestTimeout = 0
  rmSync(service.socketFile, { force: true })
  server.listen(service.socketFile, listening)
}
