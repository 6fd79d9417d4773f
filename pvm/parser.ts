import type { Description, Expression, FrameRule, Place, Statement, TableEntry, Target } from './ast.ts'
import { fail, type Source, type Token, tokenize } from './lexer.ts'
import { packet_bytes_max } from './limits.ts'
import { functions, type Kind, kinds } from './opcodes.ts'

const kindNames = new Set<string>(kinds)
/** Kinds that take a size in parentheses, or what is left of the window without it. */
const sized = new Set(['text', 'hex', 'uint', 'int', 'uintle', 'intle'])
const functionArguments = new Map(functions.map(([name, args]) => [name, args]))

/** How tightly operators bind. */
const binding: Record<string, number> = {
  '||': 1,
  '&&': 2,
  '==': 3,
  '!=': 3,
  '<': 4,
  '<=': 4,
  '>': 4,
  '>=': 4,
  '|': 5,
  '&': 6,
  '<<': 7,
  '>>': 7,
  '+': 8,
  '-': 8,
  '*': 9,
  '/': 9,
  '%': 9,
}

/** Splits `ain.{$index}` into constant and variable parts. */
function nameParts(text: string): (string | { variable: string })[] {
  return text
    .split(/(\{\$[a-z_][a-z0-9_]*\})/)
    .filter((part) => part !== '')
    .map((part) => (part.startsWith('{$') ? { variable: part.slice(2, -1) } : part))
}

