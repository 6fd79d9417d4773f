import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import test, { type ExecutionContext } from 'ava'
import { freePort } from './ports.ts'

/** So few that two processes that knew nothing of each other would get the same ones. */
const [from, to, each] = [20_100, 20_159, 20] as const

/** A process that asks for ports, says which, and lives on. */
async function asker(t: ExecutionContext): Promise<{ ports: number[]; kill(): Promise<void> }> {
  const code = `
    import { freePort } from ${JSON.stringify(new URL('ports.ts', import.meta.url).href)}
    const ports = await Promise.all(Array.from({ length: ${each} }, () => freePort(1, ${from}, ${to})))
    console.log(JSON.stringify(ports))
    setInterval(() => {}, 1_000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => void child.kill('SIGKILL'))
  const [line] = await once(createInterface(child.stdout), 'line')
  return {
    ports: JSON.parse(line),
    async kill() {
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

test('two processes never get the same port; those of one that was killed are given again', async (t) => {
  const askers = await Promise.all([asker(t), asker(t)])
  const given = askers.flatMap(({ ports }) => ports)
  t.is(new Set(given).size, 2 * each)
  t.true(given.every((port) => from <= port && port <= to))
  const other = await freePort(1, from, to)
  t.false(given.includes(other))
  for (const one of askers) await one.kill()
  const all = await Promise.all(Array.from({ length: 2 * each }, () => freePort(1, from, to)))
  t.is(new Set([...all, other]).size, 2 * each + 1)
})
