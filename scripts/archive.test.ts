import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { records, startRig, two_days_ago, yesterday } from '#services/archive/rig.ts'

const file = join(import.meta.dirname, 'archive.ts')

/** Runs the command; its exit code and what it says. */
function archive(...args: string[]): Promise<{ code: number | null; said: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += chunk))
    child.on('close', (code) => resolve({ code, said }))
  })
}

test('a person exports, looks, reads and restores, at a running archive and on files alone', async (t) => {
  t.timeout(600_000)
  const rig = await startRig(t)
  const [made] = (await rig.rest('POST', '/mdb/containers', [{ name: 'fleet' }])).result
  for (const day of [two_days_ago, yesterday])
    await rig.rest('POST', '/mdb/records', [{ container: made?.id, records: records(1, 200, day) }])
  const token = join(rig.days, '../token')
  writeFileSync(token, 'internal')
  const door = ['--url', `http://127.0.0.1:${rig.archive_port}`, '--token-file', token]

  const exported = await archive('export', ...door)
  t.is(exported.code, 0, exported.said)
  t.regex(exported.said, new RegExp(`${two_days_ago}: \\d+ records\n${yesterday}: \\d+ records\n$`))
  const list = await archive('list', ...door)
  t.regex(list.said, new RegExp(`\n${yesterday} .* no dump|\n${yesterday} .* told of no PostgreSQL`))
  t.is((await archive('list', '--folder', rig.days)).said, list.said)
  t.regex((await archive('verify', ...door)).said, /(^|\n)2 days, \d+ records, 0 problems\n$/)
  t.regex((await archive('verify', '--folder', rig.days)).said, /(^|\n)2 days, \d+ records, 0 problems\n$/)
  const range = ['--from', `${yesterday}T00:00:00Z`, '--count', '3', '--fields', 'position.satellites']
  const read = await archive('read', String(made?.id), ...range, ...door)
  t.regex(read.said, /^as of \S+T00:00:00.000Z\n(\{"timestamp":[\d.]+,"position.satellites":.+\}\n){3}$/)
  const restored = await archive('restore', '--day', yesterday, ...door)
  t.regex(restored.said, /\d+ records, 0 of them were not in MDB\n$/)

  for (const [args, code, reason] of [
    [['--help'], 0, /^usage: npm run archive/],
    [['lists'], 2, /there is no command "lists"/],
    [['read'], 2, /which container/],
    [['read', '1', '--from', 'noon', ...door], 2, /--from noon: s since 1970/],
    [['restore', ...door], 2, /which days/],
    [['export', '--day', '2026-13-01', ...door], 2, /"2026-13-01" is no day/],
    [['read', '99', ...door], 1, /no container 99/],
    [['export', '--folder', rig.days], 2, /needs a running archive/],
  ] as const) {
    const run = await archive(...args)
    t.is(run.code, code, run.said)
    t.regex(run.said, reason)
  }
})
