import { namespaceOf, namespacePrefix } from './paths.ts'
import { attempt, run } from './shell.ts'

/** Several `ip` commands at once in a machine's namespace: one process, and all within a millisecond of each other. */
export async function ip(machine: string, commands: readonly string[]): Promise<void> {
  if (commands.length === 0) return
  await run('ip', ['-n', namespaceOf(machine), '-batch', '-'], { input: `${commands.join('\n')}\n` })
}

/** As `ip`, for what may be gone or there already: each command is tried. */
export async function tryIp(machine: string, commands: readonly string[]): Promise<void> {
  if (commands.length === 0) return
  await attempt('ip', ['-force', '-n', namespaceOf(machine), '-batch', '-'], { input: `${commands.join('\n')}\n` })
}

/** Runs a command in a machine's namespace. */
export const inside = (machine: string, command: string, args: readonly string[]) =>
  run('ip', ['netns', 'exec', namespaceOf(machine), command, ...args])

export async function addNamespace(machine: string): Promise<void> {
  const name = namespaceOf(machine)
  await run('ip', ['netns', 'add', name])
  await ip(machine, ['link set lo up'])
  // A machine answers ARP for a device's own addresses alone and takes no route over a dead leg; a device that is
  // told to, announces its addresses: so a bond's change of leg is heard of at once.
  const settings = {
    'net.ipv4.conf.all.arp_notify': 1,
    'net.ipv4.conf.default.arp_notify': 1,
    'net.ipv4.conf.all.ignore_routes_with_linkdown': 1,
    'net.ipv6.conf.all.disable_ipv6': 0,
  }
  await inside(machine, 'sysctl', ['-qw', ...Object.entries(settings).map(([key, value]) => `${key}=${value}`)])
}

export const removeNamespace = (machine: string) => attempt('ip', ['netns', 'del', namespaceOf(machine)])

/** Machines that have a namespace of the laboratory's. */
export async function namespaces(): Promise<string[]> {
  const list = (await attempt('ip', ['netns', 'list'])) ?? ''
  return list
    .split('\n')
    .map((line) => line.split(' ')[0]!)
    .filter((name) => name.startsWith(namespacePrefix))
    .map((name) => name.slice(namespacePrefix.length))
}
