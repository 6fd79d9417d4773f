import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { metal } from '#infra/sites/metal.ts'
import { ansible, folder, writeInventory } from './rack.ts'

const roles = readdirSync(join(folder, 'roles'))
/** A tool of the distribution: npm packages have commands of the same names. */
const system = { encoding: 'utf8', env: { ...process.env, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } } as const
const work = mkdtempSync(join(tmpdir(), 'milepost-roles-'))
test.after.always(() => rmSync(work, { recursive: true, force: true }))

test('every role has its parts', (t) => {
  for (const role of roles) {
    const parts = ['README.md', 'defaults/main.yml', 'meta/main.yml', 'meta/argument_specs.yml', 'tasks/main.yml']
    for (const part of [...parts, 'tasks/remove.yml', ...(role === 'preflight' ? [] : ['tests/check.yml'])])
      t.true(existsSync(join(folder, 'roles', role, part)), `${role}: ${part}`)
  }
})

test('no role asks where it runs', (t) => {
  for (const role of roles)
    for (const file of readdirSync(join(folder, 'roles', role), { recursive: true, withFileTypes: true }))
      if (file.isFile() && /\.(yml|j2)$/.test(file.name)) {
        const text = readFileSync(join(file.parentPath, file.name), 'utf8')
        t.notRegex(text, /\blab\b|virtualization_type|systemd-detect-virt/, join(role, file.name))
      }
})

test.serial('ansible-lint, profile production', (t) => {
  // 20 s alone; a machine that does much else takes minutes.
  t.timeout(900_000)
  const { status, output } = ansible('ansible-lint', ['--offline', '-q', '--nocolor', '-c', '.ansible-lint'])
  t.is(status, 0, output)
})

test.serial('every playbook and check is well-formed, for each site', (t) => {
  const books = [
    ...readdirSync(join(folder, 'playbooks')).map((name) => join('playbooks', name)),
    ...roles.map((role) => join('roles', role, 'tests/check.yml')).filter((path) => existsSync(join(folder, path))),
  ]
  for (const site of [lab, metal]) {
    const inventory = writeInventory(planOf(site), join(work, site.name))
    const { status, output } = ansible('ansible-playbook', ['-i', inventory, '--syntax-check', ...books])
    t.is(status, 0, output)
  }
})

