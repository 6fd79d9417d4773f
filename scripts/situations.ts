/** `npm run situations -- SITE [--write]`: what the cluster of a site does in each saved situation. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { planOf } from '#infra/site/plan-of.ts'
import { sites } from '#infra/sites/index.ts'
import { Scheduler } from '#pacemaker/scheduler/scheduler.ts'
import { situationsText } from '#pacemaker/situations.ts'
import { Progress } from './devices/progress.ts'
import { root } from './state.ts'

const help = `usage: npm run situations -- SITE [--write]

Simulates every saved situation of the site's cluster with Pacemaker's own scheduler and compares it with
pacemaker/situations/SITE.txt. Sites: ${Object.keys(sites).join(', ')}.

  --write    saves what it does now as what is expected; read the difference before you commit it

Exit: 0 as expected; 1 it differs. Needs Debian's packages pacemaker and pacemaker-cli-utils.
`

export const expectedFile = (site: string) => join(root, 'pacemaker/situations', `${site}.txt`)

/** Situations of a site as they are with the present configuration. */
export async function simulated(site: string, progress?: (done: number, of: number) => void) {
  const found = sites[site]
  if (!found) throw new Error(`there is no site "${site}"; there are ${Object.keys(sites).join(', ')}`)
  const input = planOf(found)
  const scheduler = new Scheduler(input)
  try {
    return await situationsText(input, scheduler, progress)
  } finally {
    scheduler.close()
  }
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { write: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
  })
  const site = positionals[0]
  if (values.help || site === undefined) {
    process.stdout.write(help)
    return values.help ? 0 : 2
  }
  const bar = new Progress()
  const { text, count } = await simulated(site, (done, of) => bar.show(`${done} of ${of} situations`))
  bar.clear()
  if (values.write) {
    writeFileSync(expectedFile(site), text)
    process.stdout.write(`${count} situations written to ${expectedFile(site)}\n`)
    return 0
  }
  const expected = readFileSync(expectedFile(site), 'utf8').split('\n\n')
  const differing = text.split('\n\n').filter((one) => !expected.includes(one))
  process.stdout.write(
    differing.length === 0 ? `${count} situations, all as expected\n` : `${differing.join('\n\n')}\n`,
  )
  return differing.length === 0 ? 0 : 1
}

if (import.meta.main) {
  // Ctrl-C: what was made for the simulations is removed on the way out.
  process.once('SIGINT', () => process.exit(130))
  try {
    process.exitCode = await main()
  } catch (error) {
    process.stderr.write(`situations: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 2
  }
}
