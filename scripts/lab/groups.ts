/** Control groups below one of a name: to end, hold and weigh all processes of each together, and none but them. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where a hierarchy is mounted, and where in it groups can be made. */
interface Hierarchy {
  readonly folder: string
  readonly controllers: readonly string[]
  /** Version 2, the only hierarchy or beside those of version 1. */
  readonly unified: boolean
}

/** Controllers of version 1 that are of use here. Those of the processor stay out: a group of its own would get a group's share. */
const used = ['name=systemd', 'freezer', 'memory', 'pids']

/** The hierarchies of this machine: one for all (version 2), or one a controller (version 1). */
function hierarchies(): Hierarchy[] {
  const own = new Map<string, string>()
  for (const line of readFileSync('/proc/self/cgroup', 'utf8').trim().split('\n')) {
    const [, controllers = '', path = '/'] = line.split(':')
    own.set(controllers, path)
  }
  const found: Hierarchy[] = []
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').trim().split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const [type, , options = ''] = after.split(' ')
    const mount = before.split(' ')[4]!
    if (type === 'cgroup2') {
      // Directly below the root: a group with processes of its own cannot hand its controllers on.
      found.push({ folder: mount, controllers: [], unified: true })
    } else if (type === 'cgroup') {
      const controllers = options.split(',').filter((word) => own.has(word) || word.startsWith('name='))
      const key = [...own.keys()].find((one) => one === controllers.join(',') || controllers.includes(one))
      if (key === undefined || !controllers.some((one) => used.includes(one))) continue
      found.push({ folder: join(mount, own.get(key)!), controllers, unified: false })
    }
  }
  return found
}

/** The groups below the group of this name. */
export function groupsOf(group: string) {
  const all = hierarchies().map((one) => ({ ...one, folder: join(one.folder, group) }))
  const only2 = all.every(({ unified }) => unified)

  /** Folders that a process joins by writing its id to `cgroup.procs`; made if need be. */
  function groupFolders(name: string): string[] {
    return all.map(({ folder, unified }) => {
      const own = join(folder, name)
      mkdirSync(own, { recursive: true })
      if (unified && only2) {
        for (const above of [join(folder, '..'), folder]) {
          try {
            writeFileSync(join(above, 'cgroup.subtree_control'), '+memory +pids')
          } catch {
            // Without it memory is not weighed; nothing else is lost.
          }
        }
      }
      return own
    })
  }

  /** A command line that joins the group of this name and then becomes the command. */
  function grouped(name: string, command: string, args: readonly string[]): [string, string[]] {
    const join = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"'
    return ['sh', ['-c', join, 'sh', ...groupFolders(name), '--', command, ...args]]
  }

  const process_folder = () => all.find(({ unified }) => unified)?.folder ?? all[0]?.folder

  /** Names of the groups that there are. */
  function groupNames(): string[] {
    const folder = process_folder()
    if (folder === undefined || !existsSync(folder)) return []
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
  }

  /** Ids of all processes in a group and the groups below it. */
  function processesOf(name: string): number[] {
    const folder = process_folder()
    return folder === undefined ? [] : below(join(folder, name))
  }

  /** Stops or resumes every process of a group, as SIGSTOP does that none of them can notice or catch. */
  function setFrozen(name: string, frozen: boolean): void {
    const v1 = all.find(({ controllers }) => controllers.includes('freezer'))
    const v2 = all.find(({ unified }) => unified)
    if (v1) writeFileSync(join(v1.folder, name, 'freezer.state'), frozen ? 'FROZEN' : 'THAWED')
    else if (v2) writeFileSync(join(v2.folder, name, 'cgroup.freeze'), frozen ? '1' : '0')
    else throw new Error('this kernel has no cgroup freezer')
  }

  /** Memory that a group's processes hold, page cache left out; undefined where it is not counted. */
  function memory_bytes(name: string): number | undefined {
    for (const { folder, controllers, unified } of all) {
      if (!unified && !controllers.includes('memory')) continue
      const file = join(folder, name, 'memory.stat')
      if (!existsSync(file)) continue
      const stat = readFileSync(file, 'utf8')
      const value = (field: string) => Number(new RegExp(`^${field} (\\d+)$`, 'm').exec(stat)?.[1] ?? Number.NaN)
      const bytes = unified ? value('anon') : value('total_rss')
      if (Number.isFinite(bytes)) return bytes
    }
    return undefined
  }

  /** Removes a group whose processes have ended; one that is still in use stays. */
  function removeGroup(name?: string): void {
    for (const { folder } of all) removeTree(name === undefined ? folder : join(folder, name))
  }

  return { grouped, groupNames, processesOf, setFrozen, memory_bytes, removeGroup }
}

function below(folder: string): number[] {
  try {
    const own = readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number)
    const rest = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())
    return own.concat(rest.flatMap((entry) => below(join(folder, entry.name))))
  } catch (error) {
    // The group ended, perhaps between two looks: a server that dies takes its groups with it.
    if (['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) return []
    throw error
  }
}

function removeTree(folder: string): void {
  if (!existsSync(folder)) return
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(folder, entry.name))
  }
  try {
    rmdirSync(folder)
  } catch {
    // Its last process is about to go; the next `down` takes it.
  }
}
