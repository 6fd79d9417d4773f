import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { planOf } from '#infra/site/plan-of.ts'
import { ansible, folder, writeInventory } from '../rack.ts'
import { siteOn } from './testing.ts'

const work = mkdtempSync(join(tmpdir(), 'milepost-cassandra-role-'))
test.after.always(() => rmSync(work, { recursive: true, force: true }))
/** A tool of the distribution: npm packages have commands of the same names. */
const system = { encoding: 'utf8', env: { ...process.env, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } } as const

test.serial(
  'the playbooks are well-formed for a site with Cassandra, and MDB gets its password from the secrets',
  (t) => {
    const inventory = writeInventory(planOf(siteOn(['srv1', 'srv2', 'arc1'])), join(work, 'inventory'))
    const books = ['cassandra', 'cassandra_accounts', 'site', 'remove'].map((name) => `playbooks/${name}.yml`)
    const { status, output } = ansible('ansible-playbook', [
      ...['-i', inventory, '--syntax-check', ...books, 'roles/cassandra/tests/check.yml'],
    ])
    t.is(status, 0, output)

    const secrets = join(work, 'secrets/services')
    mkdirSync(secrets, { recursive: true })
    for (const name of ['internal-token', 'admin-token', 'postgres', 'cassandra'])
      writeFileSync(join(secrets, name), `secret of ${name}`)
    const book = join(work, 'render.yml')
    const template = (src: string, dest: string) => ({
      name: `Render ${dest}`,
      'ansible.builtin.template': { src: join(folder, src), dest: join(work, dest), mode: '0600' },
    })
    const defaults = ['cassandra', 'node_service'].map((role) => ({
      name: `Defaults of ${role}`,
      'ansible.builtin.include_vars': { file: join(folder, `roles/${role}/defaults/main.yml`), name: `of_${role}` },
    }))
    const values = { node_service_release: '0'.repeat(16), milepost_secrets: join(work, 'secrets') }
    const names = ['cassandra_etc', 'cassandra_data', 'cassandra_account', 'cassandra_java']
    const vars = {
      ...values,
      ...Object.fromEntries(names.map((name) => [name, `{{ of_cassandra.${name} }}`])),
      ...Object.fromEntries(
        ['node_service_data', 'node_service_internal_secret'].map((name) => [name, `{{ of_node_service.${name} }}`]),
      ),
      one: "{{ node_service_instances | selectattr('type', 'equalto', 'mdb') | first }}",
    }
    const tasks = [
      ...defaults,
      template('roles/cassandra/templates/milepost-cassandra.service.j2', 'milepost-cassandra.service'),
      template('roles/cassandra/templates/milepost-nodetool.j2', 'milepost-nodetool'),
      template('roles/node_service/templates/config.json.j2', 'mdb.json'),
    ]
    const play = { name: 'Render', hosts: 'srv1', connection: 'local', become: false, gather_facts: false, vars, tasks }
    writeFileSync(book, JSON.stringify([play]))
    const rendered = ansible('ansible-playbook', ['-i', inventory, book])
    t.is(rendered.status, 0, rendered.output)
    const { cassandra, options } = JSON.parse(readFileSync(join(work, 'mdb.json'), 'utf8'))
    t.is(options.store, 'cassandra')
    t.like(cassandra, { user: 'mdb', keyspace: 'mdb', password: 'secret of cassandra' })
    t.false('secret' in cassandra)
  },
)

test.serial("the unit passes the tools' own checks", (t) => {
  const place = join(work, 'units')
  mkdirSync(place)
  const file = join(place, 'milepost-cassandra.service')
  // The executable itself may not be on this machine: another that is stands for it, all else is as on a server.
  const text = readFileSync(join(work, 'milepost-cassandra.service'), 'utf8').replace(
    /(?<==)\S+\/bin\/java/,
    '/bin/true',
  )
  writeFileSync(file, text)
  // It ends with 0 whatever it finds: what it says counts.
  const verified = spawnSync('systemd-analyze', ['verify', '--man=no', '--recursive-errors=no', file], system)
  const said = verified.stderr
    .split('\n')
    .filter((line) => line.includes(place) || line.startsWith('milepost-cassandra'))
  t.deepEqual(said, [])
  const args = ['security', '--offline=true', '--no-pager', file]
  const { stdout, stderr } = spawnSync('systemd-analyze', args, {
    ...system,
    env: { ...system.env, SYSTEMD_UNIT_PATH: `${place}:` },
  })
  const exposure = Number(/exposure level for .*: ([\d.]+)/.exec(stdout)?.[1])
  t.true(exposure <= 3, `${exposure} ${stderr}`)
  t.log(`exposure ${exposure}`)
  t.is(spawnSync('sh', ['-n', join(work, 'milepost-nodetool')], system).status, 0)
})
