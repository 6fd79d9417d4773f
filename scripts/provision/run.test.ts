import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import type { ServerPlan } from '#infra/site/plan.ts'
import { planOf } from '#infra/site/plan-of.ts'
import { metal } from '#infra/sites/metal.ts'
import type { Answer } from './reach.ts'
import { inventoryStep, offStep, waitStep } from './render.ts'
import { Run } from './run.ts'
import { readState } from './state.ts'

const plan = planOf(metal)
const servers = plan.servers.filter(({ name }) => name === 'srv1' || name === 'srv2')
const [srv1, srv2] = servers as [ServerPlan, ServerPlan]
const archive = { folder: '', kernel: '', image: '', root: '', root_bytes: 1_000, version: '' }
const machine_id = 'a'.repeat(32)

/** What the image reports of a server as the site says it is. */
const right = (server: ServerPlan, change: (line: string) => string = (line) => line) =>
  [
    `memory_kb ${Math.round(server.memory_gb! * 1_024 * 1_024 * 0.985)}`,
    'firmware bios',
    ...server.nics.map(({ name, mac }) => `nic ${name} ${mac} 1`),
    ...server.drives.map(({ serial, size_gb }, n) => `drive sd${'ab'[n]} ${size_gb * 1e9} ${serial}`),
  ]
    .map(change)
    .join('\n')

/** A rack whose servers do what a test says. */
class Bench {
  readonly folder = mkdtempSync(join(tmpdir(), 'milepost-run-'))
  readonly started: string[] = []
  readonly switched_off: string[] = []
  readonly said: string[] = []
  readonly pinned: string[] = []
  readonly dark = new Set<string>()
  /** Installed systems that answer. */
  readonly up = new Set<string>()

  run(of = servers): Run {
    const clients = new Map(
      servers.map(({ name }) => [
        name,
        {
          startOverNetwork: async () => void this.started.push(name),
          on: async () => void this.started.push(`${name} on`),
          off: async () => void this.switched_off.push(name),
          isOn: async () => !this.dark.has(name),
        },
      ]),
    )
    return new Run({
      plan,
      servers: of,
      clients,
      archive,
      publicKey: 'ssh-ed25519 AAAA',
      say: (line) => void this.said.push(line),
      pin: ({ name }, key) => void this.pinned.push(`${name} ${key}`),
      folder: this.folder,
      pace: { look_ms: 5, power_ms: 10, farewell_ms: 5 },
      reach: async (_site, { name }): Promise<Answer> =>
        this.up.has(name)
          ? { kind: 'open', machine_id, installation: this.state(name).installation! }
          : { kind: 'closed' },
    })
  }

  state = (name: string) => readState(plan.site, name, this.folder)
  stages = () => servers.map(({ name }) => this.state(name).stage)
  remove = () => rmSync(this.folder, { recursive: true, force: true })
}

/** Until the run has come so far. */
async function until(so: () => boolean): Promise<void> {
  while (!so()) await new Promise((resolve) => setTimeout(resolve, 5))
}

test('blank servers are looked at, installed, awaited; each is told what is next', async (t) => {
  const bench = new Bench()
  try {
    const run = bench.run()
    const whole = run.whole()
    await until(() => bench.started.length === 2)
    for (const { name } of servers) {
      t.is(run.step(name), inventoryStep)
      run.inventory(name, right(plan.servers.find((server) => server.name === name)!))
    }
    t.is(run.step('srv1'), waitStep, 'until all were looked at')
    await until(() => bench.stages().every((stage) => stage === 'installing'))
    for (const { name } of servers) {
      t.regex(run.step(name), /sfdisk/)
      t.is(run.step(name), waitStep, 'it is told once')
      run.report(name, 'step root')
      run.sent(name, 430)
      t.is(bench.state(name).percent, 43)
      run.report(name, `installed ${machine_id} ssh-ed25519 AAAAkey ${name}`)
      t.false(run.wants(name), 'it starts from its drives')
      bench.up.add(name)
    }
    await whole
    t.deepEqual(bench.stages(), ['ready', 'ready'])
    t.deepEqual(bench.pinned, ['srv1 ssh-ed25519 AAAAkey', 'srv2 ssh-ed25519 AAAAkey'])
  } finally {
    bench.remove()
  }
})

test('one that is not as the site says: all are switched off again, nothing is written', async (t) => {
  const bench = new Bench()
  try {
    const run = bench.run()
    const whole = t.throwsAsync(run.whole())
    await until(() => bench.started.length === 2)
    run.inventory('srv1', right(srv1))
    run.inventory(
      'srv2',
      right(srv2, (line) => (line.startsWith('drive sdb') ? '' : line)),
    )
    const error = await whole
    t.is(error?.message, 'srv2 (rack r2, unit 20): drive S6KUNX0T100010 of bay 1 is not there')
    t.deepEqual(bench.stages(), ['inventory', 'inventory'])
    for (const { name } of servers) t.is(run.step(name), offStep)
    t.deepEqual(bench.state('srv1').overwritable, [])
  } finally {
    bench.remove()
  }
})

test('power that goes in the middle: named, the other is finished, and the next run finishes this one', async (t) => {
  const bench = new Bench()
  try {
    const run = bench.run()
    const whole = t.throwsAsync(run.whole())
    await until(() => bench.started.length === 2)
    for (const server of servers) run.inventory(server.name, right(server))
    await until(() => bench.stages().every((stage) => stage === 'installing'))
    for (const { name } of servers) run.step(name)
    run.sent('srv2', 400)
    bench.dark.add('srv2')
    await until(() => bench.state('srv2').fault !== undefined)
    run.report('srv1', `installed ${machine_id} ssh-ed25519 AAAAkey srv1`)
    bench.up.add('srv1')
    t.regex((await whole)!.message, /^srv2 \(rack r2, unit 20\): its power went while begins \(40 %\)$/)
    t.deepEqual(bench.stages(), ['ready', 'installing'])

    bench.dark.clear()
    bench.started.length = 0
    const next = bench.run([srv2])
    const finished = next.whole()
    await until(() => bench.started.length === 1)
    t.is(next.step('srv2'), inventoryStep)
    // What the first installation left on the drives is no obstacle.
    next.inventory('srv2', `${right(srv2)}\nholds sda gpt\nholds sdb gpt`)
    await until(() => bench.state('srv2').stage === 'installing')
    next.step('srv2')
    next.report('srv2', `installed ${machine_id} ssh-ed25519 AAAAkey srv2`)
    bench.up.add('srv2')
    await finished
    t.deepEqual(bench.stages(), ['ready', 'ready'])
    t.deepEqual(bench.started, ['srv2'])
  } finally {
    bench.remove()
  }
})

test('a server that never asked is switched off by its BMC, others switch themselves off', async (t) => {
  const bench = new Bench()
  try {
    const run = bench.run()
    const whole = t.throwsAsync(run.whole())
    await until(() => bench.started.length === 2)
    run.inventory('srv1', right(srv1))
    run.step('srv1')
    bench.dark.add('srv2')
    t.regex((await whole)?.message ?? '', /^srv2 \(rack r2, unit 20\): its power went/)
    t.deepEqual(bench.switched_off, ['srv2'])
    t.is(run.step('srv1'), offStep)
  } finally {
    bench.remove()
  }
})

test('a card that the site does not know is named once', (t) => {
  const bench = new Bench()
  try {
    const run = bench.run()
    for (let n = 0; n < 5; n++) run.unknown('52:54:00:12:34:56')
    t.deepEqual(bench.said, ['unknown card 52:54:00:12:34:56 asks for an address on lan; it gets none'])
  } finally {
    bench.remove()
  }
})
