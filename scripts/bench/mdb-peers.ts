/** PostgreSQL and SQLite as stores of messages: the ways in which people use them for telematics. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import pg from 'pg'
import { spawnPostgres } from '#services/common/postgres-server.ts'
import { freePort, until } from '#services/common/testing.ts'
import { folderBytes, memoryOf } from './mdb-candidate.ts'
import type { Line, Store } from './mdb-worker.ts'

/** Rows of one transaction. */
const rows_of_a_commit = 2_000

abstract class Postgres implements Store {
  readonly #folder: string
  #server: ReturnType<typeof spawnPostgres> | undefined
  client!: pg.Client

  constructor(folder: string) {
    this.#folder = folder
  }

  abstract create(): Promise<unknown>
  abstract insert(lines: Line[]): Promise<unknown>
  abstract read(devices: number[], fields?: string[]): Promise<number>

  async open(): Promise<void> {
    mkdirSync(this.#folder, { recursive: true, mode: 0o711 })
    const config = { host: '127.0.0.1', port: await freePort(), database: 'postgres', user: 'bench', password: 'bench' }
    this.#server = spawnPostgres({
      data: join(this.#folder, 'data'),
      binaries: join(this.#folder, 'binaries'),
      port: config.port,
      user: config.user,
      password: config.password,
      settings: { shared_buffers: '512MB', max_wal_size: '2GB', jit: 'off' },
    })
    let output = ''
    this.#server.stderr?.on('data', (chunk) => (output += chunk))
    await until(
      'PostgreSQL accepts connections',
      async () => {
        if (this.#server!.exitCode !== null) throw new Error(`PostgreSQL ended: ${output}`)
        const client = new pg.Client(config)
        await client.connect()
        this.client = client
        return true
      },
      30_000,
    )
    await this.create()
  }

  async load(lines: Line[]): Promise<void> {
    for (let at = 0; at < lines.length; at += rows_of_a_commit)
      await this.insert(lines.slice(at, at + rows_of_a_commit))
  }

  async settle(): Promise<void> {
    await this.client.query('vacuum analyze messages')
    await this.client.query('checkpoint')
  }

  bytes(): number {
    // Without the write-ahead log, which is reused.
    return folderBytes(join(this.#folder, 'data', 'base'))
  }

  memory(): number {
    return memoryOf(this.#server!.pid ?? 0)
  }

  async close(): Promise<void> {
    await this.client.end()
    const gone = new Promise((done) => this.#server!.once('exit', done))
    this.#server!.kill('SIGINT')
    await gone
  }
}

/** A row a message: device, time, and the message as jsonb. */
export class PostgresJsonb extends Postgres {
  create = () =>
    this.client.query(
      `create table if not exists messages (device int not null, time float8 not null, message jsonb not null);
       create index if not exists messages_key on messages (device, time)`,
    )

  insert = (lines: Line[]) =>
    this.client.query('insert into messages select * from unnest($1::int[], $2::float8[], $3::jsonb[])', [
      lines.map(({ device }) => device),
      lines.map(({ message }) => message.timestamp),
      lines.map(({ text }) => text),
    ])

  async read(devices: number[], fields?: string[]): Promise<number> {
    const what = fields ? ['time', ...fields.map((name) => `message->'${name}'`)].join(', ') : 'message::text'
    const { rows } = await this.client.query({
      text: `select ${what} from messages where device = any($1) order by device, time`,
      values: [devices],
      rowMode: 'array',
    })
    return rows.length
  }
}

/** A row a message and a column a parameter. */
export class PostgresColumns extends Postgres {
  readonly #schema: [name: string, type: string][]

  constructor(folder: string, schema: [name: string, type: string][]) {
    super(folder)
    const types: Record<string, string> = { integer: 'int8', number: 'float8', boolean: 'bool', string: 'text' }
    this.#schema = schema.map(([name, type]) => [name, types[type]!])
  }

  create = () =>
    this.client.query(
      `create table if not exists messages (device int not null, ${this.#schema
        .map(([name, type]) => `"${name}" ${type}`)
        .join(', ')});
       create index if not exists messages_key on messages (device, timestamp)`,
    )

  insert = (lines: Line[]) => {
    const columns = this.#schema.map(([name]) => lines.map(({ message }) => message[name] ?? null))
    return this.client.query(
      `insert into messages select * from unnest($1::int[], ${this.#schema
        .map(([, type], i) => `$${i + 2}::${type}[]`)
        .join(', ')})`,
      [lines.map(({ device }) => device), ...columns],
    )
  }

  async read(devices: number[], fields?: string[]): Promise<number> {
    const { rows } = await this.client.query({
      text: `select ${fields ? ['timestamp', ...fields].map((name) => `"${name}"`).join(', ') : '*'}
        from messages where device = any($1) order by device, timestamp`,
      values: [devices],
      rowMode: 'array',
    })
    return rows.length
  }
}

/** A row a message: device, time, and the message as JSON text. */
export class Sqlite implements Store {
  readonly #folder: string
  #database!: DatabaseSync
  #insert!: StatementSync
  #read!: StatementSync

  constructor(folder: string) {
    this.#folder = folder
  }

  async open(): Promise<void> {
    mkdirSync(this.#folder, { recursive: true })
    this.#database = new DatabaseSync(join(this.#folder, 'messages.db'))
    this.#database.exec(`pragma journal_mode = wal; pragma synchronous = full; pragma cache_size = -64000;
      create table if not exists messages (device int not null, time real not null, message text not null);
      create index if not exists messages_key on messages (device, time)`)
    this.#insert = this.#database.prepare('insert into messages values (?, ?, ?)')
    this.#read = this.#database.prepare('select message from messages where device = ? order by time')
  }

  async load(lines: Line[]): Promise<void> {
    for (let at = 0; at < lines.length; at += rows_of_a_commit) {
      this.#database.exec('begin')
      for (const { device, message, text } of lines.slice(at, at + rows_of_a_commit))
        this.#insert.run(device, message.timestamp, text)
      this.#database.exec('commit')
    }
  }

  async settle(): Promise<void> {
    this.#database.exec('vacuum; pragma wal_checkpoint(truncate)')
  }

  async read(devices: number[], fields?: string[]): Promise<number> {
    let messages = 0
    const some = fields
      ? this.#database.prepare(
          `select time, ${fields.map((name) => `message->>'$."${name}"'`).join(', ')} from messages where device = ? order by time`,
        )
      : this.#read
    for (const device of devices) messages += some.all(device).length
    return messages
  }

  bytes(): number {
    return folderBytes(this.#folder)
  }

  memory(): number {
    return memoryOf(process.pid)
  }

  async close(): Promise<void> {
    this.#database.close()
  }
}
