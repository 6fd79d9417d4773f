import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { compile, type Program } from './compile.ts'

export interface ProtocolInfo {
  name: string
  title: string
  maker: string
  document: string
  transports: string[]
  default_port: number
  version: number
  commands: { name: string; title: string; parameters: string[] }[]
}

/** Where the descriptions are: NAME.pvm, tables/NAME.pvm, and NAME.session with NAME.expected to test each. */
export const folder = join(import.meta.dirname, 'protocols')
const compiled = new Map<string, Program>()

/** Names of the protocols there are, in order. */
export function protocolNames(): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.pvm'))
    .map((file) => file.slice(0, -4))
    .sort()
}

/** File of a protocol's description; throws when there is none, with the names that exist. */
export function protocolFile(name: string): string {
  const file = join(folder, `${name}.pvm`)
  if (!/^\w+$/.test(name) || !existsSync(file))
    throw new Error(`there is no protocol "${name}"; protocols are ${protocolNames().join(', ')}`)
  return file
}

/** Compiles a protocol's description, once. */
export function loadProtocol(name: string): Program {
  const known = compiled.get(name)
  if (known) return known
  const program = compile(protocolFile(name))
  compiled.set(name, program)
  return program
}

/** What the sockets of a protocol's channel are; HTTP comes by TCP. */
export function transportsOf({ header }: Program): ('tcp' | 'udp')[] {
  const named = String(header.transports ?? 'tcp').split(' ')
  return [...new Set(named.map((transport) => (transport === 'udp' ? 'udp' : 'tcp')))]
}

/** What the protocols say of themselves. */
export function protocols(): ProtocolInfo[] {
  return protocolNames().map((name) => {
    const { header, commands } = loadProtocol(name)
    return {
      name,
      title: String(header.title ?? name),
      maker: String(header.maker ?? ''),
      document: String(header.document ?? ''),
      transports: String(header.transports ?? 'tcp').split(' '),
      default_port: Number(header.port ?? 0),
      version: Number(header.version ?? 1),
      commands: commands.map((command) => ({
        name: command.name,
        title: command.title,
        parameters: command.parameters.map((parameter) => parameter.name),
      })),
    }
  })
}
