/**
 * Records as columns and back, exactly. A parameter of the registry has a column of its name and type; whatever has none, or
 * does not fit its type (raw names, null, nested, text in place of a number), stands in `rest`: a JSON object of its own.
 * So a column has the same type in every file of every day.
 */
import { createHash, type Hash } from 'node:crypto'
import { registered } from '#pvm/registry.ts'

/** A message of MDB: parameters by name. */
export type MessageRecord = Record<string, unknown> & { timestamp: number }

export type ColumnType = 'DOUBLE' | 'INT64' | 'BOOLEAN' | 'STRING'
export type Cell = number | bigint | boolean | string | null

/** Columns that every file has beside `timestamp`. No registered parameter is called like one of them. */
export const container_column = 'container'
export const rest_column = 'rest'
/** As `rest`, for what holds half a surrogate pair: JSON can say it, but many readers of JSON refuse the whole text. */
export const rest_utf16_column = 'rest_utf16'
/** Columns of parameters; more go to `rest`: a name like `ain.7` may have any number. */
export const columns_max = 1_000

const types = { number: 'DOUBLE', integer: 'INT64', boolean: 'BOOLEAN', string: 'STRING' } as const
const known = new Map<string, ColumnType | undefined>()
/** Names come from devices: what is remembered of them is bounded. */
const known_max = 50_000

/** Type of a parameter's column; undefined: it has none. */
export function columnType(name: string): ColumnType | undefined {
  let type = known.get(name)
  if (type !== undefined || known.has(name)) return type
  const parameter = registered(name)
  type = parameter && types[parameter.type]
  if (known.size < known_max) known.set(name, type)
  return type
}

/** The value as it stands in a column of this type; undefined: it does not fit and goes to `rest`. */
function cell(type: ColumnType, value: unknown): Cell | undefined {
  switch (type) {
    case 'DOUBLE':
      return typeof value === 'number' ? value : undefined
    case 'INT64':
      return Number.isSafeInteger(value) ? BigInt(value as number) : undefined
    case 'BOOLEAN':
      return typeof value === 'boolean' ? value : undefined
    // Half a surrogate pair cannot be written in UTF-8.
    case 'STRING':
      return typeof value === 'string' && value.isWellFormed() ? value : undefined
  }
}

export interface Cells {
  names: string[]
  values: Cell[]
  /** JSON objects; null: nothing is left. */
  rest: string | null
  rest_utf16: string | null
}

/** JSON of what is left of a record. JSON.stringify escapes half a pair, and of U+D800 to U+DFFF nothing else. */
const object = (left: [string, unknown][]) => (left.length === 0 ? null : JSON.stringify(Object.fromEntries(left)))
const halfPair = /(?<!\\)(?:\\\\)*\\ud[89a-f]/

/** A record taken apart. `hasRoom`: whether a parameter may still have a column. */
export function toCells(record: MessageRecord, hasRoom: (name: string) => boolean): Cells {
  const names: string[] = []
  const values: Cell[] = []
  const left: [string, unknown][] = []
  const halves: [string, unknown][] = []
  for (const name of Object.keys(record)) {
    if (name === 'timestamp') continue
    const type = columnType(name)
    const value = type && hasRoom(name) ? cell(type, record[name]) : undefined
    if (value === undefined) {
      const entry: [string, unknown] = [name, record[name]]
      ;(halfPair.test(JSON.stringify(entry)) ? halves : left).push(entry)
    } else {
      names.push(name)
      values.push(value)
    }
  }
  return { names, values, rest: object(left), rest_utf16: object(halves) }
}

const quoted = (value: Cell) => (typeof value === 'string' ? JSON.stringify(value) : String(value))

/** JSON texts of rows `from` to `to` (excluded). Columns: timestamp, one for each of `names`, rest, rest_utf16. */
export function toTexts(
  names: readonly string[],
  columns: readonly ArrayLike<Cell>[],
  from: number,
  to: number,
): string[] {
  const texts = new Array<string>(to - from)
  for (let row = from; row < to; row++) texts[row - from] = `{"timestamp":${columns[0]![row]}`
  for (const [index, name] of names.entries()) {
    const key = `,${JSON.stringify(name)}:`
    const column = columns[index + 1]!
    for (let row = from; row < to; row++) {
      const value = column[row]
      if (value !== null && value !== undefined) texts[row - from] += key + quoted(value)
    }
  }
  for (const rest of columns.slice(names.length + 1) as ArrayLike<string | null>[])
    for (let row = from; row < to; row++) {
      const left = rest[row]
      if (left) texts[row - from] += `,${left.slice(1, -1)}`
    }
  return texts.map((text) => `${text}}`)
}

const names_max = 50_000
const quotedNames = new Map<string, string>()

function quotedName(name: string): string {
  let text = quotedNames.get(name)
  if (text === undefined) {
    text = `${JSON.stringify(name)}:`
    if (quotedNames.size < names_max) quotedNames.set(name, text)
  }
  return text
}

/** Counts records and digests them: the same for the same records in the same order, whatever the order of their parameters. */
export class Digest {
  readonly #hash: Hash = createHash('sha256')
  records = 0

  add(record: Record<string, unknown>): void {
    let text = ''
    for (const name of Object.keys(record).sort()) text += `${quotedName(name)}${JSON.stringify(record[name])},`
    this.#hash.update(`${text}\n`)
    this.records++
  }

  hex(): string {
    return this.#hash.digest('hex')
  }
}
