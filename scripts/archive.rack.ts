/** The archive's files as others read them: the Python of docs/archive.md, and every record compared. Needs Python 3 with venv, and pip. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { format, writeManifest } from '#services/archive/manifest.ts'
import { PartsWriter } from '#services/archive/part-writer.ts'
import { records, two_days_ago, yesterday } from '#services/archive/rig.ts'

const work = mkdtempSync(join(tmpdir(), 'milepost-archive-'))
const python = join(work, 'venv/bin/python')
test.after.always(() => rmSync(work, { recursive: true, force: true }))

function run(t: ExecutionContext, command: string, args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: work, encoding: 'utf8' })
  t.is(status, 0, `${command} ${args[0]}: ${stdout}${stderr}`)
  return stdout
}

/** An archive of two days and two containers; the second day has a late addition. Gives its records as JSON lines. */
async function makeArchive(): Promise<string[]> {
  const lines: string[] = []
  for (const [index, day] of [two_days_ago, yesterday].entries()) {
    const folder = join(work, 'days', day)
    mkdirSync(folder, { recursive: true })
    const parts = []
    for (const [addition, prefix] of index === 1
      ? (['part', 'late-0001'] as const).entries()
      : [[0, 'part'] as const]) {
      const writer = new PartsWriter(folder, prefix)
      for (const container of [7, 8]) {
        // The first day lacks columns that the second one has.
        const list = records(container + addition * 10 + index * 100, 2_000, day, index ? ['battery.level'] : [])
        for (const record of list.sort((a, b) => a.timestamp - b.timestamp)) {
          writer.add(container, record, 0)
          lines.push(JSON.stringify({ container, record }))
        }
      }
      parts.push(...(await writer.finish(addition)))
    }
    const about = { format, day, created: 0, records: 0, columns: [], containers: [], parts, additions: [] }
    await writeManifest(folder, { ...about, postgres: { missing: 'a test' } })
  }
  return lines
}

/** Reads each record back by DuckDB and by pyarrow, as docs/archive.md says, and compares it exactly. */
const compare = `
import glob, json
import duckdb
import pyarrow as pa, pyarrow.dataset as ds, pyarrow.parquet as pq

def exact(value):
    """A value that equals another one only if it is of the same kind in JSON."""
    if isinstance(value, dict): return ('object', tuple(sorted((k, exact(v)) for k, v in value.items())))
    if isinstance(value, list): return ('list', tuple(exact(v) for v in value))
    if isinstance(value, bool): return ('bool', value)
    if isinstance(value, (int, float)): return ('number', float(value))
    return (type(value).__name__, value)

def key(container, record):
    return repr((container, exact(record)))

def record(row):
    fields = {name: value for name, value in row.items() if value is not None and name not in ('container', 'rest', 'rest_utf16')}
    return fields | json.loads(row['rest'] or '{}') | json.loads(row['rest_utf16'] or '{}')

expected = sorted(key(one['container'], one['record']) for one in map(json.loads, open('expected.ndjson')))
files = sorted(glob.glob('days/????-??-??/*.parquet'))
schema = pa.unify_schemas([pq.read_schema(file) for file in files])
rows = ds.dataset(files, schema=schema).to_table().to_pylist()
assert sorted(key(row['container'], record(row)) for row in rows) == expected, 'pyarrow'
found = duckdb.sql("select * from read_parquet('days/????-??-??/*.parquet', union_by_name = true)")
rows = [dict(zip(found.columns, row)) for row in found.fetchall()]
assert sorted(key(row['container'], record(row)) for row in rows) == expected, 'duckdb'
print(len(expected), 'records')
`

test('DuckDB, pandas and pyarrow read the files; the commands of docs/archive.md run', async (t) => {
  // Mostly what pip brings and unpacks.
  t.timeout(900_000)
  const lines = await makeArchive()
  writeFileSync(join(work, 'expected.ndjson'), `${lines.join('\n')}\n`)
  run(t, 'python3', ['-m', 'venv', 'venv'])
  run(t, python, ['-m', 'pip', 'install', '--quiet', 'duckdb', 'pandas', 'pyarrow'])
  t.is(run(t, python, ['-c', compare]), `${lines.length} records\n`)
  const page = readFileSync(resolve(import.meta.dirname, '../docs/archive.md'), 'utf8')
  const blocks = [...page.matchAll(/```python\n([\s\S]*?)```/g)].map(([, code = '']) => code)
  t.true(blocks.length >= 2)
  for (const code of blocks) t.not(run(t, python, ['-c', code]), '')
})
