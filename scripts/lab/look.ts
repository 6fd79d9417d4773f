/** A look into servers from where their processes can be seen: it needs no network of theirs. */
import type { RackStatus } from './rack.ts'
import { run } from './shell.ts'

const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** A command line that runs in a server; `pid` is its first process. */
export const within = (pid: number, command: readonly string[]): string[] => [
  'nsenter',
  ...['-t', String(pid), '-a', '--', 'env', '-i', path, 'HOME=/root', `TERM=${process.env.TERM ?? 'dumb'}`],
  ...command,
]

/** Runs a command in a server and gives what it printed; rejects when it fails. */
export function enter(pid: number, command: readonly string[]): Promise<string> {
  const [program, ...args] = within(pid, command)
  return run(program!, args)
}

/** As `enter`, undefined when it cannot be run, fails, or takes too long. */
export const peek = (pid: number, command: readonly string[]): Promise<string | undefined> =>
  enter(pid, ['timeout', '3', ...command]).catch(() => undefined)

/** Each server's place in the cluster, from the first one that can tell; none when no cluster runs. */
export async function clusterNotes(status: RackStatus): Promise<Map<string, string>> {
  for (const { pid, booted, frozen } of status.servers) {
    if (pid === undefined || !booted || frozen) continue
    const xml = await peek(pid, ['crm_mon', '--output-as=xml', '-1', '--group-by-node'])
    if (xml !== undefined) return notesOf(xml)
  }
  return new Map()
}

/** From crm_mon's XML, grouped by node, to a word or two a node. Pure. */
export function notesOf(xml: string): Map<string, string> {
  const notes = new Map<string, string>()
  const coordinator = /<current_dc present="true"[^>]* name="([^"]+)"/.exec(xml)?.[1]
  for (const [, name = '', attributes = '', body = ''] of xml.matchAll(
    /<node name="([^"]+)"([^>]*online=[^>]*?)(?:\/>|>([\s\S]*?)<\/node>)/g,
  )) {
    const is = (word: string) => attributes.includes(`${word}="true"`)
    const state =
      ['unclean', 'standby', 'maintenance'].find(is) ?? (is('pending') ? 'joins' : is('online') ? 'online' : 'offline')
    const resources = [...body.matchAll(/<resource id="([^"]+)"[^>]*role="([^"]+)"/g)]
      .filter(([, , role]) => role !== 'Unpromoted')
      .map(([, id]) => id)
    notes.set(name, [`${state}${name === coordinator ? ' (DC)' : ''}`, ...resources].join(' '))
  }
  return notes
}
