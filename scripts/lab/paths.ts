import { homedir } from 'node:os'
import { join } from 'node:path'
import { state } from '../state.ts'

/** Folder of a running laboratory: the servers' disks, logs, the control socket. `down` removes it. */
export const labFolder = join(state, 'lab')
/** What outlives a laboratory, shared by all checkouts: the root that servers are installed from. */
export const cacheFolder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'milepost')

export const socketFile = join(labFolder, 'control.sock')
export const logFile = join(labFolder, 'lab.log')
export const sshConfigFile = join(labFolder, 'ssh/config')
export const knownHostsFile = join(labFolder, 'ssh/known_hosts')
export const serverFolder = (server: string) => join(labFolder, 'servers', server)
/** The server's root as it sees it. */
export const diskFolder = (server: string) => join(serverFolder(server), 'root')
export const bmcFolder = (server: string) => join(labFolder, 'bmcs', server)

/** A machine carries one laboratory, or several of different names (letters and digits), each of a checkout of its own. */
const nickname = process.env.MILEPOST_LAB ?? ''
if (!/^[a-z0-9]{0,16}$/.test(nickname))
  throw new Error(`MILEPOST_LAB "${nickname}": use up to 16 small letters and digits`)
/** Every namespace of the laboratory begins so. */
export const namespacePrefix = nickname === '' ? 'milepost-' : `milepost.${nickname}-`
/** Control group that all its processes are in. */
export const groupName = nickname === '' ? 'milepost-lab' : `milepost-lab.${nickname}`
/** Machines that are no servers: where devices and clients are, and where the operator sits. */
export const outside = 'outside'
export const operator = 'operator'
export const namespaceOf = (machine: string) => `${namespacePrefix}${machine}`
