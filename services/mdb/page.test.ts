import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { fleetPackets } from '#scripts/bench/mdb-data.ts'
import { root } from '#scripts/state.ts'
import { seeded } from '#services/common/random.ts'
import {
  blocksOf,
  bundleOf,
  checkPage,
  DamagedError,
  encodePage,
  type Message,
  mergePages,
  openPage,
  type Page,
  type PageQuery,
  RowsMerge,
  readPages,
  sortRecords,
  summarise,
} from './page.ts'
import { names } from './page-names.ts'
import { columns_max } from './page-open.ts'
import { recordHash } from './record.ts'
import { checkRows, decodeBody, encodeBody, encodeRows } from './rows.ts'

type Random = () => number

const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)]!
const texts = [
  '',
  'a',
  'teltonika',
  'Ω≈ç√',
  '🚚🚛',
  '\ud800 alone',
  'with "quotes"\n',
  '\u2028',
  '𝔘',
  'x'.repeat(5_000),
]
const odd = [
  -0,
  0,
  1e308,
  -1e308,
  5e-324,
  2 ** 53,
  -(2 ** 53),
  2 ** 53 + 2,
  0.1 + 0.2,
  1 / 3,
  1e21,
  1e-7,
  255,
  240,
  239,
  -1,
]
const keys = [
  'ident',
  'position.latitude',
  'x',
  'ключ',
  '__proto__',
  'constructor',
  '1',
  'toString',
  'long.'.repeat(20),
]

/** A generator of one parameter's values; each makes values of one manner. */
function manner(random: Random): (row: number) => unknown {
  const scale = pick(random, [1, 10, 100, 1_000, 1e7])
  let walk = Math.floor(random() * 1e6)
  const step = pick(random, [1, 3, 20, 1_000, 2 ** 29])
  const base = pick(random, [0, 1, -5, 1e9, 2 ** 40, 86_400])
  return pick(random, [
    () => base,
    () => (walk += Math.floor((random() - 0.3) * step)) / scale,
    (row: number) => base + row * step,
    () => Math.floor(random() * step) * 0.001,
    () => Math.floor(random() * 1e6) / 600_000,
    () => Math.fround(random() * step),
    () => random() * step - step / 2,
    () => random() < 0.9,
    () => pick(random, ['stop', 'go', 'wait']),
    () => `text ${Math.floor(random() * 1e9)}`,
    () => pick(random, texts),
    () => pick(random, odd),
    () => (random() < 0.02 ? pick(random, odd) : walk++),
    () => pick(random, [null, [], {}, [1, -0, 'x', null, { a: [true] }], { b: { c: 'd' } }]),
    () => pick<unknown>(random, [null, true, false, 1.5, 'one', ['deep', [[[]]]], -0, '\udfff']),
    () => Math.floor(random() * 2 ** 52) - 2 ** 51,
    (row: number) => (row % 100 < 60 ? 0 : 253),
  ])
}

/** Whether a row has a value. */
function presence(random: Random): (row: number) => boolean {
  type There = (row: number) => boolean
  const share = random()
  const period = 1 + Math.floor(random() * 50)
  return pick<There>(random, [
    () => true,
    () => random() < share,
    (row) => row % period === 0,
    (row) => row % 100 < period,
    (row) => row > 20,
  ])
}

function randomRecords(random: Random, size: number): Message[] {
  const columns = Array.from({ length: 1 + Math.floor(random() * 14) }, (_, i) => ({
    name: random() < 0.5 ? pick(random, keys) : `p.${i}`,
    value: manner(random),
    there: presence(random),
  }))
  const step = pick(random, [0, 1, 10, 0.001, 0.25, 1 / 3, 100])
  let timestamp = pick(random, [0, 1_790_000_000, 1_790_000_000.123, 7_258_000_000, 1e-6])
  const records: Message[] = []
  for (let row = 0; row < size; row++) {
    if (random() < 0.8) timestamp += step
    const record: Message = { timestamp }
    for (const { name, value, there } of columns) {
      if (!there(row)) continue
      Object.defineProperty(record, name, { value: value(row), enumerable: true, configurable: true, writable: true })
    }
    records.push(record)
  }
  return sortRecords(records)
}

