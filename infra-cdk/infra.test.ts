import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { App, Testing } from './cdk.ts'
import { releaseHash, type Site, siteProblems } from './site.ts'
import { home } from './sites/home.ts'
import { ServicesStack } from './stacks/services.ts'

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

function plan(site: Site, release = 'r1'): Plan {
  const outdir = mkdtempSync(join(tmpdir(), 'milepost-synth-'))
  try {
    return JSON.parse(Testing.synth(new ServicesStack(new App({ outdir }), { site, release }))) as Plan
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

test('a site that cannot be is refused by name', (t) => {
  const channel = home.channels[0] as Site['channels'][number]
  t.deepEqual(siteProblems(home), [])
  t.deepEqual(siteProblems({ ...home, base_port: 80, channels: [channel, { ...channel, name: 'two' }] }), [
    'site home: base_port 80 is not between 1024 and 64000',
    `channel two: port ${channel.port} is that of channel teltonika`,
  ])
  t.throws(() => plan({ ...home, channels: [{ ...channel, port: 7_005 }] }), {
    message: /among the services' ports; use 7100 or above/,
  })
})

test('the release is the hash of the code', (t) => {
  t.regex(releaseHash(), /^[0-9a-f]{16}$/)
  t.is(releaseHash(), releaseHash())
})
