/** A look into servers from where their processes can be seen: it needs no network of theirs. */
import { spawnSync } from 'node:child_process'
import type { RackStatus } from './rack.ts'

const look_time_max_ms = 3_000

/** What a command prints in a server; undefined when it cannot be run or fails. */
export function peek(pid: number, command: readonly string[]): string | undefined {
  const done = spawnSync('nsenter', ['-t', String(pid), '-a', '--', ...command], {
    encoding: 'utf8',
    timeout: look_time_max_ms,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  })
  return done.status === 0 ? done.stdout : undefined
}

/** Each server's place in the cluster, from the first one that can tell; none when no cluster runs. */
export function clusterNotes(status: RackStatus): Map<string, string> {
  const notes = new Map<string, string>()
  for (const { pid, booted, frozen } of status.servers) {
    if (pid === undefined || !booted || frozen) continue
    const xml = peek(pid, ['crm_mon', '--output-as=xml', '-1', '--group-by-node'])
    if (xml === undefined) continue
    const coordinator = /<current_dc present="true"[^>]* name="([^"]+)"/.exec(xml)?.[1]
    for (const [, name = '', attributes = '', body = ''] of xml.matchAll(
      /<node name="([^"]+)"([^>]*?)(?:\/>|>([\s\S]*?)<\/node>)/g,
    )) {
      const is = (word: string) => attributes.includes(`${word}="true"`)
      if (!attributes.includes('online=')) continue
      const state = is('unclean')
        ? 'unclean'
        : !is('online')
          ? 'offline'
          : is('standby')
            ? 'standby'
            : is('maintenance')
              ? 'maintenance'
              : 'online'
      const resources = [...body.matchAll(/<resource id="([^"]+)"/g)].map(([, id]) => id)
      notes.set(name, [`${state}${name === coordinator ? ' (DC)' : ''}`, ...resources].join(' '))
    }
    return notes
  }
  return notes
}
