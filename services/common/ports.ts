/**
 * Ports for tests, none given twice. Between the look whether a port is free and its use lies a while: so each claim is an
 * empty file that other processes see, named by its process and its ports.
 *
 * A claim is written first and the others' are read then: of two that overlap at least one sees the other, and tries
 * elsewhere. The name says which process it is of, and no other claim ever has it: so the claims of one that has ended
 * can be removed by anybody at any time.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Below the ports that the kernel gives to outgoing connections: none of those can take it between the look and the use. */
const port_first = 10_000
const port_last = 31_999
/** Of one user: others may not remove what is in it. */
const folder = join(tmpdir(), `milepost-ports-${process.getuid?.() ?? 0}`)
const own = new Set<string>()

interface Claim {
  pid: number
  first: number
  count: number
}

const nameOf = ({ pid, first, count }: Claim) => `${pid}-${first}-${count}-${randomBytes(4).toString('hex')}`

function claimOf(name: string): Claim {
  const [pid = 0, first = 0, count = 0] = name.split('-').map(Number)
  return { pid, first, count }
}

function lives(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function drop(name: string): void {
  rmSync(join(folder, name), { force: true })
  own.delete(name)
}

/** Name of the claim if the ports are this process's now, until it ends or drops it. */
function claim(first: number, count: number): string | undefined {
  mkdirSync(folder, { recursive: true })
  const name = nameOf({ pid: process.pid, first, count })
  writeFileSync(join(folder, name), '', { flag: 'wx' })
  own.add(name)
  for (const other of readdirSync(folder)) {
    const { pid, first: other_first, count: other_count } = claimOf(other)
    if (other === name) continue
    if (!lives(pid)) drop(other)
    else if (other_first < first + count && first < other_first + other_count) {
      drop(name)
      return undefined
    }
  }
  return name
}

process.once('exit', () => {
  for (const name of own) drop(name)
})

const isFree = (port: number) =>
  new Promise<boolean>((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })

/**
 * A port nobody listens on now and that no other call gets, here or in another process of this user, until this one ends;
 * with `count`, the first of so many in a row. Between `from` and `to` (both included), if they are given.
 */
export async function freePort(count = 1, from = port_first, to = port_last): Promise<number> {
  for (;;) {
    const first = randomInt(from, to - count + 2)
    const name = claim(first, count)
    if (name === undefined) continue
    const block = await Promise.all(Array.from({ length: count }, (_, i) => isFree(first + i)))
    if (block.every(Boolean)) return first
    drop(name)
  }
}
