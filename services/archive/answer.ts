/** Records of one or several containers as the text of an answer. */
import { ApiError } from '#services/common/errors.ts'
import { type Known, type Library, microseconds, type Range } from './library.ts'
import type { Text } from './part-reader.ts'

/** As MDB: so many containers are merged as they are read, of more so many records are put in order in memory. */
const streams_max = 32
const sorted_records_max = 100_000
/** Text of a stream is handed on in pieces of about this many characters. */
const piece_length = 64 * 1024

export interface Query extends Range {
  /** Records at most, after `every`. */
  count: number
  /** These parameters alone, and the timestamp. */
  fields?: string[] | undefined
  /** Only the first record of each period of so many seconds. */
  every?: number | undefined
}

type Texts = AsyncGenerator<Text>

/** Several containers as one list in the order of time; of equal times the container with the lower id comes first. */
export async function* merged(library: Library, containers: readonly Known[], query: Query): Texts {
  const { count, reverse } = query
  const [only] = containers
  if (!only) return
  if (containers.length === 1) return yield* limited(readOne(library, only, query), count)
  if (containers.length > streams_max) {
    if (count > sorted_records_max)
      throw new ApiError(
        'malformed',
        `count: ${containers.length} containers are read; ask for count=${sorted_records_max} at most, or for ${streams_max} containers at most`,
      )
    return yield* best(library, containers, query)
  }
  yield* limited(
    interleaved(
      containers.map((container) => readOne(library, container, query)),
      reverse,
    ),
    count,
  )
}

async function* interleaved(sources: Texts[], reverse: boolean): Texts {
  const heads: { next: Text; source: Texts }[] = []
  try {
    for (const source of sources) {
      const { value, done } = await source.next()
      if (!done) heads.push({ next: value, source })
    }
    while (heads.length > 0) {
      let first = heads[0]!
      for (const head of heads) {
        const difference = microseconds(head.next.timestamp) - microseconds(first.next.timestamp)
        if (reverse ? difference > 0 : difference < 0) first = head
      }
      yield first.next
      const { value, done } = await first.source.next()
      if (done) heads.splice(heads.indexOf(first), 1)
      else first.next = value
    }
  } finally {
    for (const { source } of heads) await source.return(undefined)
  }
}

/** The first `count` of many containers, read one after another. */
async function* best(library: Library, containers: readonly Known[], query: Query): Texts {
  const { count, reverse } = query
  const order = (a: Text, b: Text) => (microseconds(a.timestamp) - microseconds(b.timestamp)) * (reverse ? -1 : 1)
  let kept: Text[] = []
  for (const container of containers) {
    const more: Text[] = []
    for await (const text of limited(readOne(library, container, query), count)) more.push(text)
    // The sort is stable: of equal times the earlier container stays first.
    if (more.length > 0) kept = [...kept, ...more].sort(order).slice(0, count)
  }
  yield* kept
}

async function* readOne(library: Library, container: Known, { every, fields, ...range }: Query): Texts {
  let period = Number.NaN
  for await (const text of library.read(container, range, fields)) {
    if (every !== undefined) {
      const of = Math.floor(text.timestamp / every)
      if (of === period) continue
      period = of
    }
    yield fields ? { ...text, json: picked(text, fields) } : text
  }
}

function picked({ timestamp, json }: Text, fields: readonly string[]): string {
  const record = JSON.parse(json) as Record<string, unknown>
  const entries = fields.filter((name) => Object.hasOwn(record, name)).map((name) => [name, record[name]] as const)
  return JSON.stringify(Object.fromEntries([['timestamp', timestamp], ...entries]))
}

async function* limited(texts: Texts, count: number): Texts {
  let left = count
  for await (const text of texts) {
    yield text
    if (--left <= 0) return
  }
}

/** JSON texts as the pieces of the envelope, or of NDJSON. `tail`: what ends the envelope. */
export async function* pieces(records: Texts, ndjson: boolean, tail: string): AsyncGenerator<string> {
  let piece = ndjson ? '' : '{"result":['
  let separator = ''
  for await (const { json } of records) {
    piece += ndjson ? `${json}\n` : separator + json
    separator = ','
    if (piece.length > piece_length) {
      yield piece
      piece = ''
    }
  }
  yield ndjson ? piece : piece + tail
}
