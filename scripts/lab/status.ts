/** The rack as a table. Pure. */
import { table } from '../devices/progress.ts'
import type { RackStatus, ServerStatus } from './rack.ts'

const lights: Record<string, string> = { on: '●', off: '○', pulled: '✕', silent: '◌' }

function condition(server: ServerStatus): string {
  if (server.power === 'off') return 'off'
  if (server.frozen) return 'frozen'
  return server.booted ? 'up' : 'boots'
}

const duration = (s: number) =>
  s < 100 ? `${Math.floor(s)} s` : s < 6_000 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3_600)} h`

/** `notes`: a word more on a server, such as its place in the cluster. */
export function statusText(status: RackStatus, notes: ReadonlyMap<string, string> = new Map()): string {
  const rows = status.servers.map((server) => [
    server.name,
    server.role,
    condition(server),
    server.power === 'on' ? duration(server.uptime_s) : '',
    server.legs.map(({ name, light, active }) => `${lights[light]} ${name}${active ? '*' : ' '}`).join('  '),
    `${server.bmc.alive ? lights[server.bmc.light] : '✕'}`,
    server.supplies.map(({ name, feed, on }) => `${on ? lights.on : lights.off} ${name}/${feed}`).join('  '),
    server.memory_bytes === undefined || server.power === 'off'
      ? ''
      : `${Math.round(server.memory_bytes / 2 ** 20)} MB`,
    notes.get(server.name) ?? '',
  ])
  const total = status.servers.reduce((sum, { memory_bytes }) => sum + (memory_bytes ?? 0), 0)
  const rest = [
    ...status.switches.map(({ name, on }) => `${on ? lights.on : lights.off} ${name}`),
    ...status.feeds.map(({ name, on }) => `${on ? lights.on : lights.off} feed:${name}`),
    ...status.cables.map(({ name, light }) => `${lights[light]} ${name}`),
  ]
  return [
    table(['server', 'role', 'is', 'since', 'legs (* active)', 'BMC', 'supplies', 'memory', 'cluster'], rows),
    '',
    rest.join('   '),
    `${lights.on} on  ${lights.off} no light  ${lights.pulled} pulled  ${lights.silent} silent      ${Math.round(total / 2 ** 20)} MB in all servers`,
  ].join('\n')
}
