/** `npm run prove -- SITE [--double]`: every element of a site fails, alone and in pairs; which promises hold? */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { SiteError } from '#infra/site/findings.ts'
import { planOf } from '#infra/site/plan-of.ts'
import { sites } from '#infra/sites/index.ts'
import type { ProofInput } from '#pacemaker/proof/input.ts'
import { matrixSvg } from '#pacemaker/proof/matrix.ts'
import { promises } from '#pacemaker/proof/promises.ts'
import { type Proof, prove } from '#pacemaker/proof/proof.ts'
import { brokenSingles, groupText, reasonsOf, singleRows } from '#pacemaker/proof/report.ts'
import { Progress, table } from './devices/progress.ts'
import { state } from './state.ts'

const help = `usage: npm run prove -- SITE [--double]
       npm run prove -- --plan PLAN.json [--double]

Fails every element of the site (feed, PDU, power supply, switch, cable, NIC, BMC, drive, server, resource, process) alone
and, with --double, every two together: what physically remains, what Pacemaker's own scheduler then does with the
generated configuration, and whether each promise holds. Sites: ${Object.keys(sites).join(', ')}.

  --double       pairs too; draws them all to .milepost/proof/SITE.svg
  --plan FILE    a plan in JSON instead of a site, to try a change
  --quiet        the summary alone

Exit: 0 no single fault breaks a promise; 1 one does, or the site's own checks find a fault; 2 it could not be tried.
Needs Debian's packages pacemaker and pacemaker-cli-utils (crm_simulate).
`

const say = (text: string) => void process.stdout.write(`${text}\n`)
const users = promises.filter((name) => name !== 'servers')

function inputOf(site: string | undefined, plan: string | undefined): ProofInput {
  if (plan !== undefined) return JSON.parse(readFileSync(plan, 'utf8')) as ProofInput
  const found = sites[site ?? '']
  if (!found) throw new Error(`there is no site "${site ?? ''}"; there are ${Object.keys(sites).join(', ')}`)
  return planOf(found)
}

function bar(done: number, of: number): string {
  const width = 40
  const full = Math.round((done / of) * width)
  return `${'█'.repeat(full)}${'░'.repeat(width - full)} ${done.toLocaleString('en-US')} of ${of.toLocaleString('en-US')}`
}

function report(site: string, proof: Proof, double: boolean, quiet: boolean): void {
  const { head, rows } = singleRows(proof)
  if (!quiet) say(`${table(head, rows)}\n`)
  const waits = reasonsOf(proof.singles, 'waits', users)
  if (waits.length > 0) say(`Waits for the data's own high availability:\n${waits.map(groupText).join('\n')}\n`)
  if (double) {
    const broken = proof.doubles.filter((one) => one.state === 'broken')
    const waiting = proof.doubles.filter((one) => one.state === 'waits')
    if (!quiet) {
      say('Pairs that break a promise, by reason:')
      say(`${reasonsOf(broken, 'broken', users).map(groupText).join('\n')}\n`)
    }
    const count = proof.doubles.length
    say(
      `Pairs: ${count.toLocaleString('en-US')}; all promises hold in ${count - broken.length - waiting.length}, ${waiting.length} wait for the data's own high availability, ${broken.length} break a promise.`,
    )
    const folder = join(state, 'proof')
    mkdirSync(folder, { recursive: true })
    const picture = join(folder, `${site}.svg`)
    writeFileSync(picture, matrixSvg(site, proof))
    say(`Picture: ${picture}`)
  }
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      double: { type: 'boolean', default: false },
      plan: { type: 'string' },
      quiet: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help || (positionals.length === 0 && values.plan === undefined)) {
    say(help)
    return values.help ? 0 : 2
  }
  if (spawnSync('crm_simulate', ['--version']).error)
    throw new Error('crm_simulate is missing; as root: apt-get install pacemaker pacemaker-cli-utils')
  const input = inputOf(positionals[0], values.plan)
  const started = performance.now()
  const progress = new Progress()
  const proof = await prove(input, { double: values.double, progress: (done, of) => progress.show(bar(done, of)) })
  progress.clear()
  report(input.site, proof, values.double, values.quiet)
  const seconds = ((performance.now() - started) / 1_000).toFixed(0)
  say(`${proof.elements.length} elements, ${proof.situations} situations asked of Pacemaker's scheduler, ${seconds} s.`)
  const broken = brokenSingles(proof)
  if (broken.length === 0) {
    say('No single fault breaks a promise.')
    return 0
  }
  say(`\n${broken.length} single ${broken.length === 1 ? 'fault breaks' : 'faults break'} a promise:`)
  say(reasonsOf(broken, 'broken', promises).map(groupText).join('\n'))
  return 1
}

// Ctrl-C: what was made for the simulations is removed on the way out.
process.once('SIGINT', () => process.exit(130))
try {
  process.exitCode = await main()
} catch (error) {
  if (error instanceof SiteError) {
    say(`The site's own checks find:\n${error.findings.map((one) => `  ${one}`).join('\n')}`)
    process.exitCode = 1
  } else {
    process.stderr.write(`prove: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 2
  }
}
