import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { mustCall } from '#services/common/client.ts'

/** Where the state of this checkout's site lies. */
export const stateFolder = process.env.MILEPOST_STATE ?? resolve(import.meta.dirname, '../../.milepost')

/** A running environment as a user sees it: its front door and a token. */
export interface Site {
  url: string
  token: string
}

/** A front door with the token that lies in a file, home's if none is named; throws with the remedy when there is none. */
export function siteAt(url = 'http://127.0.0.1:7000', tokenFile = tokenFileOf('home')): Site {
  try {
    return { url, token: readFileSync(tokenFile, 'utf8').trim() }
  } catch {
    throw new Error(`there is no token in ${tokenFile}: start Milepost first (npm start), or give --token-file`)
  }
}

/** Where the first token of an environment lies. `home`: home's token file, beside which the others lie. */
export function tokenFileOf(environment: string, home?: string): string {
  const folder = home === undefined ? join(stateFolder, 'environments') : join(home, '../..')
  return join(folder, environment, 'admin-token')
}

/** One REST call through the front door; throws ApiError with the reason. */
export function rest<T = Record<string, unknown>>(
  site: Site,
  method: string,
  path: string,
  body?: unknown,
  timeout_ms = 30_000,
): Promise<T[]> {
  const options = { token: site.token, timeout_ms }
  return mustCall<T>(method, `${site.url}${path}`, body === undefined ? options : { ...options, body })
}

export interface Channel {
  id: number
  name: string
  protocol: string
  port: number
  enabled: boolean
}

/** An open channel of a protocol; made when there is none. */
export async function channelOf(site: Site, protocol: string, name?: string): Promise<Channel> {
  const all = name === undefined ? await rest<Channel>(site, 'GET', '/gw/channels/all') : []
  const found = all.find((channel) => channel.protocol === protocol && channel.enabled)
  if (found) return found
  const [made] = await rest<Channel>(site, 'POST', '/gw/channels', [{ name: name ?? protocol, protocol }])
  if (!made) throw new Error(`a ${protocol} channel could not be made`)
  return made
}
