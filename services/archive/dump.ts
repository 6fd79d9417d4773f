/** The dump of PostgreSQL that belongs to a day, in the form that `milepost-archive restore` takes. */
import { spawn } from 'node:child_process'
import { open, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import type { PostgresConfig } from '#services/common/process.ts'
import { type Dump, fileDigest, writeWhole } from './manifest.ts'

const time_max_ms = 3_600_000

const count_rows = `select coalesce(json_object_agg(table_name, (xpath('/row/n/text()',
  query_to_xml(format('select count(*) as n from public.%I', table_name), false, true, '')))[1]::text::bigint), '{}') as rows
  from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`

function run(command: string, args: string[], password: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: process.env.PATH ?? '/usr/bin:/bin', PGPASSWORD: password, LC_ALL: 'C' },
      timeout: time_max_ms,
    })
    let errors = ''
    child.stderr.on('data', (chunk) => (errors = (errors + chunk).slice(-2_000)))
    child.on('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'ENOENT'
          ? new Error(`${command} is not on this machine: install PostgreSQL's client programs`)
          : error,
      ),
    )
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`${command}: ${errors.trim() || code}`))))
  })
}

/** Dumps the database into the folder: dump and row counts are of one snapshot. Without a dump, why there is none. */
export async function dumpPostgres(
  config: PostgresConfig | undefined,
  folder: string,
): Promise<Dump | { missing: string }> {
  if (!config) return { missing: 'the archive was told of no PostgreSQL' }
  const { host, port, database, user, password } = config
  const client = new pg.Client({ host, port, database, user, password })
  const name = 'postgres'
  const file = `${name}.dump`
  const began = Date.now()
  try {
    await client.connect()
    await client.query('begin isolation level repeatable read read only')
    const { rows: snapshots } = await client.query<{ id: string }>('select pg_export_snapshot() as id')
    const { rows: counts } = await client.query<{ rows: Record<string, number> }>(count_rows)
    const target = ['-h', host, '-p', String(port), '-U', user, '-d', database]
    const how = ['--format=custom', '--no-owner', `--snapshot=${snapshots[0]?.id}`, `--file=${join(folder, file)}`]
    await run('pg_dump', [...how, ...target], password)
    await client.query('commit')
    const handle = await open(join(folder, file), 'r')
    await handle.sync()
    await handle.close()
    const dump: Dump = {
      name,
      file,
      bytes: (await stat(join(folder, file))).size,
      sha256: await fileDigest(join(folder, file)),
      time: Math.round(began / 1000),
      seconds: Math.round((Date.now() - began) / 100) / 10,
      rows: counts[0]?.rows ?? {},
    }
    await writeWhole(join(folder, `${name}.json`), JSON.stringify(dump, null, 2))
    return dump
  } catch (error) {
    await rm(join(folder, file), { force: true })
    return { missing: `no dump was made: ${(error as Error).message}` }
  } finally {
    await client.end().catch(() => {})
  }
}
