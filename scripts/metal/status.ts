/** The site as a table. Pure. */
import { table } from '../devices/progress.ts'
import type { Light, ServerStatus, SiteStatus } from './hardware.ts'

const lights: Record<Light, string> = { on: '●', off: '○', pulled: '✕', silent: '◌' }

const condition = ({ power, frozen, boot }: ServerStatus) =>
  power === 'off' ? (boot === 'default' ? 'off' : `off, then ${boot}`) : frozen ? 'frozen' : 'on'

const duration = (s: number) =>
  s < 100 ? `${Math.floor(s)} s` : s < 6_000 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3_600)} h`

export function statusText(status: SiteStatus): string {
  const rows = status.servers.map((server) => [
    server.name,
    server.role,
    condition(server),
    server.power === 'on' ? duration(server.uptime_s) : '',
    String(server.boots),
    server.links.map(({ name, light, active }) => `${lights[light]} ${name}${active ? '*' : ' '}`).join(' '),
    server.drives.map((drive) => `${drive.in ? lights.on : lights.pulled} ${drive.name}`).join('  '),
    server.bmc.alive ? lights[server.bmc.light] : lights.off,
    server.supplies.map(({ name, feed, on }) => `${on ? lights.on : lights.off} ${name}/${feed}`).join('  '),
    server.memory_bytes === undefined ? '' : `${Math.round(server.memory_bytes / 2 ** 20)} MB`,
    server.console,
  ])
  const shown = (list: readonly { name: string; on: boolean }[], prefix = '') =>
    list.map(({ name, on }) => `${on ? lights.on : lights.off} ${prefix}${name}`)
  return [
    table(
      [
        'server',
        'role',
        'is',
        'since',
        'boots',
        'links (* active)',
        'drives',
        'BMC',
        'supplies',
        'memory',
        'its console says',
      ],
      rows,
    ),
    '',
    [...shown(status.feeds, 'feed/'), ...shown(status.pdus), ...shown(status.switches)].join('   '),
    status.cables.map(({ name, light }) => `${lights[light]} ${name}`).join('   '),
    `${lights.on} on  ${lights.off} dark  ${lights.pulled} pulled  ${lights.silent} silent`,
  ].join('\n')
}