test.serial("units and filters pass the tools' own checks", (t) => {
  const inventory = writeInventory(planOf(lab), join(work, 'render'))
  const into = join(work, 'units')
  mkdirSync(into)
  const { status, output } = ansible('ansible-playbook', ['-i', inventory, 'tests/render.yml', '-e', `into=${into}`])
  t.is(status, 0, output)
  const rendered = readdirSync(into)
  t.true(rendered.length > 30)

  for (const file of rendered.filter((name) => name.endsWith('.nft'))) {
    const run = spawnSync('unshare', ['-n', 'nft', '-c', '-f', join(into, file)], system)
    t.is(run.stderr, '', file)
    t.is(run.status, 0, file)
  }

  for (const host of ['srv1', 'gw1', 'arc1']) {
    const place = join(work, `verify-${host}`)
    mkdirSync(place)
    for (const file of rendered.filter((name) => name.startsWith(`${host}.`) && /\.(service|timer)$/.test(name)))
      copyFileSync(join(into, file), join(place, file.slice(host.length + 1)))
    if (rendered.includes(`${host}.instance.conf`)) {
      mkdirSync(join(place, 'milepost@mbus-1.service.d'))
      // The executable itself is not on this machine: another that is stands for it, all else is as on a server.
      const drop = readFileSync(join(into, `${host}.instance.conf`), 'utf8').replace(
        /(?<==)\S+\/bin\/node/,
        process.execPath,
      )
      writeFileSync(join(place, 'milepost@mbus-1.service.d/instance.conf'), drop)
    }
    const names = readdirSync(place)
      .filter((name) => /\.(service|timer)$/.test(name))
      .map((name) => name.replace('@.', '@mbus-1.'))
    for (const name of names) {
      const file = join(place, name)
      const source = file.replace('@mbus-1.', '@.')
      writeFileSync(source, readFileSync(source, 'utf8').replaceAll('/usr/local/sbin/', '/usr/bin/env '))
      // It ends with 0 whatever it finds: what it says counts.
      const verified = spawnSync('systemd-analyze', ['verify', '--man=no', '--recursive-errors=no', file], system)
      const said = verified.stderr.split('\n').filter((line) => line.includes(place) || line.startsWith(name))
      t.deepEqual(said, [], name)
    }
  }
  for (const [host, name] of [
    ['srv1', 'milepost@.service'],
    ['srv1', 'milepost-watch.service'],
    ['gw1', 'milepost-distribute.service'],
    ['srv1', 'milepost-power.service'],
    ['srv1', 'milepost-bond.service'],
    ['srv1', 'milepost-carrier.service'],
    ['srv1', 'milepost-alerts.service'],
    ['srv1', 'milepost-sel.service'],
    ['srv1', 'milepost-smart.service'],
    ['srv1', 'milepost-watchdog.service'],
  ] as const) {
    const place = join(work, `verify-${host}`)
    const args = ['security', '--offline=true', '--no-pager', join(place, name.replace('@.', '@mbus-1.'))]
    const { stdout, stderr } = spawnSync('systemd-analyze', args, {
      encoding: 'utf8',
      env: { ...process.env, SYSTEMD_UNIT_PATH: `${place}:` },
    })
    const exposure = Number(/exposure level for .*: ([\d.]+)/.exec(stdout)?.[1])
    t.true(exposure <= 3, `${name}: ${exposure} ${stderr}`)
    t.log(`${name}: exposure ${exposure}`)
  }
})

test.serial('files: a second run changes nothing, check mode touches nothing, what is not listed goes', (t) => {
  const place = join(work, 'files')
  mkdirSync(join(place, 'etc'), { recursive: true })
  writeFileSync(join(place, 'etc/old.conf'), 'old\n')
  const book = join(work, 'files.yml')
  const files = [
    { dest: `${place}/etc/new`, directory: true, mode: '0750' },
    { dest: `${place}/etc/new/a.conf`, content: 'a = 1\n', mode: '0600' },
    { dest: `${place}/etc/link`, link: 'new/a.conf' },
  ]
  const purge = [{ folder: `${place}/etc`, match: '*.conf' }]
  const task = { name: 'Files', 'milepost.platform.files': { files, purge } }
  writeFileSync(
    book,
    JSON.stringify([{ name: 'Test', hosts: 'localhost', connection: 'local', gather_facts: false, tasks: [task] }]),
  )
  const run = (...args: string[]) => {
    const { status, output } = ansible('ansible-playbook', ['-i', 'localhost,', book, ...args], {
      ANSIBLE_INVENTORY_ENABLED: 'host_list',
    })
    t.is(status, 0, output)
    return Number(/changed=(\d+)/.exec(output)?.[1])
  }
  t.is(run('--check'), 1)
  t.deepEqual(readdirSync(join(place, 'etc')), ['old.conf'])
  t.is(run(), 1)
  t.deepEqual(readdirSync(join(place, 'etc')).sort(), ['link', 'new'])
  t.is(readFileSync(join(place, 'etc/link'), 'utf8'), 'a = 1\n')
  t.is(run(), 0)
  writeFileSync(join(place, 'etc/new/a.conf'), 'a = 2\n')
  t.is(run('--check'), 1)
  t.is(readFileSync(join(place, 'etc/new/a.conf'), 'utf8'), 'a = 2\n')
  t.is(run(), 1)
  t.is(readFileSync(join(place, 'etc/new/a.conf'), 'utf8'), 'a = 1\n')
})
