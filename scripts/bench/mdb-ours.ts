/** MDB itself as a store to measure: its engine in this process, and the whole of it through REST. */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type Logger, pino } from 'pino'
import { Agent, request } from 'undici'
import { ApiError } from '#services/common/errors.ts'
import { timestamp_max } from '#services/common/records.ts'
import { freePort, startProcess, type TestProcess } from '#services/common/testing.ts'
import { type Append, Engine } from '#services/mdb/engine.ts'
import { LmdbStore } from '#services/mdb/lmdb-store.ts'
import { type Message, openPage } from '#services/mdb/page.ts'
import { blockToAppend } from '#services/mdb/record.ts'
import { type Block, decodeBody, encodeBody, encodeRows, rows_type } from '#services/mdb/rows.ts'
import { all_days, type Store as PageStore } from '#services/mdb/store.ts'
import { root } from '../state.ts'
import { folderBytes, memoryOf } from './mdb-candidate.ts'
import type { Line, Store } from './mdb-worker.ts'

/** Records of one commit; while one is on its way to the disk the next is made, as tg does. */
const records_of_a_commit = 2_000
const under_way = 2
/** A busy machine may keep MDB from answering for a while. */
const patience_ms = 120_000
/** Told that the store is slower than its writers, a writer comes back after so long. */
const back_after_ms = 100
const everything = { from: 0, to: timestamp_max }
/** Containers made by one request. */
const created_at_once = 1_000
/** Devices whose pages are copied side by side. */
const copied_at_once = 100

/** A commit's worth as blocks of rows, as tg would send it. */
function blocksOf(lines: Line[], idOf: (device: number) => number): Block[] {
  const groups = new Map<number, Message[]>()
  for (const { device, message } of lines) {
    const group = groups.get(device)
    if (group) group.push(message)
    else groups.set(device, [message])
  }
  return [...groups].map(([device, records]) => ({ container: idOf(device), bytes: encodeRows(records) }))
}

/** Hands on commit after commit, some under way at once. */
async function inTurn(lines: Line[], store: (part: Line[]) => Promise<unknown>): Promise<void> {
  let at = 0
  const lane = async () => {
    while (at < lines.length) {
      const part = lines.slice(at, at + records_of_a_commit)
      at += records_of_a_commit
      await store(part)
    }
  }
  await Promise.all(Array.from({ length: under_way }, lane))
}

/** Merges all pages of a store that nobody has open, and writes its file anew: what `npm run mdb -- compact` does. */
function compact(folder: string): void {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts/mdb.ts'), 'compact', folder], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`compact: ${stderr}`)
}

/** The decoded columns of a page, looked at; returns its records. */
function look(bytes: Uint8Array, fields?: readonly string[]): number {
  const page = openPage(bytes)
  page.timestamps()
  for (const name of fields ?? page.parameters) page.column(name)
  return page.records
}

export class EngineStore implements Store {
  readonly #folder: string
  readonly #devices: number
  readonly #objects: boolean
  readonly #store: (log: Logger) => Promise<PageStore>
  readonly #ids: number[] = []
  client_s = 0
  engine!: Engine

  /** `objects`: reads make messages, not columns. `store`: where the pages go. */
  constructor(folder: string, devices: number, objects: boolean, store?: (log: Logger) => Promise<PageStore>) {
    this.#folder = folder
    this.#devices = devices
    this.#objects = objects
    this.#store = store ?? (async (log) => new LmdbStore(folder, { log }))
  }

