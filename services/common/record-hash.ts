/** What makes a record of MDB the same record: decision 0003. Order among records of one timestamp is that of their hashes. */
import { hash as digest } from 'node:crypto'

/** Not part of what makes a record the same: a re-send comes later and from another port. */
const circumstances = new Set(['server.timestamp', 'peer'])

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return entries.map(([name, inner]) => [name, canonical(inner)])
}

/** 8 bytes over a record, whatever the order of its parameters, without `server.timestamp` and `peer`. */
export function recordHash(record: Record<string, unknown>): Buffer {
  const names = Object.keys(record).sort()
  let text = ''
  for (const name of names) {
    if (circumstances.has(name)) continue
    const value = record[name]
    text += `${JSON.stringify(name)}:${JSON.stringify(typeof value === 'object' ? canonical(value) : value)},`
  }
  return digest('sha1', text, 'buffer').subarray(0, 8)
}
