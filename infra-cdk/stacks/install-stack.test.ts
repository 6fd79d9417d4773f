import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { App, Testing } from '../cdk.ts'
import type { Plan } from '../site/plan.ts'
import { planOf } from '../site/plan-of.ts'
import { metal } from '../sites/metal.ts'
import { InstallStack } from './install-stack.ts'

const plan = planOf(metal)

function triggersOf(from: Plan, reinstalled: Record<string, number> = {}): Record<string, string> {
  const outdir = mkdtempSync(join(tmpdir(), 'milepost-synth-'))
  try {
    const text = Testing.synth(new InstallStack(new App({ outdir }), { plan: from, reinstalled }))
    const { resource } = JSON.parse(text) as {
      resource: { null_resource: { install: { triggers: Record<string, string> } } }
    }
    return resource.null_resource.install.triggers
  } finally {
    rmSync(outdir, { recursive: true, force: true })
  }
}
const differing = (after: Record<string, string>) => {
  const before = triggersOf(plan)
  return Object.keys({ ...before, ...after }).filter((name) => before[name] !== after[name])
}

test('nothing is installed again when nothing changed, or when only what runs on servers did', (t) => {
  t.deepEqual(differing(triggersOf(plan)), [])
  t.deepEqual(differing(triggersOf({ ...plan, host: { ...plan.host, timezone: 'Europe/Vilnius' } })), [])
})

test('a drive or a card that was replaced is no reason to install a server', (t) => {
  const servers = plan.servers.map((server) =>
    server.name === 'srv1'
      ? { ...server, drives: [{ ...server.drives[0]!, serial: 'NEW' }, server.drives[1]!] }
      : server,
  )
  t.deepEqual(differing(triggersOf({ ...plan, servers })), [])
})

test('a server more, or the word of the operator, is', (t) => {
  const more = [...plan.servers, { ...plan.servers[0]!, name: 'srv3' }]
  t.deepEqual(differing(triggersOf({ ...plan, servers: more })), ['srv3'])
  t.deepEqual(differing(triggersOf(plan, { srv2: 1 })), ['srv2'])
})

test('no secret and no path of this machine is in it', (t) => {
  t.false(JSON.stringify(triggersOf(plan)).includes(process.cwd()))
})