const jsonBytes = (records: Message[]) => records.reduce((sum, r) => sum + Buffer.byteLength(JSON.stringify(r)), 0)

/** What `read` must answer, by the simplest means. */
function model(records: Message[], { from = -Infinity, to = Infinity, fields, reverse, count }: PageQuery): Message[] {
  let some = records.filter(({ timestamp }) => timestamp >= from && timestamp < to)
  if (reverse) some = some.reverse()
  return some.slice(0, count).map((record) => {
    if (fields === undefined) return record
    const entries = Object.entries(record).filter(([name]) => name === 'timestamp' || fields.includes(name))
    return Object.fromEntries(entries) as Message
  })
}

test('what comes out of a page and of rows is what went in', (t) => {
  const random = seeded(1)
  for (let round = 0; round < 100; round++) {
    const records = randomRecords(random, round % 10 === 0 ? 700 : 1 + Math.floor(random() * 90))
    const page = openPage(encodePage(records))
    const rows = checkRows(encodeRows(records))
    t.deepEqual(page.read(), records, `round ${round}`)
    t.deepEqual(rows.read(), records, `round ${round}`)
    t.is(page.json_bytes, jsonBytes(records), `round ${round}`)
    t.is(rows.json_bytes, page.json_bytes)
    const names = [...new Set(records.flatMap((record) => Object.keys(record)))]
    for (let read = 0; read < 4; read++) {
      const query: PageQuery = {
        from: pick(random, records).timestamp,
        to: pick(random, records).timestamp,
        fields: random() < 0.5 ? undefined : [pick(random, names), pick(random, names), 'absent'],
        reverse: random() < 0.5,
        count: 1 + Math.floor(random() * 30),
      }
      t.deepEqual(page.read(query), model(records, query), `round ${round}: ${JSON.stringify(query)}`)
    }
    for (const [name, newest] of page.newest()) {
      const last = records.findLast((record) => Object.hasOwn(record, name))!
      t.deepEqual(newest, { timestamp: last.timestamp, value: last[name] })
    }
    t.deepEqual(page.hash(0), recordHash(records[0]!))
  }
})

/** Pages of at most `size_max` records that hold exactly these, in their order, and know their size as JSON. */
function isMerged(
  t: ExecutionContext,
  merged: Page[],
  expected: ReturnType<typeof randomRecords>,
  size_max: number,
  round: string,
): void {
  t.true(merged.every(({ records }) => records <= size_max))
  t.deepEqual(
    merged.flatMap((page) => page.read()),
    expected,
    round,
  )
  t.is(
    merged.reduce((sum, page) => sum + page.json_bytes, 0),
    jsonBytes(expected),
  )
}

test('fresh rows, bundled or not, merge straight into columns as they do by way of pages', (t) => {
  const random = seeded(4)
  for (let round = 0; round < 60; round++) {
    const all = randomRecords(random, 1 + Math.floor(random() * 200))
    const parts = Array.from({ length: 1 + Math.floor(random() * 30) }, () => all.filter(() => random() < 0.1))
    const blocks = parts.filter((part) => part.length > 0).map((part) => encodeRows(part))
    if (blocks.length === 0) continue
    const expected = all.filter((record) => parts.some((part) => part.includes(record)))
    const half = blocks.length >>> 1
    const first = half > 0 ? blocksOf(bundleOf(blocks.slice(0, half))) : []
    const bundle = bundleOf([...first, ...blocks.slice(half)])
    const bundled = openPage(bundle)
    checkPage(bundled)
    isMerged(t, [bundled], expected, all.length, `round ${round}: a bundle`)
    t.throws(() => checkRows(bundle), { message: /send rows or columns/ })
    const merge = new RowsMerge()
    for (const bytes of blocks) merge.add(bytes, summarise(bytes).records)
    const json_bytes = blocks.reduce((sum, bytes) => sum + summarise(bytes).json_bytes, 0)
    const size_max = 1 + Math.floor(random() * 100)
    const { pages, newest } = merge.finish(json_bytes, size_max)
    const merged = pages.map((bytes) => openPage(bytes))
    for (const page of merged) checkPage(page)
    isMerged(t, merged, expected, size_max, `round ${round}`)
    const wanted = new Map<string, { timestamp: number; value: unknown }>()
    for (const { timestamp, ...rest } of expected)
      for (const [name, value] of Object.entries(rest)) wanted.set(name, { timestamp, value })
    t.deepEqual([...newest].sort(), [...wanted].sort(), `round ${round}`)
  }
  const bytes = encodeRows([{ timestamp: 1, a: 'one' }])
  bytes[bytes.length - 1]! ^= 1
  t.throws(() => new RowsMerge().add(bytes, 1), { instanceOf: DamagedError })
})

