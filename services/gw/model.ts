/** What tgctl keeps and tg obeys. Times of settings are in seconds. */

export interface Channel {
  id: number
  account_id: number
  name: string
  protocol: string
  /** Port that devices send to, of each transport that the protocol has. */
  port: number
  /** `registered`: an ident that is no device of the account is refused. */
  policy: 'open' | 'registered'
  enabled: boolean
  /** Silence after which a connection is closed. */
  idle_timeout: number
  /** Time to the first whole packet. */
  login_timeout: number
  /** TCP connections of one tg, and so many UDP peers that it remembers; one address may be a whole fleet behind a NAT. */
  connections_max: number
  connections_per_peer_max: number
  /** Seconds that messages are kept; 0: for ever. */
  messages_ttl: number
  /** MDB's containers of its messages and its events. */
  container_id: number
  log_container_id: number
  /** Why it takes no data now: `messages_per_day`, `account`; null: it does. */
  blocked: string | null
}

export interface Device {
  id: number
  account_id: number
  name: string
  ident: string
  type: string | null
  container_id: number
}

/** Messages stored by one run of one tg for an account on a UTC day; grows only, so that a repeat does no harm. */
export interface Count {
  source: string
  account_id: number
  /** `2026-01-31`, UTC. */
  day: string
  messages: number
}

/** tgctl's answer to counts: what tg must know within a second. */
export interface Pulse {
  /** Grow with each change of the collection. */
  channels: number
  devices: number
  /** Accounts that may not store now, and why. */
  blocked: { account_id: number; reason: string }[]
}

/** Key of a device among all accounts'. */
export const deviceKey = (account_id: number, ident: string): string => `${account_id}/${ident}`

export const today = (): string => new Date().toISOString().slice(0, 10)
