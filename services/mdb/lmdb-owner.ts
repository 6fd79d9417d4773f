/** One process at a time may write to a store folder: the file `owner` says which. */
import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { ApiError } from '#services/common/errors.ts'

/** A process and when it began, in the kernel's ticks since boot: a pid alone may be given again. */
function markOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return `${pid} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`
  } catch {
    return undefined
  }
}

/** The pid of the living process that owns a store folder, if there is one. */
export function ownerOf(folder: string): number | undefined {
  let mark: string
  try {
    mark = readFileSync(join(folder, 'owner'), 'utf8')
  } catch {
    return undefined
  }
  const pid = Number(mark.split(' ')[0])
  return pid > 0 && markOf(pid) === mark ? pid : undefined
}

/** Makes this process the owner; `unavailable` if another living one is. Returns what gives it up. */
export function own(folder: string): () => void {
  const file = join(folder, 'owner')
  for (let attempt = 0; ; attempt++) {
    try {
      const handle = openSync(file, 'wx', 0o600)
      writeSync(handle, markOf(process.pid) ?? `${process.pid} 0`)
      closeSync(handle)
      return () => rmSync(file, { force: true })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const pid = ownerOf(folder)
    if (pid !== undefined || attempt === 2) {
      const who = pid === process.pid ? 'this process' : `process ${pid ?? '?'}`
      throw new ApiError('unavailable', `the store ${folder} is open in ${who}: stop it first`)
    }
    // Its owner was killed.
    rmSync(file, { force: true })
  }
}