test('pages merge into the order of (timestamp, hash), and no record comes out twice', (t) => {
  const random = seeded(2)
  for (let round = 0; round < 40; round++) {
    const all = randomRecords(random, 1 + Math.floor(random() * 200))
    const parts = Array.from({ length: 1 + Math.floor(random() * 5) }, () => all.filter(() => random() < 0.5))
    const pages = parts
      .filter((part) => part.length > 0)
      .map((part, i) => openPage(i % 2 ? encodePage(part) : encodeRows(part)))
    const expected = all.filter((record) => parts.some((part) => part.includes(record)))
    if (pages.length === 0) continue
    t.deepEqual(readPages(pages), expected, `round ${round}`)
    const size_max = 1 + Math.floor(random() * 100)
    const merged = mergePages(pages, size_max).map((bytes) => openPage(bytes))
    isMerged(t, merged, expected, size_max, `round ${round}`)
    const query = {
      from: all[0]!.timestamp,
      to: pick(random, all).timestamp,
      fields: ['p.1', 'x'],
      reverse: true,
      count: 9,
    }
    t.deepEqual(readPages(pages, query), model(expected, query))
  }
})

test('messages of a fleet take a fiftieth of their JSON', (t) => {
  const records: Message[] = []
  for (const packet of fleetPackets({ devices: 20, messages: 20_000, seed: 3 }))
    if (packet.device === 19) records.push(...packet.records)
  const sorted = sortRecords(records)
  t.true(sorted.length > 1_000 && sorted.length < records.length)
  const bytes = encodePage(sorted)
  t.deepEqual(openPage(bytes).read(), sorted)
  t.true(bytes.length * 50 < jsonBytes(sorted), `${bytes.length} of ${jsonBytes(sorted)}`)
})

test('a flipped bit or a missing end is found', (t) => {
  const random = seeded(4)
  const records = randomRecords(random, 120)
  const bundle = bundleOf([encodeRows(records.slice(0, 50)), encodeRows(records.slice(50))])
  for (const bytes of [encodePage(records), encodeRows(records), bundle]) {
    let found = 0
    for (let flip = 0; flip < 10_000; flip++) {
      const copy = Buffer.from(bytes)
      copy[Math.floor(random() * bytes.length)]! ^= 1 << Math.floor(random() * 8)
      try {
        openPage(copy).read()
      } catch (error) {
        if (!(error instanceof DamagedError)) throw error
        found++
      }
    }
    t.is(found, 10_000)
    for (let size = 0; size < bytes.length; size += 1 + Math.floor(size / 100))
      t.throws(() => openPage(bytes.subarray(0, size)), { instanceOf: DamagedError })
  }
})

