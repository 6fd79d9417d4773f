import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs'

/** How much of a log's end is looked through. */
const read_bytes_max = 4 * 1024 * 1024
const count_default = 100

export interface LogQuery {
  /** Newest lines at most. */
  count?: number
  /** pino's level at least: 30 info, 40 warn, 50 error. */
  level?: number
  /** s since 1970 UTC. */
  from?: number
}

/** The newest log lines of a process, oldest first. What is no JSON line (PostgreSQL's) is wrapped in one. */
export function readLog(
  file: string,
  { count = count_default, level = 0, from = 0 }: LogQuery,
): Record<string, unknown>[] {
  if (!existsSync(file)) return []
  const handle = openSync(file, 'r')
  try {
    const { size } = fstatSync(handle)
    const start = Math.max(0, size - read_bytes_max)
    const bytes = Buffer.alloc(size - start)
    readSync(handle, bytes, 0, bytes.length, start)
    const lines = bytes.toString('utf8').split('\n')
    // The first line may have begun before what was read.
    if (start > 0) lines.shift()
    return lines
      .filter((line) => line !== '')
      .map(parseLine)
      .filter(
        (line) => Number(line.level ?? 30) >= Number(level) && Number(line.time ?? Date.now()) >= Number(from) * 1000,
      )
      .slice(-Number(count))
  } finally {
    closeSync(handle)
  }
}

function parseLine(line: string): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(line)
    if (typeof parsed === 'object' && parsed !== null) return parsed as Record<string, unknown>
  } catch {
    // Not JSON: the text itself is the message.
  }
  return { level: /FATAL|PANIC/.test(line) ? 60 : /ERROR/.test(line) ? 50 : 30, msg: line }
}
