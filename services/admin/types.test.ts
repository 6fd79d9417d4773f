import test from 'ava'
import { type Environment, instancesOf, processes_default } from './types.ts'

const environment = (processes: Record<string, number>): Environment => ({
  name: 'e',
  base_port: 9_000,
  release: 'r1',
  processes: { ...processes_default, ...processes },
  options: { archive: { keep_days: 5 } },
  internal_token: 'internal',
  bootstrap_token_sha256: '',
  database: { host: '127.0.0.1', port: 1, database: 'd', user: 'u', password: 'p' },
  admin_url: '',
})

test('an archive is started where it is asked for, and the front door knows it there alone', (t) => {
  const without = instancesOf(environment({}), '/data')
  t.false(without.some(({ type }) => type === 'archive'))
  t.true(without.every(({ config }) => config.urls.archive === undefined))
  const all = instancesOf(environment({ archive: 1 }), '/data')
  const archive = all.find(({ type }) => type === 'archive')?.config
  t.like(archive, { port: 9_008, data: '/data/e/archive-1', options: { keep_days: 5 }, postgres: { database: 'd' } })
  t.is(all.find(({ type }) => type === 'prod')?.config.urls.archive, 'http://127.0.0.1:9008')
})
