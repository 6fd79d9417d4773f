import type { Expression, FlagItem, Key, Place, Statement } from './ast.ts'
import { ExpressionParser } from './parse-expression.ts'
import { place } from './reader.ts'

/** Words that begin a statement. */
export const statementNames = [
  'skip',
  'seek',
  'pass',
  'match',
  'within',
  'each',
  'fields',
  'field',
  'window',
  'inside',
  'repeat',
  'while',
  'if',
  'try',
  'switch',
  'flags',
  'message',
  'call',
  'lookup',
  'reply',
  'login',
  'packet',
  'answer',
  'fail',
  'close',
  'return',
  'break',
  'discard',
]

/** Statements and blocks. */
export class StatementParser extends ExpressionParser {
  readonly #statements: Record<string, (here: Place) => Statement> = {
    skip: (here) => ({ kind: 'skip', value: this.expression(), ...here }),
    seek: (here) => ({ kind: 'seek', value: this.expression(), ...here }),
    pass: (here) => ({
      kind: 'pass',
      count: this.reader.peek().type === 'number' ? this.reader.number('a number of fields') : 1,
      ...here,
    }),
    match: (here) => ({ kind: 'match', bytes: this.reader.literal(), ...here }),
    within: (here) => ({ kind: 'within', separator: this.#separator(), body: this.block(), ...here }),
    each: (here) => ({ kind: 'each', separator: this.#separator(), body: this.block(), ...here }),
    fields: (here) => ({ kind: 'fields', separator: this.#separator(), body: this.block(), ...here }),
    field: (here) => ({ kind: 'field', body: this.block(), ...here }),
    window: (here) => ({ kind: 'window', size: this.expression(), body: this.block(), ...here }),
    inside: (here) => ({ kind: 'inside', value: this.expression(), body: this.block(), ...here }),
    repeat: (here) => ({ kind: 'repeat', count: this.expression(), body: this.block(), ...here }),
    while: (here) => ({ kind: 'while', condition: this.expression(), body: this.block(), ...here }),
    if: (here) => ({
      kind: 'if',
      condition: this.expression(),
      body: this.block(),
      otherwise: this.#otherwise(),
      ...here,
    }),
    try: (here) => ({ kind: 'try', body: this.block(), otherwise: this.#otherwise(), ...here }),
    switch: (here) => this.#switch(here),
    flags: (here) => this.#flags(here),
    message: (here) => ({ kind: 'message', body: this.block(), ...here }),
    call: (here) => this.#callSub(here),
    lookup: (here) => ({
      kind: 'lookup',
      table: this.reader.expectType('name', 'the name of a table').text,
      key: this.expression(),
      otherwise: this.#otherwise(),
      ...here,
    }),
    reply: (here) => ({ kind: 'reply', parts: this.writeParts(), ...here }),
    login: (here) => ({ kind: 'login', value: this.expression(), ...here }),
    packet: (here) => ({ kind: 'packet', value: this.expression(), ...here }),
    answer: (here) => this.#answer(here),
    fail: (here) => ({
      kind: 'fail',
      code: this.reader.expectType('name', 'an error code').text,
      reason: this.expression(),
      ...here,
    }),
    close: (here) => ({ kind: 'close', ...here }),
    return: (here) => ({ kind: 'return', ...here }),
    break: (here) => ({ kind: 'break', ...here }),
    discard: (here) => ({ kind: 'discard', ...here }),
  }

  block(): Statement[] {
    const body: Statement[] = []
    this.reader.items(() => body.push(this.statement()))
    return body
  }

  statement(): Statement {
    const { reader } = this
    const token = reader.peek()
    const known =
      token.type === 'name' && Object.hasOwn(this.#statements, token.text) ? this.#statements[token.text] : undefined
    let parsed: Statement
    if (known) {
      reader.take()
      parsed = known(place(token))
    } else parsed = this.#store(place(token))
    const { type } = reader.peek()
    if (type !== 'newline' && type !== 'end' && !reader.is(';') && !reader.is('}'))
      reader.wrong('the end of the statement')
    return parsed
  }

  #store(here: Place): Statement {
    const { reader } = this
    const value = this.expression()
    const token = reader.peek()
    const unit = token.type === 'unit' ? { name: reader.take().text, place: place(token) } : undefined
    const targets = this.targets()
    if (targets.length === 0)
      reader.wrong(
        '"->" and where the value goes',
        'a value that nobody needs is passed with skip, or with pass inside of fields',
      )
    return { kind: 'store', value, targets, ...(unit ? { unit } : {}), ...here }
  }

  #separator(): string {
    const token = this.reader.expectType('string', 'a separator in quotes')
    if (token.text === '') this.reader.refuse(token, 'an empty separator')
    return token.text
  }

  #otherwise(): Statement[] {
    const { reader } = this
    const mark = reader.mark()
    reader.skipLines()
    if (!reader.eat('else')) {
      reader.reset(mark)
      return []
    }
    return reader.word('if') || reader.word('try') ? [this.statement()] : this.block()
  }

  #callSub(here: Place): Statement {
    const { reader } = this
    const name = reader.expectType('name', 'the name of a sub').text
    const args: Expression[] = []
    if (reader.eat('(')) {
      if (!reader.is(')')) reader.list(() => args.push(this.expression()))
      reader.expect(')')
    }
    return { kind: 'call', name, args, ...here }
  }

  /** `answer $text` or `answer $key, $text`. */
  #answer(here: Place): Statement {
    const first = this.expression()
    if (this.reader.eat(',')) return { kind: 'answer', key: first, text: this.expression(), ...here }
    return { kind: 'answer', key: { kind: 'constant', value: null, ...here }, text: first, ...here }
  }

  #switch(here: Place): Statement {
    const { reader } = this
    const value = this.expression()
    const cases: (Place & { values: Key[]; body: Statement[] })[] = []
    let otherwise: Statement[] = []
    reader.items(() => {
      const at = place(reader.peek())
      if (reader.eat('else')) otherwise = this.block()
      else cases.push({ values: this.keys(), body: this.block(), ...at })
    })
    return { kind: 'switch', value, cases, otherwise, ...here }
  }

  #flags(here: Place): Statement {
    const { reader } = this
    const value = this.expression()
    const items: FlagItem[] = []
    reader.items(() => {
      const at = place(reader.peek())
      const inverted = reader.eat('!')
      const from = reader.number('the number of a bit, the lowest is 0')
      const to = reader.eat('..') ? reader.number('the last bit of a range') : from
      if (to < from || to > 63) reader.refuse(at, `bits ${from}..${to}`, 'from the lower to the higher, at most 63')
      if (inverted && to > from) reader.refuse(at, 'only a single bit can be inverted')
      const targets = this.targets()
      if (targets.length === 0) reader.wrong('"->" and where the bit goes')
      items.push({ from, to, inverted, targets, ...at })
    })
    return { kind: 'flags', value, items, ...here }
  }

  /** `1, 2, "a", -5`: of a case, of a table's or an enum's entry. */
  keys(): Key[] {
    const { reader } = this
    const values: Key[] = []
    reader.list(() => {
      const negative = reader.eat('-')
      const token = reader.take()
      if (token.type === 'number') values.push(negative ? -Number(token.text) : Number(token.text))
      else if (!negative && token.type === 'string') values.push(token.text)
      else if (!negative && (token.text === 'true' || token.text === 'false')) values.push(token.text === 'true')
      else {
        reader.back()
        reader.wrong('a number or a "text" to compare with')
      }
    })
    return values
  }
}
