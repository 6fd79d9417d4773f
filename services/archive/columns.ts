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

/** Columns that every file has. No registered parameter is called like the two that are ours. */
export const container_column = 'container'
export const rest_column = 'rest'
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
  /** JSON object; null: nothing is left. */
  rest: string | null
}

/** A record taken apart. `hasRoom`: whether a parameter may still have a column. */
export function toCells(record: MessageRecord, hasRoom: (name: string) => boolean): Cells {
  const names: string[] = []
  const values: Cell[] = []
  const left: [string, unknown][] = []
  for (const name of Object.keys(record)) {
    if (name === 'timestamp') continue
    const type = columnType(name)
    const value = type && hasRoom(name) ? cell(type, record[name]) : undefined
    if (value === undefined) left.push([name, record[name]])
    else {
      names.push(name)
      values.push(value)
    }
  }
  return { names, values, rest: left.length === 0 ? null : JSON.stringify(Object.fromEntries(left)) }
}

const quoted = (value: Cell) => (typeof value === 'string' ? JSON.stringify(value) : String(value))

/** JSON texts of rows: each is [timestamp, one value for each of `names`, rest]. */
export function toTexts(names: readonly string[], rows: readonly (readonly Cell[])[]): string[] {
  const keys = names.map((name) => `,${JSON.stringify(name)}:`)
  return rows.map((row) => {
    let text = `{"timestamp":${row[0]}`
    for (let i = 0; i < keys.length; i++) {
      const value = row[i + 1]
      if (value !== null && value !== undefined) text += keys[i] + quoted(value)
    }
    const rest = row[keys.length + 1] as string | null | undefined
    return rest ? `${text},${rest.slice(1)}` : `${text}}`
  })
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