test('bytes that only pretend to be a page are refused or read, and nothing worse', async (t) => {
  const { crc32 } = await import('node:zlib')
  const random = seeded(5)
  let refused = 0
  for (let round = 0; round < 1_000; round++) {
    const records = randomRecords(random, 20)
    const rows = encodeRows(records)
    const bytes = round % 3 === 0 ? rows : round % 3 === 1 ? encodePage(records) : bundleOf([rows, rows])
    for (let change = 0; change < 3; change++)
      bytes[8 + Math.floor(random() * (bytes.length - 8))] = Math.floor(random() * 256)
    bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4)
    try {
      const page = openPage(bytes)
      page.read()
      page.newest()
      checkPage(page)
    } catch (error) {
      if (!(error instanceof DamagedError)) throw error
      refused++
    }
  }
  t.true(refused > 250)
})

test('values that JSON does not know are refused by name', (t) => {
  for (const encode of [encodePage, encodeRows]) {
    const of = (x: unknown) => () => encode([{ timestamp: 1 }, { timestamp: 2, x }], 1)
    t.throws(of(Number.NaN), { message: 'record 1: "x" is NaN: a number must be finite' })
    t.throws(of([Infinity]), { message: 'record 1: "x" is Infinity: a number must be finite' })
    t.throws(of(1n), { message: 'record 1: "x" is a bigint: JSON has none' })
    t.throws(of(JSON.parse('['.repeat(1_000) + ']'.repeat(1_000))), { message: /nested deeper than 200/ })
    t.throws(() => encode([{ x: 1 } as never], 1), { message: /record 0: "timestamp" is missing/ })
  }
  t.throws(() => encodePage([{ timestamp: 2 }, { timestamp: 1 }]), { message: /record 1 is older/ })
})

test('records with thousands of names of their own are kept, too', (t) => {
  const records = Array.from({ length: 60 }, (_, row) => {
    const record: Message = { timestamp: row }
    for (let i = 0; i < 100; i++) record[`name.${row}.${i}`] = i / 10
    return record
  })
  t.true(records.length * 100 > columns_max)
  const bytes = encodePage(records)
  t.deepEqual(openPage(bytes).read(), records)
  t.deepEqual(openPage(mergePages([openPage(bytes), openPage(bytes)])[0]!).read(), records)
})

test('a body carries the blocks of many containers', (t) => {
  const records = [{ timestamp: 5, x: 1 }]
  const blocks = [
    { container: 7, bytes: encodeRows(records) },
    { container: 2 ** 32 - 1, bytes: encodePage(records) },
  ]
  const body = encodeBody(blocks)
  t.deepEqual(
    decodeBody(body).map(({ container, bytes }) => ({ container, records: checkRows(bytes).read() })),
    blocks.map(({ container }) => ({ container, records })),
  )
  t.deepEqual(summarise(decodeBody(body)[0]!.bytes), { kind: 'rows', records: 1, from: 5, to: 5, json_bytes: 21 })
  for (let size = 0; size < body.length; size++) {
    if (size === 8 || size === 8 + 8 + blocks[0]!.bytes.length) continue
    t.throws(() => decodeBody(body.subarray(0, size)), { instanceOf: DamagedError })
  }
})

test('the numbers of names never change', (t) => {
  const digest = (count: number) => createHash('sha256').update(names.slice(0, count).join('\n')).digest('hex')
  // New names are added at the end only; then a line is added here.
  t.is(digest(325).slice(0, 16), 'd95a1677cb2bea60')
  t.is(new Set(names).size, names.length)
})

test('docs/mdb-format.md gives the bytes and the names that the code has', (t) => {
  const text = readFileSync(join(root, 'docs/mdb-format.md'), 'utf8')
  const block = (kind: string) => text.match(new RegExp(`\`\`\`${kind}\n([^]*?)\`\`\``))?.[1] ?? ''
  const records = block('json')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Message)
  const bytesOf = (lines: string) =>
    Buffer.from(lines.replaceAll(/^((?:[0-9a-f]{2} ?)+).*$/gm, '$1').replaceAll(/\s/g, ''), 'hex')
  t.deepEqual(bytesOf(block('hex columns')), encodePage(records))
  t.deepEqual(bytesOf(block('hex rows')), encodeRows(records))
  t.deepEqual(openPage(bytesOf(block('hex columns'))).read(), records)
  t.deepEqual(block('names').trim().split(/\s+/), names)
})
