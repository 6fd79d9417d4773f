import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { App, Testing } from '../cdk.ts'
import type { MachinePlan } from '../site/plan.ts'
import { releaseHash } from '../site/release.ts'
import { home } from '../sites/home.ts'
import { MachineStack } from './machine.ts'

interface Plan {
  resource: {
    null_resource: Record<
      string,
      {
        triggers: Record<string, string>
        depends_on?: string[]
        provisioner: { 'local-exec': { command: string; when?: string } }[]
      }
    >
  }
  terraform: { required_providers: { null: { version: string } } }
}

function plan(machine: MachinePlan, release = 'r1'): Plan {
  const outdir = mkdtempSync(join(tmpdir(), 'milepost-synth-'))
  try {
    return JSON.parse(Testing.synth(new MachineStack(new App({ outdir }), { machine, release }))) as Plan
  } finally {
    rmSync(outdir, { recursive: true, force: true })
  }
}

const triggers = (p: Plan) =>
  Object.fromEntries(Object.entries(p.resource.null_resource).map(([id, r]) => [id, r.triggers.content]))
const changed = (a: Plan, b: Plan) => Object.keys(triggers(a)).filter((id) => triggers(a)[id] !== triggers(b)[id])

test('the same site gives the same plan; a change touches only what it must', (t) => {
  const before = plan(home)
  t.deepEqual(plan(structuredClone(home)), before)
  t.deepEqual(Object.keys(triggers(before)).sort(), ['channels', 'environment', 'machine', 'runtime'])
  t.deepEqual(changed(before, plan(home, 'r2')).sort(), ['environment', 'runtime'])
  t.deepEqual(changed(before, plan({ ...home, processes: { ...home.processes, tg: 3 } })), ['environment'])
  t.deepEqual(changed(before, plan({ ...home, channels: home.channels.slice(1) })), ['channels'])
})

test('steps follow one another, and destroy takes the machine down', (t) => {
  const { null_resource: r } = plan(home).resource
  t.deepEqual(r.channels?.depends_on, ['null_resource.environment'])
  const destroying = Object.values(r).flatMap(({ provisioner }) =>
    provisioner.filter((p) => p['local-exec'].when === 'destroy'),
  )
  t.is(destroying.length, 1)
  t.regex(destroying[0]?.['local-exec'].command ?? '', /apply\.ts remove$/)
  t.is(plan(home).terraform.required_providers.null.version, '>= 2.1')
})

test('no path of this machine and no secret is in the plan', (t) => {
  const text = JSON.stringify(plan(home))
  t.false(text.includes(process.cwd()))
  t.notRegex(text, /token|password|secret/i)
})

test('the release is the hash of the code', (t) => {
  t.regex(releaseHash(), /^[0-9a-f]{16}$/)
  t.is(releaseHash(), releaseHash())
})
