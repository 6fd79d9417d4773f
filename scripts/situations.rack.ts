/** The saved situations of every site are what Pacemaker's scheduler does today. Needs crm_simulate. */
import { readFileSync } from 'node:fs'
import test from 'ava'
import { sites } from '#infra/sites/index.ts'
import { expectedFile, simulated } from './situations.ts'

for (const site of Object.keys(sites))
  test.serial(`situations of ${site} end as expected`, async (t) => {
    const { text, count } = await simulated(site)
    t.true(count >= 40)
    const [now, expected] = [text.split('\n\n'), readFileSync(expectedFile(site), 'utf8').split('\n\n')]
    // One by one, so that a difference names its situation.
    for (const [index, situation] of now.entries()) t.is(situation, expected[index]!)
    t.is(now.length, expected.length)
  })
