/** HTTP for servers that start over the network: boot scripts, kernel, image, steps, root archive; and their reports. */
import { createReadStream, statSync } from 'node:fs'
import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import type { InstallPlan, Plan, ServerPlan } from '#infra/site/plan.ts'
import { bootScript, chainScript, fromDrives, type RunFacts } from './render.ts'
import type { Archive } from './root.ts'

/** What becomes of what servers ask and report. */
export interface Conductor {
  /** Whether it is this run's to look at. */
  wants(server: string): boolean
  /** The script that it runs next. */
  step(server: string): string
  booting(server: string): void
  inventory(server: string, text: string): void
  report(server: string, text: string): void
  /** Bytes of the root archive that it has got. */
  sent(server: string, bytes: number): void
  unknown(address: string, what: string): void
}

const inventory_bytes_max = 256 * 1_024
const report_bytes_max = 16 * 1_024

export interface ServiceProps {
  readonly plan: Plan
  readonly install: InstallPlan
  readonly archive: Archive
  readonly facts: RunFacts
  readonly conductor: Conductor
}

/** Serves until it is closed. Throws when the address is not this machine's. */
export async function serve(props: ServiceProps): Promise<HttpServer> {
  const { install } = props
  const server = createServer((request, response) => {
    answer(props, request, response).catch((error: Error) => {
      if (!response.headersSent) response.writeHead(500).end(`${error.message}\n`)
      else response.destroy()
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRNOTAVAIL'
          ? new Error(
              `this machine has no address ${install.address}, which the site says the machine that deploys has on lan: deploy from there, or correct install.address`,
            )
          : error.code === 'EADDRINUSE'
            ? new Error(`port ${install.port} of ${install.address} is taken: is another deploy running?`)
            : error,
      ),
    )
    server.listen(install.port, install.address, resolve)
  })
  return server
}

async function answer(props: ServiceProps, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { plan, archive, facts, conductor } = props
  const url = new URL(request.url ?? '/', facts.url)
  const text = (body: string, code = 200) =>
    void response.writeHead(code, { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(body) }).end(body)
  const key = `${request.method} ${url.pathname}`
  if (key === 'GET /boot.ipxe') return text(chainScript(facts.url))
  if (key === 'GET /boot') {
    const mac = (url.searchParams.get('mac') ?? '').toLowerCase()
    const server = plan.servers.find(({ nics }) => nics.some((nic) => nic.mac === mac))
    if (!server) {
      conductor.unknown(mac, 'asks for a boot script')
      return text(fromDrives)
    }
    if (!conductor.wants(server.name)) return text(fromDrives)
    conductor.booting(server.name)
    return text(bootScript(facts, server.name, mac, props.install.kernel_args))
  }
  if (key === 'GET /vmlinuz') return file(archive.kernel, request, response)
  if (key === 'GET /image') return file(archive.image, request, response)
  const [, name, what] = /^\/servers\/([a-z0-9-]+)\/(step|inventory|report|root)$/.exec(url.pathname) ?? []
  const server = plan.servers.find((other) => other.name === name)
  if (!server || what === undefined) return text('there is no such thing here\n', 404)
  // What a server is told and what it reports is its own: nobody else speaks for it by accident.
  if (!isFrom(request, server)) return text('this is another server\n', 403)
  if (url.searchParams.get('run') !== facts.run || !conductor.wants(server.name))
    return what === 'step' ? text(conductor.step('')) : text('this belongs to a run that is over\n', 410)
  if (request.method === 'GET' && what === 'step') return text(conductor.step(server.name))
  if (request.method === 'GET' && what === 'root')
    return file(archive.root, request, response, (bytes) => conductor.sent(server.name, bytes))
  if (request.method === 'POST' && what === 'inventory')
    conductor.inventory(server.name, await body(request, inventory_bytes_max))
  else if (request.method === 'POST' && what === 'report')
    conductor.report(server.name, await body(request, report_bytes_max))
  else return text('not like this\n', 405)
  return text('thanks\n')
}

const isFrom = (request: IncomingMessage, { access }: ServerPlan) =>
  (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '') === access.address

/** A file as a whole; `sent` is told how far it got. */
async function file(
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
  sent: (bytes: number) => void = () => {},
): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': statSync(path).size })
  if (request.method === 'HEAD') return void response.end()
  let bytes = 0
  const stream = createReadStream(path, { highWaterMark: 256 * 1_024 })
  stream.on('data', (chunk) => sent((bytes += chunk.length)))
  // A server whose power goes in the middle is no error of this one.
  await pipeline(stream, response).catch(() => stream.destroy())
}

async function body(request: IncomingMessage, bytes_max: number): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length
    if (bytes > bytes_max) throw new Error(`more than ${bytes_max} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}
