import { spawn } from 'node:child_process'

const every_s = 0.01

/** Echo requests every 10 ms from a namespace, until stopped. */
export function pinging(namespace: string, address: string): { stop(): Promise<Pings> } {
  const args = ['netns', 'exec', namespace, 'ping', '-n', '-D', '-O', '-i', String(every_s), address]
  const child = spawn('ip', args, { stdio: ['ignore', 'pipe', 'ignore'] })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk))
  const ended = new Promise<void>((done) => child.on('close', () => done()))
  return {
    stop: async () => {
      child.kill('SIGINT')
      await ended
      return pingsOf(text, Date.now() / 1000)
    },
  }
}

export interface Pings {
  answered: number
  /** Longest time without an answer, up to the end; ms. */
  gap_ms: number
  /** When each answer came; ms since 1970. */
  times: number[]
}

/** Reads what `ping -D` printed. */
export function pingsOf(text: string, end_s: number): Pings {
  const times = [...text.matchAll(/^\[(\d+\.\d+)\] \d+ bytes from/gm)].map(([, time]) => Number(time))
  let gap = 0
  for (const [i, time] of times.entries()) gap = Math.max(gap, time - (times[i - 1] ?? time))
  const last = times.at(-1)
  if (last !== undefined) gap = Math.max(gap, end_s - last - every_s)
  return {
    answered: times.length,
    gap_ms: times.length === 0 ? Number.POSITIVE_INFINITY : Math.round(gap * 1000),
    times: times.map((time) => time * 1000),
  }
}
