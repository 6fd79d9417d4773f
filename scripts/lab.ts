/** `npm run lab -- up|down|status|…`: a rack on this machine. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { hardware } from './lab/client.ts'
import { down, up } from './lab/lifecycle.ts'
import { clusterNotes, within } from './lab/look.ts'
import { partsOf } from './lab/parts.ts'
import { namespaceOf, operator, outside, sshConfigFile } from './lab/paths.ts'
import { install } from './lab/requirements.ts'
import { selftest } from './lab/selftest.ts'
import { pause } from './lab/shell.ts'
import { labPlan } from './lab/site.ts'
import { statusText } from './lab/status.ts'
import { wiringOf } from './lab/wiring.ts'

const help = `usage: npm run lab -- COMMAND

  up                     builds the rack of site "lab" and switches it on (again: starts what is off, and brings
                         servers in and out as the site file says)
  down                   ends it and removes every trace of it, also after a crash
  status                 power, lights, supplies, memory, place in the cluster
  watch                  the same, live
  console SERVER         a shell on the server, with or without its network
  console outside        a shell where the devices and clients are
  exec SERVER COMMAND…   runs one command there
  power SERVER on|off|reset|soft-off
  freeze SERVER          holds all its processes;  thaw SERVER
  pull PART              a cable, switch, feed or cord out;  push PART: in again
  replace SERVER         another machine in its place, with an empty system
  silence PART           a cable whose light stays on but nothing passes;  unsilence PART
  parts                  names of all parts
  restore                all pushed in, switched on, thawed
  install                installs the Debian packages that the laboratory needs
  drill NAME             the same as npm run drill -- NAME
  selftest               builds a rack, tries its hardware, takes it down

SSH: ssh -F ${sshConfigFile} SERVER
`

const say = (text: string) => void process.stdout.write(`${text}\n`)

/** Runs a program in a server's or a place's namespaces; gives its exit code. */
async function enter(name: string, command: readonly string[], terminal: boolean): Promise<number> {
  const places = [outside, operator]
  const args: string[] = places.includes(name) ? ['ip', 'netns', 'exec', namespaceOf(name)] : await intoServer(name)
  const [program, ...rest] = [...args, ...command]
  return spawnSync(program!, rest, { stdio: terminal ? 'inherit' : ['ignore', 'inherit', 'inherit'] }).status ?? 1
}

async function intoServer(name: string): Promise<string[]> {
  const { servers } = await hardware.status()
  const server = servers.find((one) => one.name === name)
  if (!server)
    throw new Error(
      `there is no server "${name}"; there are ${servers.map((one) => one.name).join(', ')}, ${outside}, ${operator}`,
    )
  if (server.pid === undefined) throw new Error(`${name} is off: npm run lab -- power ${name} on`)
  return within(server.pid, [])
}

async function watch(): Promise<void> {
  for (;;) {
    const status = await hardware.status()
    process.stdout.write(`\x1b[H\x1b[2J${statusText(status, await clusterNotes(status))}\n`)
    await pause(1_000)
  }
}

async function main(): Promise<number> {
  const [command, ...args] = process.argv.slice(2)
  const [name = '', ...rest] = args
  if (command === undefined || command === 'help' || args.includes('--help') || command.startsWith('-')) {
    process.stdout.write(help)
    return command === undefined ? 2 : 0
  }
  const began = performance.now()
  const seconds = () => ((performance.now() - began) / 1000).toFixed(1)
  if (command === 'up' || command === 'selftest') {
    // Interrupted, it leaves nothing half-built.
    process.once('SIGINT', () => {
      say('\ninterrupted: taking it down')
      down(say).then(() => process.exit(130))
    })
  }
  if (command === 'up') {
    await up(say)
    say(`\n${statusText(await hardware.status())}\n\nup in ${seconds()} s. ssh -F ${sshConfigFile} gw1`)
  } else if (command === 'down') {
    await down(say)
    say(`${seconds()} s`)
  } else if (command === 'status') {
    const status = await hardware.status()
    say(statusText(status, await clusterNotes(status)))
  } else if (command === 'watch') await watch()
  else if (command === 'console') return enter(name, ['bash', '-l'], true)
  else if (command === 'exec') return enter(name, rest, false)
  else if (command === 'power') await hardware.power(name, rest[0] as 'on')
  else if (command === 'freeze' || command === 'thaw' || command === 'replace') await hardware[command](name)
  else if (command === 'pull' || command === 'push' || command === 'silence' || command === 'unsilence')
    await hardware[command](name)
  else if (command === 'parts')
    say(
      partsOf(wiringOf(labPlan()))
        .map((part) => `${part.kind.padEnd(7)} ${part.name}`)
        .join('\n'),
    )
  else if (command === 'restore') await hardware.restore()
  else if (command === 'install') install(say)
  else if (command === 'drill')
    return (
      spawnSync(process.execPath, [join(import.meta.dirname, 'drill.ts'), ...args], { stdio: 'inherit' }).status ?? 1
    )
  else if (command === 'selftest') return (await selftest(say)) === 0 ? 0 : 1
  else throw new Error(`"${command}" is no command of the laboratory; npm run lab -- help lists them`)
  return 0
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`lab: ${(error as Error).message}\n`)
  process.exitCode = 1
}
