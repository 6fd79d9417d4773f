import { ApiError } from './errors.ts'

/** One condition on a field: `name=truck*`, `id>10`. */
export interface Condition {
  field: string
  operator: '=' | '!=' | '>' | '<' | '>=' | '<='
  value: string
}

/** Which items of a collection a call works on: all, explicit ids, or conditions that all hold. */
export type Selector = { kind: 'all' } | { kind: 'ids'; ids: number[] } | { kind: 'where'; conditions: Condition[] }

/** More ids than this in one selector is a mistake, not a request. */
const ids_max = 10_000

const idsPattern = /^\d{1,15}(,\d{1,15})*$/
const conditionPattern = /^([a-z_][a-z0-9_.]*)(>=|<=|!=|=|>|<)(.*)$/s

/** Parses `all`, `1,2,5`, `name=truck*`, `id>10,protocol=wialon`. Throws ApiError `malformed` with the remedy. */
export function parseSelector(text: string): Selector {
  if (text === 'all') return { kind: 'all' }
  if (idsPattern.test(text)) {
    const ids = [...new Set(text.split(',').map(Number))]
    if (ids.length > ids_max) throw new ApiError('malformed', `selector: ${ids.length} ids, at most ${ids_max}`)
    return { kind: 'ids', ids }
  }
  const conditions: Condition[] = []
  for (const part of text.split(',')) {
    const match = conditionPattern.exec(part)
    if (!match) {
      throw new ApiError(
        'malformed',
        `selector "${text}": expected all, ids such as 1,2,5, or a condition such as name=truck*`,
      )
    }
    const [, field = '', operator = '=', value = ''] = match
    conditions.push({
      field,
      operator: operator as Condition['operator'],
      value,
    })
  }
  return { kind: 'where', conditions }
}

function wildcard(value: string): RegExp {
  const escaped = value.replace(/[.*+?^${}()|[\]\\]/g, (c) => (c === '*' ? '.*' : c === '?' ? '.' : `\\${c}`))
  return new RegExp(`^${escaped}$`, 's')
}

function refuseField(field: string, fields: readonly string[]): never {
  throw new ApiError('malformed', `selector: there is no field "${field}"; fields are ${fields.join(', ')}`)
}

/** Whether an item in memory is selected. `fields` are those a condition may name. */
export function matches(selector: Selector, item: Record<string, unknown>, fields: readonly string[]): boolean {
  if (selector.kind === 'all') return true
  if (selector.kind === 'ids') return selector.ids.includes(Number(item.id))
  return selector.conditions.every(({ field, operator, value }) => {
    if (!fields.includes(field)) refuseField(field, fields)
    const actual = item[field]
    if (operator === '=') return wildcard(value).test(String(actual))
    if (operator === '!=') return !wildcard(value).test(String(actual))
    const difference = Number(actual) - Number(value)
    if (operator === '>') return difference > 0
    if (operator === '<') return difference < 0
    return operator === '>=' ? difference >= 0 : difference <= 0
  })
}

/**
 * A selector as a parameterised SQL condition.
 * `fields`: column names that a condition may name; `offset`: how many parameters come before.
 */
export function toSql(selector: Selector, fields: readonly string[], offset = 0): { where: string; values: unknown[] } {
  if (selector.kind === 'all') return { where: 'true', values: [] }
  if (selector.kind === 'ids')
    return {
      where: `id = any($${offset + 1}::bigint[])`,
      values: [selector.ids],
    }
  const parts: string[] = []
  const values: unknown[] = []
  for (const { field, operator, value } of selector.conditions) {
    if (!fields.includes(field)) refuseField(field, fields)
    const place = `$${offset + values.length + 1}`
    if (operator === '=' || operator === '!=') {
      const like = value
        .replace(/[\\%_]/g, (c) => `\\${c}`)
        .replaceAll('*', '%')
        .replaceAll('?', '_')
      parts.push(`"${field}"::text ${operator === '=' ? 'like' : 'not like'} ${place}`)
      values.push(like)
    } else {
      if (!Number.isFinite(Number(value)) || value === '') {
        throw new ApiError('malformed', `selector ${field}${operator}${value}: the value must be a number`)
      }
      parts.push(`"${field}"::numeric ${operator} ${place}::numeric`)
      values.push(value)
    }
  }
  return { where: parts.join(' and '), values }
}

/** The ids of an explicit selector that are not among `found`; nothing for the other kinds. */
export function missingIds(selector: Selector, found: Iterable<number>): number[] {
  if (selector.kind !== 'ids') return []
  const there = new Set(found)
  return selector.ids.filter((id) => !there.has(id))
}
