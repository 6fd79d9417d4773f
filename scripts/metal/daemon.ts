/** The process that is the hardware while a site is up: node scripts/metal/daemon.ts SITE. Started by `metal up`, ended by `metal down`. */
import { appendFileSync, mkdirSync, rmSync } from 'node:fs'
import { serve } from '../lab/calls.ts'
import { groundOf } from './ground.ts'
import { Hardware } from './hardware.ts'
import { readOptions } from './options.ts'
import { emulated } from './site.ts'

const site = process.argv[2]!
const ground = groundOf(site)
mkdirSync(ground.folder, { recursive: true })
const say = (text: string) => appendFileSync(ground.logFile, `${new Date().toISOString()} ${text}\n`)
const hardware = new Hardware(ground, emulated(site), readOptions(ground.optionsFile), say)
let built: Promise<void> | undefined

const methods: Parameters<typeof serve>[0]['methods'] = {
  up: (_args, progress) => (built ??= hardware.build(progress)),
  status: () => hardware.status(),
  power: ([server = '', action = '']) => {
    if (action !== 'on' && action !== 'off' && action !== 'reset' && action !== 'soft-off')
      throw new Error(`power "${action}": it is on, off, reset or soft-off`)
    return hardware.power(server, action)
  },
  pull: ([part = '']) => hardware.pull(part),
  push: ([part = '', blank, serial = '']) => hardware.push(part, blank === 'blank' ? { serial } : undefined),
  silence: ([part = '']) => hardware.silence(part, true),
  unsilence: ([part = '']) => hardware.silence(part, false),
  freeze: ([server = '']) => hardware.freeze(server, true),
  thaw: ([server = '']) => hardware.freeze(server, false),
  boot: ([server = '', from = '']) => {
    if (from !== 'pxe' && from !== 'disk' && from !== 'default')
      throw new Error(`boot from "${from}": it is pxe, disk or default`)
    hardware.server(server).setBoot(from)
  },
  restore: () => hardware.restore(),
  stop: async () => {
    await hardware.remove()
    rmSync(ground.controlSocket, { force: true })
    // The answer goes out first.
    setTimeout(() => process.exit(0), 50)
  },
}

process.on('uncaughtException', (error) => say(`uncaught: ${error.stack}`))
process.on('unhandledRejection', (error) => say(`unhandled: ${(error as Error)?.stack ?? error}`))
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.on(signal, () => void Promise.resolve(methods.stop!([], () => {})).catch(() => process.exit(1)))
serve(
  { socketFile: ground.controlSocket, methods, chassis: (server, words) => hardware.chassis(server, words), say },
  () => say(`hardware of site ${site}, process ${process.pid}`),
)
