import { spawn } from 'node:child_process'
import { root } from '../state.ts'
import type { Bench } from './trials.ts'

/** Runs the tests that every store must pass, in ava, on the cluster. */
export function commonSuite({ settings, say }: Bench): Promise<string> {
  const ava = `${root}/node_modules/ava/entrypoints/cli.js`
  const child = spawn(process.execPath, [ava, '--config', 'cassandra.ava.config.js'], {
    cwd: root,
    env: { ...process.env, MILEPOST_CASSANDRA: settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk))
  return new Promise((done, failed) => {
    child.on('error', failed)
    child.on('close', (code) => {
      const count = /(\d+) tests? passed/.exec(said)?.[1]
      if (code === 0 && count !== undefined) return done(`${count} tests`)
      say(said.trim())
      failed(new Error(`ava ended with ${code}`))
    })
  })
}
