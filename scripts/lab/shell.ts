import { spawn } from 'node:child_process'

export interface RunOptions {
  input?: string
  env?: Record<string, string>
  /** Exit codes that are no failure, besides 0. */
  accept?: readonly number[]
}

/** Runs a command to its end and gives what it printed; a failure is thrown with the command's own last words. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = options.env ? { ...process.env, ...options.env } : process.env
    const child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'pipe'] })
    let out = ''
    let said = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk))
    child.stderr.on('data', (chunk: Buffer) => (said += chunk))
    child.stdin.on('error', () => {})
    child.stdin.end(options.input ?? '')
    child.on('error', (error) => reject(new Error(`${command}: ${error.message}`)))
    child.on('close', (code) => {
      if (code === 0 || options.accept?.includes(code ?? -1)) return resolve(out)
      const words = (said || out).trim().split('\n').slice(-5).join('\n')
      reject(new Error(`${command} ${args.join(' ').slice(0, 120)} ended with ${code}: ${words}`))
    })
  })
}

/** As `run`, for what may already be as wanted: undefined instead of a failure. */
export const attempt = (command: string, args: readonly string[], options?: RunOptions) =>
  run(command, args, options).catch(() => undefined)

export const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms))

/** Looks again and again until it is so; throws with `what` when it is not in time. */
export async function until(
  what: string,
  time_max_ms: number,
  look: () => boolean | Promise<boolean>,
  every_ms = 50,
): Promise<void> {
  const end = performance.now() + time_max_ms
  while (!(await look())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${time_max_ms / 1000} s`)
    await pause(every_ms)
  }
}
