/**
 * What is rendered of the sites of this tree, as files to read: a change of a renderer shows itself in them.
 * MILEPOST_GOLDEN=write node_modules/.bin/ava infra-cdk/render/golden.test.ts writes them anew.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import { planOf } from '../site/plan-of.ts'
import { sites } from '../sites/index.ts'
import { drawRacks } from './drawing.ts'
import { renderHost } from './render.ts'
import { renderSummary } from './summary.ts'

const folder = join(import.meta.dirname, 'golden')
/** Long lists that the slots' own test is about. */
const left_out = ['distribution/slots.json']

for (const [name, site] of Object.entries(sites)) {
  const plan = planOf(site)
  const gateway = plan.servers.find(({ role }) => role === 'gateway')!
  const files = new Map([
    [`${name}/summary.txt`, renderSummary(plan)],
    [`${name}/racks.svg`, drawRacks(plan)],
    ...[...renderHost(plan, gateway.name)]
      // The cluster's files have goldens of their own beside their renderers.
      .filter(([path]) => !left_out.includes(path) && !path.startsWith('cluster/'))
      .map(([path, text]): [string, string] => [`${name}/${gateway.name}/${path}`, text]),
  ])
  for (const [path, text] of files)
    test(`${path} is as it was`, (t) => {
      const file = join(folder, path)
      if (process.env.MILEPOST_GOLDEN === 'write') {
        mkdirSync(dirname(file), { recursive: true })
        writeFileSync(file, text)
      }
      t.true(existsSync(file), `${file} is missing`)
      t.is(text, readFileSync(file, 'utf8'))
    })
}
