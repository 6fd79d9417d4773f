import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { temporaryFolder } from '#services/common/testing.ts'
import { Engine } from '#services/mdb/engine.ts'
import { LmdbStore } from '#services/mdb/lmdb-store.ts'
import { toAppend } from '#services/mdb/record.ts'
import { crash } from './crash.ts'
import { recordOf, silent } from './crash-record.ts'
import { flips } from './flips.ts'

/** `npm run mdb -- …` in a process of its own. */
function mdb(...args: string[]): { code: number | null; out: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, '../mdb.ts'), ...args], {
    encoding: 'utf8',
  })
  return { code: status, out: stdout + stderr }
}

test('kill -9 of a process that appends, merges and expires: all that was acknowledged is there, once', async (t) => {
  t.timeout(240_000)
  t.is(await crash(2, 1), 0)
})

test('a flipped bit is found or does no harm', async (t) => {
  t.timeout(240_000)
  t.is(await flips(6, 1), 0)
})

test('check, dump, compact and copy', async (t) => {
  t.timeout(240_000)
  const folder = temporaryFolder()
  const place = join(folder.path, 'store')
  const engine = await Engine.open(new LmdbStore(place, { log: silent }), { log: silent })
  const { id } = await engine.create({ account_id: 0, name: 'c', ttl: 0 })
  await engine.append([
    toAppend(
      id,
      Array.from({ length: 900 }, (_, n) => recordOf(n)),
      'x',
    )!,
  ])
  t.like(mdb('check', place), { code: 2 })
  t.regex(mdb('check', place).out, new RegExp(`is open in process ${process.pid}: stop MDB first`))
  await engine.close()
  t.regex(mdb('compact', place).out, /2 merges/)
  t.like(mdb('check', place), { code: 0 })
  t.regex(mdb('check', place).out, /^clean: 900 records in 2 pages$/m)
  const other = join(folder.path, 'other')
  t.regex(mdb('copy', place, other).out, /2 pages copied/)
  t.regex(mdb('copy', place, other).out, /0 pages copied, 2 were there already/)
  const lines = mdb('dump', other, '--container', '1', '--reverse', '--count', '2').out.trim().split('\n')
  t.deepEqual(
    lines.map((line) => JSON.parse(line).n),
    [899, 898],
  )

  // A bit of every page, those among them that nothing refers to any more.
  const file = join(place, 'data.mdb')
  const bytes = readFileSync(file)
  for (let at = bytes.indexOf('MDBP'); at >= 0; at = bytes.indexOf('MDBP', at + 1)) bytes[at + 200]! ^= 1
  writeFileSync(file, bytes)
  const damaged = mdb('check', place)
  t.is(damaged.code, 1)
  t.regex(damaged.out, /damaged: page \w{20} of container 1, 20\d\d-\d\d-\d\d: .*checksum/)
  t.regex(mdb('stat', join(folder.path, 'nothing')).out, /there is no store here/)
  t.regex(mdb('repair').out, /there is no command "repair"/)
  folder.remove()
})
