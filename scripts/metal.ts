/** `npm run metal -- up|down|status|…`: the servers of a site, blank, on this machine. */
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { pause } from './lab/shell.ts'
import { metalAt } from './metal/client.ts'
import { attach } from './metal/console.ts'
import { drills, drillsNamed, runDrills } from './metal/drills/series.ts'
import { type Ground, groundOf, operator, outside } from './metal/ground.ts'
import { down, up } from './metal/lifecycle.ts'
import { defaults, optionsOf } from './metal/options.ts'
import { partsOf } from './metal/parts.ts'
import { install } from './metal/requirements.ts'
import { emulated } from './metal/site.ts'
import { statusText } from './metal/status.ts'

const help = `usage: npm run metal -- COMMAND [--site NAME]

  up                     builds switches, feeds, BMCs and servers of a site; servers are off, their drives blank
    --memory-mb N        of each server (${defaults.memory_mb})        --cpus N (${defaults.cpus})
    --drive-gb N         of each drive (${defaults.drive_gb})          --drives files|memory (${defaults.drives})
    --firmware bios|uefi (as the site says)  --accel tcg|kvm (${defaults.accel})
  down                   ends it and removes every trace of it, also after a crash
    --keep               the drives stay, and are in the servers at the next up
  status, watch          power, lights, drives, supplies, the last line of each console; watch: live
  power SERVER on|off|reset|soft-off
  boot SERVER pxe|disk|default      where its next start is from, as ipmitool's chassis bootdev
  console SERVER         its serial console; Ctrl-] leaves it
  console ${operator}       a shell at the operator's desk, which reaches the servers and their BMCs
  console ${outside}        a shell where the devices and clients are
  exec ${operator}|${outside} COMMAND…   runs one command there
  pull PART, push PART   a part out, and in again, by the site's names; parts lists them: srv1/disk1 a drive,
                         srv1/eth0 a cable, srv1/psu1 a cord, r1-sw-a a switch, r1-pdu-a a PDU, feed/A a feed
    pull PART --silent   a cable whose light stays on while nothing passes
    push PART --blank    a new drive instead of the one that was pulled; --serial S is its serial
  freeze SERVER          stops its processors;  thaw SERVER
  restore                all parts in again
  drill NAME…|all        breaks servers that are up for real, measures and mends:
${drills.map(({ name, what }) => `    ${name.padEnd(13)}${what}`).join('\n')}
    --server NAME        the server that is drilled (the first that is on);  --to FOLDER for report and plots
    --slack N            the limits of times are N times as long (1): a machine that does much else at the same time
  install                installs the Debian packages that it needs

  --site NAME            a site file with real servers (metal)
`

const say = (text: string) => void process.stdout.write(`${text}\n`)

/** Runs a program in a place's namespace; gives its exit code. */
function enter(ground: Ground, place: string, command: readonly string[]): number {
  if (place !== operator && place !== outside)
    throw new Error(`"${place}" is no place to run commands at; there are ${operator} and ${outside}`)
  const args = ['netns', 'exec', ground.namespaceOf(place), ...command]
  // A site file may ask whether it is emulated, and be smaller then.
  const env = { ...process.env, MILEPOST_METAL: process.env.MILEPOST_METAL || ground.site }
  return spawnSync('ip', args, { stdio: 'inherit', env }).status ?? 1
}

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const
const options = {
  site: text,
  'memory-mb': text,
  cpus: text,
  'drive-gb': text,
  drives: text,
  firmware: text,
  accel: text,
  keep: flag,
  silent: flag,
  blank: flag,
  serial: text,
  server: text,
  to: text,
  slack: text,
  help: { type: 'boolean', short: 'h' },
} as const

async function main(): Promise<number> {
  const words = process.argv.slice(2)
  // What comes after "exec PLACE" is not ours.
  const at = words.indexOf('exec')
  const own = at < 0 ? words : words.slice(0, at + 2)
  const { values, positionals } = parseArgs({ args: own, allowPositionals: true, options })
  const [command, name = '', word = ''] = positionals
  if (values.help || command === undefined || command === 'help') {
    process.stdout.write(help)
    return command === undefined && !values.help ? 2 : 0
  }
  const ground = groundOf(values.site ?? 'metal')
  const metal = metalAt(ground)
  const began = performance.now()
  const seconds = () => ((performance.now() - began) / 1000).toFixed(1)
  if (command === 'up') {
    // Interrupted, it leaves nothing half-built.
    process.once('SIGINT', () => {
      say('\ninterrupted: taking it down')
      void down(ground, false, say).then(() => process.exit(130))
    })
    await up(ground, optionsOf(values), say)
    say(
      `\n${statusText(await metal.status())}\n\nup in ${seconds()} s. Switch a server on: npm run metal -- power SERVER on`,
    )
  } else if (command === 'down') {
    await down(ground, values.keep ?? false, say)
    say(`${seconds()} s`)
  } else if (command === 'status') say(statusText(await metal.status()))
  else if (command === 'watch') {
    for (;;) {
      process.stdout.write(`\x1b[H\x1b[2J${statusText(await metal.status())}\n`)
      await pause(1_000)
    }
  } else if (command === 'console' && (name === operator || name === outside))
    return enter(ground, name, ['bash', '-l'])
  else if (command === 'console') await attach(ground.consoleSocket(name))
  else if (command === 'exec') return enter(ground, name, words.slice(at + 2))
  else if (command === 'power') await metal.power(name, word as 'on')
  else if (command === 'boot') await metal.bootFrom(name, word as 'pxe')
  else if (command === 'freeze' || command === 'thaw') await metal[command](name)
  else if (command === 'pull') await (values.silent ? metal.silence(name) : metal.pull(name))
  else if (command === 'push') {
    const blank = values.blank || values.serial !== undefined
    const said = await (values.silent
      ? metal.unsilence(name)
      : blank
        ? metal.pushBlank(name, values.serial)
        : metal.push(name))
    if (said) say(said)
  } else if (command === 'parts')
    say(
      partsOf(emulated(ground.site))
        .map((part) => `${part.kind.padEnd(7)} ${part.name}`)
        .join('\n'),
    )
  else if (command === 'restore') await metal.restore()
  else if (command === 'drill') {
    const chosen = drillsNamed(positionals.slice(1))
    if (chosen.length === 0) throw new Error(`which drill? There are all, ${drills.map((one) => one.name).join(', ')}`)
    const slack = Number(values.slack ?? 1)
    if (!(slack >= 1)) throw new Error(`--slack ${values.slack}: a number from 1 on`)
    return (await runDrills(ground, chosen, { server: values.server ?? '', to: values.to ?? '', slack })) === 0 ? 0 : 1
  } else if (command === 'install') install(say)
  else throw new Error(`"${command}" is no command of the emulator; npm run metal -- help lists them`)
  return 0
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`metal: ${(error as Error).message}\n`)
  process.exitCode = 1
}