  async open(): Promise<void> {
    const log = pino({ level: 'error' }, pino.destination(2))
    this.engine = await Engine.open(await this.#store(log), { log })
    for (const { name, id } of this.engine.containers()) this.#ids[Number(name.slice(1))] = id
    if (this.#ids.length > 0) return
    const wanted = Array.from({ length: this.#devices }, (_, device) => ({ account_id: 1, name: `d${device}`, ttl: 0 }))
    for (let at = 0; at < wanted.length; at += created_at_once)
      for (const { name, id } of await Promise.all(
        wanted.slice(at, at + created_at_once).map((container) => this.engine.create(container)),
      ))
        this.#ids[Number(name.slice(1))] = id
  }

  load(lines: Line[]): Promise<void> {
    return inTurn(lines, (part) => {
      const before = process.threadCpuUsage()
      const blocks = blocksOf(part, (device) => this.#ids[device]!)
      const { user, system } = process.threadCpuUsage(before)
      this.client_s += (user + system) / 1e6
      return this.#append(
        blocks.map(({ container, bytes }) => blockToAppend(container, bytes as Buffer, String(container))),
      )
    })
  }

  /** Comes back when it is told to, as the clients of REST do. */
  async #append(appends: Append[]): Promise<void> {
    for (const end = Date.now() + patience_ms; ; ) {
      try {
        await this.engine.append(appends)
        return
      } catch (error) {
        if (!(error instanceof ApiError && error.kind === 'unavailable') || Date.now() > end) throw error
        await new Promise((done) => setTimeout(done, back_after_ms))
      }
    }
  }

  async settle(): Promise<void> {
    await this.engine.close()
    compact(this.#folder)
    await this.open()
  }

  async read(devices: number[], fields?: string[]): Promise<number> {
    let messages = 0
    for (const device of devices) {
      const id = this.#ids[device]!
      if (this.#objects) {
        for await (const batch of this.engine.read(id, { ...everything, fields })) messages += batch.length
      } else for await (const bytes of this.engine.blocks(id, everything)) messages += look(bytes, fields)
    }
    return messages
  }

  /** Makes it so many devices: those that come get the pages of those that are there. */
  async multiply(devices: number): Promise<void> {
    const { store } = this.engine
    const there = this.#ids.length
    for (let device = there; device < devices; device += copied_at_once)
      await Promise.all(
        Array.from({ length: Math.min(copied_at_once, devices - device) }, async (_, i) => {
          const from = this.#ids[(device + i) % there]!
          const { id } = await this.engine.create({ account_id: 1, name: `d${device + i}`, ttl: 0 })
          let newest = await store.newest(from)
          for (const day of await store.days(from, ...all_days)) {
            const heads = await store.heads(from, day)
            const bytes = await store.load(heads)
            const pages = heads.map((head, n) => ({ head: { ...head, container: id }, bytes: bytes[n]! }))
            await store.replace(id, day, [], pages, newest)
            newest = new Map()
          }
        }),
      )
  }

  /** The last messages of devices, as objects. */
  async newest(devices: number[], count: number): Promise<number> {
    let messages = 0
    for (const device of devices) {
      const query = { ...everything, reverse: true, count }
      for await (const batch of this.engine.read(this.#ids[device]!, query)) messages += batch.length
    }
    return messages
  }

  bytes(): number {
    return folderBytes(this.#folder)
  }

  memory(): number {
    return memoryOf(process.pid)
  }

  async close(): Promise<void> {
    await this.engine.close()
  }
}

export class RestStore implements Store {
  readonly #folder: string
  readonly #devices: number
  readonly #ndjson: boolean
  readonly #token = randomBytes(16).toString('hex')
  readonly #ids: number[] = []
  readonly #agent = new Agent({ connections: 4, headersTimeout: 120_000, bodyTimeout: 120_000 })
  #process!: TestProcess
  #url = ''

  /** `ndjson`: reads ask for NDJSON, not for rows. */
  constructor(folder: string, devices: number, ndjson: boolean) {
    this.#folder = folder
    this.#devices = devices
    this.#ndjson = ndjson
  }

  async #call(method: 'GET' | 'POST', path: string, body?: string | Buffer, accept = 'application/json') {
    const ask = () =>
      request(`${this.#url}${path}`, {
        method,
        dispatcher: this.#agent,
        body: body ?? null,
        headers: {
          authorization: `Bearer ${this.#token}`,
          accept,
          'content-type': Buffer.isBuffer(body) ? rows_type : 'application/json',
        },
      })
    let answer = await ask()
    // Told to come back, as tg is when its batches pile up.
    for (const end = Date.now() + patience_ms; answer.statusCode === 503 && Date.now() < end; answer = await ask()) {
      await answer.body.dump()
      await new Promise((done) => setTimeout(done, back_after_ms))
    }
    if (answer.statusCode !== 200)
      throw new Error(
        `${method} ${path.slice(0, 80)}: ${answer.statusCode} ${(await answer.body.text()).slice(0, 500)}`,
      )
    return answer.body
  }

  async open(): Promise<void> {
    const port = await freePort()
    this.#url = `http://127.0.0.1:${port}`
    this.#process = await startProcess('services/mdb/mdb.ts', {
      data: this.#folder,
      port,
      internal_token: this.#token,
    })
    type Row = { id: number; name: string }
    const list = async (body: { text(): Promise<string> }) => {
      const { result } = JSON.parse(await body.text()) as { result: Row[] }
      for (const { id, name } of result) this.#ids[Number(name.slice(1))] = id
      return result.length
    }
    if ((await list(await this.#call('GET', '/mdb/containers/all?fields=id,name'))) > 0) return
    for (let at = 0; at < this.#devices; at += created_at_once) {
      const names = Array.from({ length: Math.min(created_at_once, this.#devices - at) }, (_, i) => ({
        name: `d${at + i}`,
      }))
      await list(await this.#call('POST', '/mdb/containers', JSON.stringify(names)))
    }
  }

  load(lines: Line[]): Promise<void> {
    return inTurn(lines, async (part) => {
      const body = encodeBody(blocksOf(part, (device) => this.#ids[device]!))
      const answer = await this.#call('POST', '/mdb/records', body)
      await answer.dump()
    })
  }

  async settle(): Promise<void> {
    await this.#process.stop()
    compact(join(this.#folder, 'store'))
    await this.open()
  }

  async read(devices: number[], fields?: string[]): Promise<number> {
    const ids = devices.map((device) => this.#ids[device]!)
    let messages = 0
    const query = fields ? `&fields=${fields.join(',')}` : ''
    if (!this.#ndjson) {
      const path = `/mdb/containers/${ids.join(',')}/records?from=0${query}`
      const body = Buffer.from(await (await this.#call('GET', path, undefined, rows_type)).arrayBuffer())
      for (const { bytes } of decodeBody(body)) messages += look(bytes, fields)
      return messages
    }
    for (const id of ids) {
      const path = `/mdb/containers/${id}/records?from=0&count=100000000${query}`
      for await (const chunk of await this.#call('GET', path, undefined, 'application/x-ndjson'))
        for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) messages++
    }
    return messages
  }

  bytes(): number {
    return folderBytes(join(this.#folder, 'store'))
  }

  memory(): number {
    return memoryOf(this.#process.pid)
  }

  async close(): Promise<void> {
    await this.#process.stop()
    await this.#agent.close()
  }
}
