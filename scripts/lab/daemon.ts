/** The process that is the hardware while a laboratory runs: node scripts/lab/daemon.ts. Started by `lab up`, ended by `lab down`. */
import { appendFileSync, mkdirSync, rmSync } from 'node:fs'
import type { Plan } from '#infra/site/plan.ts'
import { serve } from './calls.ts'
import type { Method } from './client.ts'
import { labFolder, logFile, socketFile } from './paths.ts'
import { Rack } from './rack.ts'
import { makeRoot } from './root.ts'
import { labPlan } from './site.ts'
import { wiringOf } from './wiring.ts'

mkdirSync(labFolder, { recursive: true })
const say = (text: string) => appendFileSync(logFile, `${new Date().toISOString()} ${text}\n`)
const rack = new Rack(wiringOf(labPlan()), say)
let built: Promise<string> | undefined

/** What each call does; `progress` reaches who called. */
const methods: Record<Method, (args: string[], progress: (text: string) => void) => unknown> = {
  // The plan is that of who calls: the site file may say another one than when the laboratory began.
  up: async ([plan = ''], progress) => {
    if (built) {
      await rack.fit(wiringOf(JSON.parse(plan) as Plan), await built, progress)
      return rack.powerOnAll(progress)
    }
    built = makeRoot(progress).then(async (root) => {
      await rack.build(root, progress)
      return root
    })
    await built
  },
  replace: async ([server = ''], progress) => rack.replace(server, await requireBuilt(), progress),
  status: () => rack.status(),
  power: ([server = '', action = '']) => {
    if (action !== 'on' && action !== 'off' && action !== 'reset' && action !== 'soft-off')
      throw new Error(`power "${action}": it is on, off, reset or soft-off`)
    return rack.power(server, action)
  },
  freeze: ([server = '']) => rack.freeze(server),
  thaw: ([server = '']) => rack.thaw(server),
  pull: ([part = '']) => rack.setPulled(part, true),
  push: ([part = '']) => rack.setPulled(part, false),
  silence: ([part = '']) => rack.setSilent(part, true),
  unsilence: ([part = '']) => rack.setSilent(part, false),
  holders: ([address = '']) => rack.holders(address),
  restore: () => rack.restore(),
  stop: async () => {
    await rack.remove()
    rmSync(socketFile, { force: true })
    // The answer goes out first.
    setTimeout(() => process.exit(0), 50)
  },
}

function requireBuilt(): Promise<string> {
  if (!built) throw new Error('the rack is not built yet: npm run lab -- up')
  return built
}

process.on('uncaughtException', (error) => say(`uncaught: ${error.stack}`))
process.on('unhandledRejection', (error) => say(`unhandled: ${(error as Error)?.stack ?? error}`))
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.on(signal, () => void Promise.resolve(methods.stop([], () => {})).catch(() => process.exit(1)))
serve({ socketFile, methods, chassis: (server, words) => rack.chassis(server, words), say }, () =>
  say(`laboratory of site ${rack.wiring.site}, process ${process.pid}`),
)