/** Reads one file of a description into `into`; `include` is called for each `use`. */
export function parse(
  text: string,
  file: string,
  into: Description,
  include: (path: string, refuse: (message: string) => never) => void,
): void {
  const source: Source = { file, lines: text.split('\n') }
  const tokens = tokenize(text, source)
  let at = 0

  const peek = (): Token => tokens[at] as Token
  const take = (): Token => tokens[at++] as Token
  const is = (sign: string) => peek().type === 'sign' && peek().text === sign
  const word = (name: string) => peek().type === 'name' && peek().text === name
  const wrong = (expected: string, hint?: string): never => {
    const token = peek()
    const found =
      token.type === 'newline'
        ? 'the end of the line'
        : token.type === 'end'
          ? 'the end of the file'
          : `"${token.text}"`
    return fail(source, token, `expected ${expected}, found ${found}`, hint)
  }
  const expect = (sign: string): Token => (is(sign) ? take() : wrong(`"${sign}"`))
  const expectType = (type: Token['type'], what: string): Token => (peek().type === type ? take() : wrong(what))
  const skipLines = () => {
    while (peek().type === 'newline' || is(';')) take()
  }
  const place = ({ line, column }: Place): Place => ({ line, column })

  function expression(minimum = 0): Expression {
    let left = unary()
    for (;;) {
      const operator = peek()
      const power = operator.type === 'sign' ? (binding[operator.text] ?? 0) : 0
      if (power === 0 || power <= minimum) return left
      take()
      left = { kind: 'binary', operator: operator.text, left, right: expression(power), ...place(operator) }
    }
  }

  function unary(): Expression {
    const token = peek()
    if (is('-') || is('!')) {
      take()
      return { kind: 'unary', operator: token.text as '-' | '!', operand: unary(), ...place(token) }
    }
    if (is('(')) {
      take()
      const inner = expression()
      expect(')')
      return inner
    }
    take()
    const here = place(token)
    if (token.type === 'number') return { kind: 'constant', value: Number(token.text), ...here }
    if (token.type === 'string') return { kind: 'constant', value: token.text, ...here }
    if (token.type === 'variable') return { kind: 'variable', name: token.text, ...here }
    if (token.type === 'name') return named(token)
    at--
    return wrong(
      'a value',
      'a value is a number, "text", $variable, a read such as u16, or a function such as number(…)',
    )
  }

  function named(token: Token): Expression {
    const here = place(token)
    const { text } = token
    if (text === 'true' || text === 'false') return { kind: 'constant', value: text === 'true', ...here }
    if (text === 'null') return { kind: 'constant', value: null, ...here }
    if (text === 'text' && word('until')) {
      take()
      return { kind: 'until', separator: expectType('string', 'a separator in quotes').text, ...here }
    }
    if (kindNames.has(text)) {
      if (!is('(')) return { kind: 'read', read: text as Kind, ...here }
      if (!sized.has(text))
        return fail(source, token, `${text} has its own size`, 'only text, hex, uint and int take one')
      take()
      const size = expression()
      expect(')')
      return { kind: 'read', read: text as Kind, size, ...here }
    }
    const count = functionArguments.get(text)
    if (count === undefined) {
      return fail(
        source,
        token,
        `there is no read or function "${text}"`,
        `functions are ${[...functionArguments.keys()].join(', ')}`,
      )
    }
    const args: Expression[] = []
    if (count > 0) {
      expect('(')
      while (!is(')')) {
        args.push(expression())
        if (!is(')')) expect(',')
      }
      take()
    }
    if (args.length !== count) return fail(source, token, `${text} takes ${count} arguments, not ${args.length}`)
    return { kind: 'call', name: text, args, ...here }
  }

  function target(): Target {
    const token = take()
    if (token.type === 'variable') return { variable: token.text, ...place(token) }
    if (token.type === 'name') return { parts: nameParts(token.text), ...place(token) }
    at--
    return wrong('a parameter or a $variable after ->')
  }

  function block(): Statement[] {
    skipLines()
    expect('{')
    const body: Statement[] = []
    for (;;) {
      skipLines()
      if (is('}')) break
      if (peek().type === 'end') wrong('"}"', 'a block that was opened is not closed')
      body.push(statement())
    }
    take()
    return body
  }

  function otherwise(): Statement[] {
    const mark = at
    skipLines()
    if (!word('else')) {
      at = mark
      return []
    }
    take()
    return word('if') ? [statement()] : block()
  }

  const statements: Record<string, (here: Place) => Statement> = {
    skip: (here) => ({ kind: 'skip', value: expression(), ...here }),
    seek: (here) => ({ kind: 'seek', value: expression(), ...here }),
    match: (here) => ({ kind: 'match', bytes: literal(), ...here }),
    within: (here) => ({
      kind: 'within',
      separator: expectType('string', 'a separator in quotes').text,
      body: block(),
      ...here,
    }),
    each: (here) => ({
      kind: 'each',
      separator: expectType('string', 'a separator in quotes').text,
      body: block(),
      ...here,
    }),
    window: (here) => ({ kind: 'window', size: expression(), body: block(), ...here }),
    repeat: (here) => ({ kind: 'repeat', count: expression(), body: block(), ...here }),
    while: (here) => ({ kind: 'while', condition: expression(), body: block(), ...here }),
    if: (here) => ({ kind: 'if', condition: expression(), body: block(), otherwise: otherwise(), ...here }),
    switch: (here) => switchStatement(here),
    message: (here) => ({ kind: 'message', body: block(), ...here }),
    call: (here) => ({ kind: 'call', name: expectType('name', 'the name of a sub').text, ...here }),
    lookup: (here) => ({
      kind: 'lookup',
      table: expectType('name', 'the name of a table').text,
      key: expression(),
      otherwise: otherwise(),
      ...here,
    }),
    reply: (here) => ({ kind: 'reply', parts: replyParts(), ...here }),
    login: (here) => ({ kind: 'login', value: expression(), ...here }),
    fail: (here) => ({ kind: 'fail', code: expectType('name', 'an error code').text, reason: expression(), ...here }),
    close: (here) => ({ kind: 'close', ...here }),
    return: (here) => ({ kind: 'return', ...here }),
  }

  function statement(): Statement {
    const token = peek()
    const known = token.type === 'name' ? statements[token.text] : undefined
    let parsed: Statement
    if (known) {
      take()
      parsed = known(place(token))
    } else {
      const value = expression()
      const targets: Target[] = []
      while (is('->')) {
        take()
        targets.push(target())
      }
      if (targets.length === 0) wrong('"->" and where the value goes', 'a value that nobody needs is passed with skip')
      parsed = { kind: 'store', value, targets, ...place(token) }
    }
    if (peek().type !== 'newline' && !is(';') && !is('}') && peek().type !== 'end') wrong('the end of the statement')
    return parsed
  }

  /** Bytes to match, as hex. */
  function literal(): string {
    if (peek().type === 'bytes') return take().text
    return Buffer.from(expectType('string', 'bytes such as hex"78 78" or "text"').text).toString('hex')
  }

  function switchStatement(here: Place): Statement {
    const value = expression()
    skipLines()
    expect('{')
    const cases: { values: (number | string)[]; body: Statement[] }[] = []
    let fallback: Statement[] = []
    for (;;) {
      skipLines()
      if (is('}')) break
      if (word('else')) {
        take()
        fallback = block()
      } else cases.push({ values: keys(), body: block() })
    }
    take()
    return { kind: 'switch', value, cases, otherwise: fallback, ...here }
  }

  /** `1, 2, 5` or `"a"`; of a case or of a table's entry. */
  function keys(): (number | string)[] {
    const values: (number | string)[] = []
    do {
      if (is(',')) take()
      const token = take()
      if (token.type !== 'number' && token.type !== 'string') {
        at--
        wrong('a number or a "text" to compare with')
      }
      values.push(token.type === 'number' ? Number(token.text) : token.text)
    } while (is(','))
    return values
  }

  function replyParts(): { write: string; value: Expression }[] {
    const parts: { write: string; value: Expression }[] = []
    do {
      if (is(',')) take()
      const token = peek()
      if (token.type === 'bytes') {
        take()
        parts.push({ write: 'hex', value: { kind: 'constant', value: token.text, ...place(token) } })
      } else if (token.type === 'name' && /^(u(8|16|24|32)(le)?|hex)$/.test(token.text)) {
        take()
        parts.push({ write: token.text, value: expression() })
      } else parts.push({ write: 'text', value: expression() })
    } while (is(','))
    return parts
  }

  function frameRules(): void {
    expect('{')
    for (;;) {
      skipLines()
      if (is('}')) break
      const token = peek()
      const rule: FrameRule = {
        prefix: '',
        size: { fixed: 0 },
        min: 0,
        max: packet_bytes_max,
        entry: '',
        ...place(token),
      }
      if (peek().type === 'bytes' || peek().type === 'string') rule.prefix = literal()
      else if (word('any')) take()
      else wrong('how the packet begins: hex"…", "text" or any')
      for (;;) {
        if (word('size')) {
          take()
          if (peek().type === 'number') rule.size = { fixed: Number(take().text) }
          else
            rule.size = {
              field: expectType('name', 'a size or the kind of a length field').text as Kind,
              ...fieldPlace(),
            }
        } else if (word('line')) {
          take()
          rule.size = { ending: literal() }
        } else if (word('min')) {
          take()
          rule.min = Number(expectType('number', 'a number of bytes').text)
        } else if (word('max')) {
          take()
          rule.max = Number(expectType('number', 'a number of bytes').text)
        } else break
      }
      expect('->')
      rule.entry = expectType('name', 'the name of a sub').text
      into.frames.push(rule)
    }
    take()
  }

  /** `at 4 + 12`: where the length field stands and what the packet has besides. */
  function fieldPlace(): { at: number; plus: number } {
    if (!word('at')) wrong('"at" and the offset of the length field')
    take()
    const offset = Number(expectType('number', 'an offset').text)
    if (!is('+')) return { at: offset, plus: 0 }
    take()
    return { at: offset, plus: Number(expectType('number', 'a number of bytes').text) }
  }

  function header(): void {
    const name = expectType('name', "the protocol's name")
    into.name = name.text
    expect('{')
    for (;;) {
      skipLines()
      if (is('}')) break
      const field = expectType('name', 'a field of the header')
      const value = take()
      into.header[field.text] = value.type === 'number' ? Number(value.text) : value.text
    }
    take()
  }

  function table(): void {
    const name = expectType('name', "the table's name")
    if (into.tables.has(name.text)) fail(source, name, `there is a table "${name.text}" already`)
    const entries: TableEntry[] = []
    expect('{')
    for (;;) {
      skipLines()
      if (is('}')) break
      const here = place(peek())
      const values = keys()
      expect(':')
      const body: Statement[] = is('{') ? block() : [statement()]
      entries.push({ keys: values, body, ...here })
    }
    take()
    into.tables.set(name.text, { entries, file })
  }

  for (;;) {
    skipLines()
    const token = take()
    if (token.type === 'end') return
    if (token.text === 'use')
      include(expectType('string', 'a path in quotes').text, (message) => fail(source, token, message))
    else if (token.text === 'protocol') header()
    else if (token.text === 'frame') frameRules()
    else if (token.text === 'table') table()
    else if (token.text === 'session') {
      do {
        if (is(',')) take()
        into.session.add(expectType('variable', 'a $variable').text)
      } while (is(','))
    } else if (token.text === 'sub') {
      const name = expectType('name', 'a name')
      if (into.subs.has(name.text)) fail(source, name, `there is a sub "${name.text}" already`)
      into.subs.set(name.text, { body: block(), place: place(name), file })
    } else {
      at--
      wrong('protocol, use, session, frame, table or sub')
    }
  }
}
