/** Names and places of one emulated site on this machine. */
import { join } from 'node:path'
import { groupsOf } from '../lab/groups.ts'
import { namespacesOf } from '../lab/namespaces.ts'
import { state } from '../state.ts'

/** Kernel limit for the path of a Unix socket, the ending zero included. */
const socket_path_max = 108

/** A machine carries one emulated site of a name; with MILEPOST_METAL several, each of a checkout of its own. */
const nickname = process.env.MILEPOST_METAL ?? ''
if (!/^[a-z0-9]{0,16}$/.test(nickname))
  throw new Error(`MILEPOST_METAL "${nickname}": use up to 16 small letters and digits`)

/** Machines that are no servers: where devices and clients are, where the operator sits, and where the switches run. */
export const outside = 'outside'
export const operator = 'operator'
export const racks = 'racks'
export const bmcMachine = (server: string) => `bmc-${server}`

export type Ground = ReturnType<typeof groundOf>

/** Everything of a site's emulation that has a name on this machine. Nothing is made. */
export function groundOf(site: string) {
  const folder = join(state, 'metal', site)
  const prefix = `metal.${nickname || site}.`
  const groups = groupsOf(`milepost-metal.${nickname || site}`)
  const net = namespacesOf(prefix, groups.grouped)
  const serverFolder = (server: string) => join(folder, 'servers', server)
  return {
    site,
    folder,
    prefix,
    groups,
    net,
    namespaceOf: (machine: string) => `${prefix}${machine}`,
    /** A command line in a machine's namespace and in the control group of this name. */
    inside: (group: string, machine: string, command: readonly string[]) =>
      groups.grouped(group, 'ip', ['netns', 'exec', `${prefix}${machine}`, ...command]),
    controlSocket: socketAt(join(folder, 'control.sock')),
    logFile: join(folder, 'metal.log'),
    pidFile: join(folder, 'metal.pid'),
    optionsFile: join(folder, 'options.json'),
    switchFolder: join(folder, 'switches'),
    drivesFolder: join(folder, 'drives'),
    serverFolder,
    qmpSocket: (server: string) => socketAt(join(serverFolder(server), 'qmp.sock')),
    consoleSocket: (server: string) => socketAt(join(serverFolder(server), 'console.sock')),
    /** The server's end of the way to its own BMC. */
    systemSocket: (server: string) => socketAt(join(serverFolder(server), 'bmc.sock')),
    consoleLog: (server: string) => join(serverFolder(server), 'console.log'),
    bmcFolder: (server: string) => join(folder, 'bmcs', server),
  }
}

function socketAt(path: string): string {
  if (Buffer.byteLength(path) >= socket_path_max)
    throw new Error(`${path} is too long for a socket: move the checkout, or set MILEPOST_STATE to a shorter folder`)
  return path
}
