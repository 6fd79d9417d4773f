/** Records as an answer: envelope, NDJSON, CSV or rows, as `Accept` asks. */
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ApiError } from '#services/common/errors.ts'
import type { Engine, ReadQuery } from './engine.ts'
import { DamagedError, type Message } from './page.ts'
import { encodeBody, rows_type } from './rows.ts'
import type { Container } from './store.ts'

/** Containers whose records are merged as they are read: each holds a page in memory. */
const streams_max = 32
/** Records of more containers than that are put in order in memory. */
const sorted_records_max = 100_000
/** Columns of a CSV answer. */
const columns_max = 2_000

export type Format = 'json' | 'ndjson' | 'csv' | 'rows'

export function formatOf(request: FastifyRequest): Format {
  const accept = request.headers.accept ?? ''
  if (accept.includes('application/x-ndjson')) return 'ndjson'
  if (accept.includes('text/csv')) return 'csv'
  if (accept.includes(rows_type)) return 'rows'
  return 'json'
}

type Batches = AsyncGenerator<Message[]>

/** Several containers as one list in the order of time; of equal times the container with the lower id comes first. */
export async function* merged(engine: Engine, containers: readonly Container[], query: ReadQuery): Batches {
  const [only] = containers
  if (!only) return
  if (containers.length === 1) return yield* engine.read(only.id, query)
  const { count, reverse = false } = query
  if (containers.length > streams_max) {
    if (count === undefined || count > sorted_records_max) {
      const remedy = `ask for count=${sorted_records_max} at most, or for ${streams_max} containers at most`
      throw new ApiError('malformed', `count: ${containers.length} containers are read; ${remedy}`)
    }
    return yield* best(engine, containers, query, count)
  }
  const readers = containers.map(({ id }) => ({ batches: engine.read(id, query), batch: [] as Message[], at: 0 }))
  let left = count ?? Number.POSITIVE_INFINITY
  let out: Message[] = []
  try {
    await Promise.all(readers.map(fill))
    while (left > 0) {
      let first: (typeof readers)[number] | undefined
      for (const reader of readers) {
        const message = reader.batch[reader.at]
        if (message === undefined) continue
        const lead = first?.batch[first.at]?.timestamp
        if (lead === undefined || (reverse ? message.timestamp > lead : message.timestamp < lead)) first = reader
      }
      if (!first) break
      out.push(first.batch[first.at++]!)
      left--
      if (first.at === first.batch.length) await fill(first)
      if (out.length === 1_000) {
        yield out
        out = []
      }
    }
    if (out.length > 0) yield out
  } finally {
    for (const { batches } of readers) await batches.return(undefined)
  }
}

async function fill(reader: { batches: Batches; batch: Message[]; at: number }): Promise<void> {
  const next = await reader.batches.next()
  reader.batch = next.done ? [] : next.value
  reader.at = 0
}

/** The first `count` of many containers, read one after another. */
async function* best(engine: Engine, containers: readonly Container[], query: ReadQuery, count: number): Batches {
  const order = (a: Message, b: Message) => (query.reverse ? b.timestamp - a.timestamp : a.timestamp - b.timestamp)
  let kept: Message[] = []
  let bounds = query
  for (const { id } of containers) {
    let more: Message[] = []
    for await (const batch of engine.read(id, { ...bounds, count })) more = more.concat(batch)
    if (more.length === 0) continue
    kept = kept.concat(more).sort(order).slice(0, count)
    const last = kept.length === count ? kept.at(-1)!.timestamp : undefined
    // Others need not be read beyond what would be kept of them.
    if (last !== undefined) bounds = query.reverse ? { ...bounds, from: last } : { ...bounds, to: last }
  }
  if (kept.length > 0) yield kept
}

async function* asJson(batches: Batches, tail: string): AsyncGenerator<string> {
  let begin = '{"result":['
  for await (const batch of batches) {
    yield begin + JSON.stringify(batch).slice(1, -1)
    begin = ','
  }
  yield begin === ',' ? `]${tail}}` : `${begin}]${tail}}`
}

async function* asLines(batches: Batches): AsyncGenerator<string> {
  for await (const batch of batches) yield batch.map((message) => `${JSON.stringify(message)}\n`).join('')
}

function cell(value: unknown): string {
  if (value === undefined || value === null) return ''
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** RFC 4180, with a first line of names. An absent value and null are empty; lists and objects are JSON. */
async function* asCsv(batches: Batches, columns: readonly string[]): AsyncGenerator<string> {
  yield `${columns.map(cell).join(',')}\r\n`
  for await (const batch of batches)
    yield batch.map((message) => `${columns.map((name) => cell(message[name])).join(',')}\r\n`).join('')
}

async function* asRows(engine: Engine, containers: readonly Container[], query: ReadQuery): AsyncGenerator<Buffer> {
  yield encodeBody([])
  const head = encodeBody([]).length
  for (const { id } of containers)
    for await (const bytes of engine.blocks(id, query)) yield encodeBody([{ container: id, bytes }]).subarray(head)
}

/** Names of the columns of a CSV answer: those asked for, or all that the range has. */
async function columnsOf(engine: Engine, containers: readonly Container[], query: ReadQuery): Promise<string[]> {
  if (query.fields) return ['timestamp', ...query.fields.filter((name) => name !== 'timestamp')]
  const names = new Set<string>()
  for (const { id } of containers) for (const name of await engine.parameters(id, query)) names.add(name)
  if (names.size > columns_max)
    throw new ApiError('malformed', `fields: the range has ${names.size} parameters; name ${columns_max} at most`)
  return ['timestamp', ...[...names].sort()]
}

const types: Record<Format, string> = {
  json: 'application/json; charset=utf-8',
  ndjson: 'application/x-ndjson',
  csv: 'text/csv; charset=utf-8',
  rows: rows_type,
}

/** Damage of the store, in words for whoever asked. */
export function damage(error: unknown): unknown {
  if (!(error instanceof DamagedError)) return error
  return new ApiError('internal', `the store is damaged: ${error.message}; "npm run mdb -- check" tells more`, {
    cause: error,
  })
}

/** Streams records; an error before the first of them is an answer of its own. */
export async function sendRecords(
  engine: Engine,
  request: FastifyRequest,
  reply: FastifyReply,
  containers: readonly Container[],
  query: ReadQuery,
  errors: ApiError[],
): Promise<FastifyReply> {
  const format = formatOf(request)
  const tail = errors.length === 0 ? '' : `,"errors":${JSON.stringify(errors.map((error) => error.item()))}`
  const make = async (): Promise<AsyncGenerator<string | Buffer>> => {
    if (format === 'rows') return asRows(engine, containers, query)
    const batches = merged(engine, containers, query)
    if (format === 'ndjson') return asLines(batches)
    if (format === 'csv') return asCsv(batches, await columnsOf(engine, containers, query))
    return asJson(batches, tail)
  }
  try {
    const pieces = await make()
    // Two pieces: the first of CSV and rows is made without a look at the store.
    const begun = [await pieces.next(), await pieces.next()]
    const all = async function* () {
      for (const piece of begun) if (!piece.done) yield piece.value
      yield* pieces
    }
    reply.type(types[format])
    return reply.send(Readable.from(all(), { objectMode: false }))
  } catch (error) {
    throw damage(error)
  }
}
