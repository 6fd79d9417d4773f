import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { root, state } from '../state.ts'

test('a site file in a folder of one’s own stands in the place of ours, and one that cannot be says why', (t) => {
  mkdirSync(state, { recursive: true })
  // Below the tree, so that it finds the constructs by #infra.
  const folder = mkdtempSync(join(state, 'sites-test-'))
  try {
    const text = readFileSync(join(root, 'infra-cdk/sites/lab.ts'), 'utf8').replace("'../", "'#infra/")
    writeFileSync(join(folder, 'lab.ts'), text.replaceAll("'srv2'", "'worker2'"))
    writeFileSync(join(folder, 'odd.ts'), "throw new Error('it is not written yet')\n")
    const site = (...args: string[]) =>
      spawnSync(process.execPath, [join(root, 'scripts/site.ts'), ...args], {
        env: { ...process.env, MILEPOST_SITES: folder },
        encoding: 'utf8',
      })
    t.regex(site('show', 'lab').stdout, /worker2/)
    t.regex(site('check', 'odd').stderr, /it is not written yet/)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
