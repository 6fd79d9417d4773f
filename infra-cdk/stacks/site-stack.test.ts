import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { variablesOf } from '#ansible/inventory.ts'
import { App, Testing } from '../cdk.ts'
import { deploymentOf } from '../site/deployment.ts'
import type { Plan } from '../site/plan.ts'
import { planOf } from '../site/plan-of.ts'
import { lab } from '../sites/lab.ts'
import { siteStacks } from './site-stack.ts'
import { type Step, stackNames, stepsOf } from './steps.ts'

interface Synthesised {
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
}
interface Options {
  machines?: Record<string, string>
  release?: string
  codeOf?: (step: Step) => string
}

const plan = planOf(lab)
type Mutable<T> = T extends object ? { -readonly [K in keyof T]: Mutable<T[K]> } : T

/** The plan with something changed. */
const changed = (change: (copy: Mutable<Plan>) => void): Plan => {
  const copy = structuredClone(plan) as Mutable<Plan>
  change(copy)
  return copy
}

function synthesise(
  from: Plan,
  { release = 'r1', machines = {}, codeOf = () => 'code' }: Options = {},
): Map<string, Synthesised> {
  const outdir = mkdtempSync(join(tmpdir(), 'milepost-synth-'))
  try {
    const { steps, hashes } = deploymentOf(from, {
      release,
      machines,
      codeOf,
      variablesOf: (of, host) => variablesOf(of, of.servers.find(({ name }) => name === host)!),
    })
    const stacks = siteStacks(new App({ outdir }), { site: from.site, steps, hashes })
    return new Map(stacks.map((stack) => [stack.node.id, JSON.parse(Testing.synth(stack)) as Synthesised]))
  } finally {
    rmSync(outdir, { recursive: true, force: true })
  }
}

const resources = (stacks: Map<string, Synthesised>) =>
  [...stacks.values()].flatMap(({ resource }) => Object.entries(resource.null_resource))
const triggers = (stacks: Map<string, Synthesised>) =>
  Object.fromEntries(resources(stacks).map(([id, resource]) => [id, JSON.stringify(resource.triggers)]))
/** Names of the resources that are made again. */
function touched(after: Plan, options: Options = {}): string[] {
  const [was, is] = [triggers(synthesise(plan)), triggers(synthesise(after, options))]
  return [...new Set([...Object.keys(was), ...Object.keys(is)])].filter((id) => was[id] !== is[id]).sort()
}

test('a deploy without a change touches nothing', (t) => {
  t.deepEqual(synthesise(planOf(lab)), synthesise(plan))
  t.deepEqual(touched(planOf(lab)), [])
})

test('three stacks in their order, a resource a step and host', (t) => {
  const stacks = synthesise(plan)
  t.deepEqual([...stacks.keys()], ['lab-hardware', 'lab-cluster', 'lab-services'])
  t.deepEqual(
    resources(stacks)
      .map(([id]) => id)
      .filter((id) => id !== 'begin')
      .sort(),
    [
      ...['archive-arc1', 'channels', 'cluster'],
      ...['arc1', 'gw1', 'gw2', 'srv1', 'srv2'].map((host) => `firewall-${host}`),
      ...['gateway-gw1', 'gateway-gw2', 'postgres-srv1'],
      ...['arc1', 'gw1', 'gw2', 'srv1', 'srv2'].map((host) => `server-${host}`),
      ...['services-arc1', 'services-srv1', 'services-srv2'],
    ].sort(),
  )
})

test('one firewall limit: only the gateways are touched', (t) => {
  const after = changed((copy) => (copy.firewall.services[1]!.connections_per_source_max += 1))
  t.deepEqual(touched(after), ['firewall-gw1', 'firewall-gw2'])
})

test('each change touches only what it must', (t) => {
  t.deepEqual(touched(plan, { release: 'r2' }), ['services-arc1', 'services-srv1', 'services-srv2'])
  t.deepEqual(touched(changed((copy) => copy.environment.channels.pop())), ['channels'])
  t.deepEqual(touched(changed((copy) => (copy.distribution.check.fall = 3))), ['gateway-gw1', 'gateway-gw2'])
  t.deepEqual(touched(changed((copy) => (copy.servers[3]!.raid.name = 'md1'))), ['server-srv1'])
  t.deepEqual(touched(plan, { codeOf: ({ roles }) => (roles.includes('postgres') ? 'edited' : 'code') }), [
    'postgres-srv1',
  ])
})

test('a server that was installed anew is given everything again, the others nothing', (t) => {
  t.deepEqual(touched(plan, { machines: { srv2: 'another' } }), [
    'channels',
    'cluster',
    'firewall-srv2',
    'server-srv2',
    'services-srv2',
  ])
})

test('gateways are changed one after the other, the others side by side', (t) => {
  const { resource } = synthesise(plan).get('lab-hardware')!
  const before = (id: string) =>
    resource.null_resource[id]!.depends_on!.map((name) => name.replace('null_resource.', ''))
  t.deepEqual(before('firewall-gw2'), ['begin', 'server-gw2', 'firewall-gw1'])
  t.deepEqual(before('firewall-srv1'), ['begin', 'server-srv1'])
  t.deepEqual(before('server-gw1'), ['begin'])
})

test('every stack takes away what it made, after all its steps', (t) => {
  for (const [id, { resource }] of synthesise(plan)) {
    const destroying = Object.entries(resource.null_resource).filter(([, { provisioner }]) =>
      provisioner.some((one) => one['local-exec'].when === 'destroy'),
    )
    t.deepEqual(
      destroying.map(([name]) => name),
      ['begin'],
    )
    const stack = id.replace('lab-', '')
    t.regex(destroying[0]![1].provisioner[1]!['local-exec'].command, new RegExp(`site\\.ts remove lab ${stack}$`))
    for (const [name, { depends_on = [] }] of Object.entries(resource.null_resource))
      if (name !== 'begin') t.true(depends_on.includes('null_resource.begin'), name)
  }
})

test('no path of this machine and no secret is in the stacks', (t) => {
  const text = JSON.stringify([...synthesise(plan)])
  t.false(text.includes(process.cwd()))
  t.notRegex(text, /password|token|authkey/i)
})

test('steps come after what they need, and their playbooks are there', (t) => {
  const seen = new Set<string>()
  const folder = join(import.meta.dirname, '../../ansible/playbooks')
  for (const step of stepsOf(plan)) {
    t.true(stackNames.includes(step.stack))
    for (const name of step.after) t.true(seen.has(name), `${step.name} before ${name}`)
    for (const playbook of step.playbooks) t.true(existsSync(join(folder, `${playbook}.yml`)), playbook)
    seen.add(step.name)
  }
})
