import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { departures } from '#services/common/guideline.ts'
import { seeded } from '#services/common/random.ts'
import { startProcess, temporaryFolder, until } from '#services/common/testing.ts'
import { columnType, Digest, toCells, toTexts } from './columns.ts'
import type { Exported } from './export.ts'
import type { Manifest } from './manifest.ts'
import type { Restored } from './restore.ts'
import { type Rig, records, startRig, two_days_ago, yesterday } from './rig.ts'
import type { Problem } from './verify.ts'

/** A record without the order of its parameters. */
const sorted = (record: object) => JSON.stringify(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)))
const digest = (list: Record<string, unknown>[]) => {
  const all = new Digest()
  for (const record of list) all.add(record)
  return all.hex()
}

test('a record goes into columns and comes back exactly', (t) => {
  for (const record of records(1, 3_000, yesterday, ['__proto__', 'toString'])) {
    const { names, values, rest, rest_utf16 } = toCells(record, () => true)
    for (const name of names) t.not(columnType(name), undefined)
    const [json] = toTexts(names, [[record.timestamp], ...values.map((value) => [value]), [rest], [rest_utf16]], 0, 1)
    t.notRegex(rest ?? '', /half a pair/)
    if (sorted(JSON.parse(json!)) !== sorted(JSON.parse(JSON.stringify(record)))) t.fail(`${json}`)
  }
  const none = toCells({ timestamp: 1, 'battery.level': 7, ident: 'x' }, () => false)
  t.deepEqual(none, { names: [], values: [], rest: '{"battery.level":7,"ident":"x"}', rest_utf16: null })
  // A text that only looks like it.
  const literal = toCells({ timestamp: 1, 'io.1': '\\ud800', '\udc00': 1 }, () => true)
  t.deepEqual([literal.rest, literal.rest_utf16], ['{"io.1":"\\\\ud800"}', '{"\\udc00":1}'])
})

/** Containers of two accounts with records of two days, and one that is empty. */
async function fill(rig: Rig, seed: number, count: number): Promise<number[]> {
  const made: number[] = []
  for (const [account, name] of [
    [0, 'internal'],
    [7, 'seven'],
    [8, 'eight'],
    [8, 'empty'],
  ] as const) {
    const answer = await rig.rest('POST', '/mdb/containers', [{ name, ttl: 0 }], account || undefined)
    made.push(answer.result[0]?.id as number)
  }
  for (const [index, id] of made.slice(0, 3).entries())
    for (const [d, day] of [two_days_ago, yesterday].entries()) await append(rig, id, seed + index * 10 + d, count, day)
  return made
}

async function append(rig: Rig, container: number, seed: number, count: number, day: string): Promise<number> {
  const answer = await rig.rest<{ stored: number }>('POST', '/mdb/records', [
    { container, records: records(seed, count, day) },
  ])
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.errors))
  return answer.result[0]?.stored ?? 0
}

/** Reads in many ways; what MDB and the archive are both asked. */
function reads(ids: number[], seed: number): string[] {
  const next = seeded(seed)
  const begin = Date.parse(`${two_days_ago}T00:00:00Z`) / 1000
  const queries = ['count=100000', 'count=100000&reverse=true', 'count=3', 'count=3&reverse=true', '']
  for (let i = 0; i < 12; i++) {
    const from = begin + Math.floor(next() * 172_800)
    const fields = next() < 0.5 ? '&fields=timestamp,position.latitude,io.3,ident' : ''
    queries.push(`from=${from}&to=${from + Math.floor(next() * 50_000)}&count=500&reverse=${next() < 0.5}${fields}`)
  }
  return [...ids.map(String), 'all', 'name=s*', `${ids[0]},${ids[2]}`].flatMap((selector) =>
    queries.map((query) => `containers/${selector}/records?${query}`),
  )
}

async function same(t: ExecutionContext, rig: Rig, paths: string[], held: Map<string, string[]>): Promise<void> {
  for (const path of paths) {
    const answer = await rig.rest('GET', `/archive/${path}`)
    t.deepEqual(answer.result.map(sorted), held.get(path)!, path)
  }
}

async function hold(rig: Rig, paths: string[]): Promise<Map<string, string[]>> {
  const held = new Map<string, string[]>()
  for (const path of paths) held.set(path, (await rig.rest('GET', `/mdb/${path}`)).result.map(sorted))
  return held
}

