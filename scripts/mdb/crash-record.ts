/** What the trials write: each record follows from its number. */
import type { Logger } from 'pino'
import type { Message } from '#services/mdb/page.ts'

export const containers = 12
export const ttl_s = 2 * 86_400
const begin_s = 19_000 * 86_400
const step_s = 20
/** Records come late by up to this. */
const late_max_s = 3_000

/** A log that says nothing and costs nothing. */
export const silent = new Proxy({}, { get: () => () => {} }) as Logger

/** Time at which record `n` is sent, s. */
export const now = (n: number): number => begin_s + n * step_s

export function recordOf(n: number): Message {
  const late = n % 5 === 0 ? (n * 7_927) % late_max_s : 0
  const message: Message = {
    timestamp: now(n) - late,
    n,
    'position.latitude': 50 + (n % 1_000) / 1e4,
    ident: `d${n % 100}`,
  }
  if (n % 3 === 0) message['engine.ignition.status'] = n % 2 === 0
  return message
}