test.serial(
  'exported, MDB stopped: the history is what MDB gave; late records are added; restored: it is the same again',
  async (t) => {
    t.timeout(600_000)
    const rig = await startRig(t)
    const ids = await fill(rig, 100, 1_500)
    const paths = reads(ids, 5)

    const first = await rig.job({ kind: 'export' })
    t.is(first.status, 'done', JSON.stringify(first.outcome))
    t.deepEqual(
      (first.outcome as Exported[]).map(({ day, kind }) => `${day} ${kind}`),
      [`${two_days_ago} day`, `${yesterday} day`],
    )
    let held = await hold(rig, paths)
    t.true(held.get(paths[0]!)!.length > 2_900)
    await rig.mdb.stop()
    await same(t, rig, paths, held)

    // How it says what it is.
    const plain = await rig.text(`/archive/containers/${ids[1]}/records?count=2`)
    const as_of = Date.parse(`${yesterday}T00:00:00Z`) / 1000 + 86_400
    t.is(plain.headers.get('x-archive-as-of'), String(as_of))
    t.is(JSON.parse(plain.text).as_of, as_of)
    const lines = await rig.text(`/archive/containers/${ids[1]}/records?count=2`, 'application/x-ndjson')
    t.is(lines.text.trim().split('\n').length, 2)
    t.deepEqual(departures(JSON.parse((await rig.text('/openapi.json')).text)), [])

    // Rights: an account sees its own, days and jobs are root's alone.
    const seen = async (path: string, account: number) => rig.rest('GET', `/archive/${path}`, undefined, account)
    t.deepEqual((await seen('containers/all?fields=name', 7)).result, [{ name: 'seven' }])
    t.is((await seen(`containers/${ids[2]}/records`, 7)).status, 404)
    t.is((await seen('days/all', 7)).status, 403)
    t.is((await seen('days/all', 1)).result.length, 2)
    t.is((await rig.rest('POST', '/archive/jobs', [{ kind: 'export' }], 7)).status, 403)
    for (const [body, reason] of [
      [{ kind: 'exports' }, /one of export,verify,restore/],
      [{ kind: 'verify', from_day: '2026-02-30' }, /"2026-02-30" is no day/],
      [{ kind: 'export', from_day: '2199-01-01' }, /is not over yet/],
      [{ kind: 'restore' }, /which days/],
    ] as const) {
      const answer = await rig.rest('POST', '/archive/jobs', [body])
      t.is(answer.status, 400)
      t.regex(answer.errors[0]?.reason ?? '', reason)
    }
    t.is((await rig.rest('GET', '/archive/days/20010101')).status, 404)

    // A black box is sent: some of it is new, some of it was there.
    await rig.startMdb()
    t.is(await append(rig, ids[1]!, 110, 1_500, two_days_ago), 0, 'sent again')
    const stored = await append(rig, ids[1]!, 777, 400, two_days_ago)
    const fresh = await append(rig, ids[3]!, 778, 50, yesterday)
    t.true(stored > 390 && fresh > 45)
    const second = await rig.job({ kind: 'export' })
    t.deepEqual(second.outcome, [
      { day: two_days_ago, records: stored, kind: 'addition' },
      { day: yesterday, records: fresh, kind: 'addition' },
    ])
    const [manifest] = (await rig.rest<Manifest>('GET', `/archive/days/day=${two_days_ago}/manifests`)).result
    t.deepEqual(
      manifest?.additions.map(({ number, records, containers }) => ({ number, records, containers })),
      [{ number: 1, records: stored, containers: 1 }],
    )
    t.deepEqual((await rig.job({ kind: 'export' })).outcome, [], 'nothing is new')
    t.deepEqual((await rig.job({ kind: 'verify' })).outcome, {
      days: 2,
      records: manifest!.records + (await day(rig, yesterday)).records,
      problems: [],
    })

    held = await hold(rig, paths)
    await rig.mdb.stop()
    await same(t, rig, paths, held)

    // Into an empty MDB; then once more, which changes nothing.
    await rig.startMdb('mdb-2')
    const wanted = { kind: 'restore', from_day: two_days_ago, to_day: yesterday } as const
    const restored = (await rig.job(wanted)).outcome as Restored
    t.is(restored.stored, restored.records)
    t.deepEqual(restored.renumbered, [])
    t.is(((await rig.job(wanted)).outcome as Restored).stored, 0)
    const again = await hold(rig, paths)
    for (const path of paths) t.deepEqual(again.get(path), held.get(path), path)
    t.deepEqual((await rig.job({ kind: 'export' })).outcome, [], 'what was restored is not new')
  },
)

const day = async (rig: Rig, name: string) =>
  (await rig.rest<Manifest>('GET', `/archive/days/day=${name}/manifests`)).result[0] as Manifest

test.serial('kill -9 in the middle of an export, anywhere: the next run completes it', async (t) => {
  t.timeout(600_000)
  const rig = await startRig(t)
  const next = seeded(9)
  const ids = await fill(rig, 300, 2_500)
  let halves = 0
  for (let round = 0; round < 6; round++) {
    // Each round has something to do: both days at first, then late records of them.
    if (round > 1) await append(rig, ids[round % 3]!, 1_000 + round, 1_200, round % 2 ? yesterday : two_days_ago)
    await rig.rest('POST', '/archive/jobs', [{ kind: 'export' }])
    const workshop = join(rig.days, '.new')
    await until('something is being written', () => existsSync(workshop), 60_000)
    await new Promise((done) => setTimeout(done, next() * 250))
    rig.archive.kill('SIGKILL')
    await rig.archive.exited
    if (existsSync(workshop) && readdirSync(workshop).length > 0) halves++
    await rig.startArchive()
  }
  const job = await rig.job({ kind: 'export' })
  t.is(job.status, 'done', JSON.stringify(job.outcome))
  t.true(halves > 0, 'at least one was killed in the middle')
  t.deepEqual(readdirSync(rig.days).sort(), [two_days_ago, yesterday])
  const checked = (await rig.job({ kind: 'verify' })).outcome as { problems: Problem[] }
  t.deepEqual(checked.problems, [])
  const path = 'containers/all/records?count=100000'
  const held = await rig.rest('GET', `/mdb/${path}`)
  t.is(digest((await rig.rest('GET', `/archive/${path}`)).result), digest(held.result))
})

test.serial('a flipped bit anywhere: verify names the file, and no wrong answer is given', async (t) => {
  t.timeout(600_000)
  const rig = await startRig(t)
  const ids = await fill(rig, 500, 300)
  await rig.job({ kind: 'export' })
  const right = digest((await rig.rest('GET', `/archive/containers/${ids[0]}/records?count=100000`)).result)
  const next = seeded(11)
  const folder = join(rig.days, yesterday)
  for (let round = 0; round < 40; round++) {
    const file = round % 4 === 0 ? 'manifest.json' : 'part-0000.parquet'
    const path = join(folder, file)
    const bytes = readFileSync(path)
    const damaged = Buffer.from(bytes)
    damaged[Math.floor(next() * bytes.length)]! ^= 1 << Math.floor(next() * 8)
    writeFileSync(path, damaged)
    const { problems } = (await rig.job({ kind: 'verify' })).outcome as { problems: Problem[] }
    t.deepEqual(
      problems.map((problem) => `${problem.day} ${problem.file}`),
      [`${yesterday} ${file}`],
    )
    t.regex(problems[0]!.reason, /damaged/)
    const answer = await rig.rest('GET', `/archive/containers/${ids[0]}/records?count=100000`).catch(() => undefined)
    if (answer?.status === 200) t.is(digest(answer.result), right)
    else if (answer) t.regex(answer.errors[0]?.reason ?? '', new RegExp(`${file} is damaged`))
    writeFileSync(path, bytes)
  }
  const sound = (await rig.job({ kind: 'verify' })).outcome as { problems: Problem[] }
  t.deepEqual(sound.problems, [])
  writeFileSync(join(folder, 'stray'), '')
  t.is(((await rig.job({ kind: 'verify' })).outcome as { problems: Problem[] }).problems[0]?.file, 'stray')
})

test.serial('many containers at once, and one record of a period', async (t) => {
  t.timeout(600_000)
  const rig = await startRig(t)
  const names = Array.from({ length: 40 }, (_, i) => ({ name: `c${i}` }))
  const made = await rig.rest<{ id: number }>('POST', '/mdb/containers', names)
  await rig.rest(
    'POST',
    '/mdb/records',
    made.result.map(({ id }) => ({ container: id, records: records(id, 30, yesterday) })),
  )
  t.is((await rig.job({ kind: 'export' })).status, 'done')
  for (const query of ['count=700', 'count=700&reverse=true', 'count=5000&every=3600', 'count=100001']) {
    const path = `containers/all/records?${query}`
    const [held, archived] = [await rig.rest('GET', `/mdb/${path}`), await rig.rest('GET', `/archive/${path}`)]
    t.is(archived.status, held.status, query)
    t.deepEqual(archived.result.map(sorted), held.result.map(sorted), query)
  }
})

test.serial('options that make no sense end the process with their names', async (t) => {
  const folder = temporaryFolder()
  for (const [options, reason] of [
    [{ at: '25:00' }, /options\.at .*25:00/],
    [{ keep_days: -1 }, /options\.keep_days -1/],
  ] as const) {
    const archive = await startProcess('services/archive/archive.ts', { data: folder.path, options })
    await archive.exited
    t.regex(archive.output(), reason)
  }
  folder.remove()
})
