import type { Expression, NameParts, Place, Target, WritePart } from './ast.ts'
import { functions } from './functions.ts'
import type { Token } from './lexer.ts'
import { fixedKinds, type Kind, kinds, sizedKinds, writes } from './opcodes.ts'
import { place, type Reader } from './reader.ts'

const kindNames = new Set<string>(kinds)
/** Kinds that take a size in parentheses, or what is left of the window without it. */
const sized = new Set<string>(Object.keys(sizedKinds))

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
  '^': 6,
  '&': 7,
  '<<': 8,
  '>>': 8,
  '+': 9,
  '-': 9,
  '*': 10,
  '/': 10,
  '%': 10,
}

/** Splits `ain.{$index}` into constant and variable parts. */
function nameParts(text: string): NameParts {
  return text
    .split(/(\{\$[a-z_][a-z0-9_]*\})/)
    .filter((part) => part !== '')
    .map((part) => (part.startsWith('{$') ? { variable: part.slice(2, -1) } : part))
}

/** A class such as "0-9A-F" as a mask of 256 bits in hex, the lowest characters first. */
export function classMask(text: string): string {
  const bits = new Uint8Array(256)
  for (let i = 0; i < text.length; i++) {
    const from = text.charCodeAt(i)
    const range = text[i + 1] === '-' && i + 2 < text.length
    const to = range ? text.charCodeAt(i + 2) : from
    for (let code = from; code <= Math.min(to, 255); code++) bits[code] = 1
    if (range) i += 2
  }
  let mask = ''
  for (let i = 0; i < 256; i += 4)
    mask += (
      (bits[i] as number) |
      ((bits[i + 1] as number) << 1) |
      ((bits[i + 2] as number) << 2) |
      ((bits[i + 3] as number) << 3)
    ).toString(16)
  return mask
}

/** Expressions, targets and the parts of an answer. */
export class ExpressionParser {
  readonly reader: Reader
  /** Enums are known by name when a call is read, whichever file they stand in: the compiler tells them from functions. */
  constructor(reader: Reader) {
    this.reader = reader
  }

  expression(minimum = 0): Expression {
    const { reader } = this
    let left = this.#unary()
    for (;;) {
      const operator = reader.peek()
      const power = operator.type === 'sign' ? (binding[operator.text] ?? 0) : 0
      if (power === 0 || power <= minimum) return left
      reader.take()
      left = { kind: 'binary', operator: operator.text, left, right: this.expression(power), ...place(operator) }
    }
  }

  #unary(): Expression {
    const { reader } = this
    const token = reader.peek()
    if (reader.is('-') || reader.is('!')) {
      reader.take()
      const operand = this.#unary()
      if (token.text === '-' && operand.kind === 'constant' && typeof operand.value === 'number')
        return { kind: 'constant', value: -operand.value, ...place(token) }
      return { kind: 'unary', operator: token.text as '-' | '!', operand, ...place(token) }
    }
    if (reader.is('(')) {
      reader.take()
      const inner = this.expression()
      reader.expect(')')
      return inner
    }
    const here = place(token)
    if (token.type === 'name') return this.#named(reader.take())
    if (token.type !== 'number' && token.type !== 'string' && token.type !== 'variable' && token.type !== 'bytes')
      return reader.wrong(
        'a value',
        'a value is a number, "text", hex"…", $variable, a read such as u16, or a function such as number(…)',
      )
    reader.take()
    if (token.type === 'variable') return { kind: 'variable', name: token.text, ...here }
    return { kind: 'constant', value: token.type === 'number' ? Number(token.text) : token.text, ...here }
  }

  #named(token: Token): Expression {
    const { reader } = this
    const here = place(token)
    const { text } = token
    if (text === 'true' || text === 'false') return { kind: 'constant', value: text === 'true', ...here }
    if (text === 'null') return { kind: 'constant', value: null, ...here }
    if (text === 'eat' || text === 'next')
      return { kind: 'peek', consume: text === 'eat', bytes: reader.literal(), ...here }
    if (text === 'bytes') {
      reader.expect('(')
      const parts = this.writeParts()
      reader.expect(')')
      return { kind: 'bytes', parts, ...here }
    }
    if (kindNames.has(text)) return this.#read(text as Kind, token, here)
    return this.#call(text, here)
  }

  #read(read: Kind, token: Token, here: Place): Expression {
    const { reader } = this
    if (sized.has(read) && reader.eat('until')) {
      const any = reader.eat('any')
      return { kind: 'until', read, separator: reader.expectType('string', 'a separator in quotes').text, any, ...here }
    }
    if (sized.has(read) && reader.word('while')) {
      reader.take()
      return {
        kind: 'run',
        read,
        mask: classMask(reader.expectType('string', 'characters in quotes, as "0-9A-F"').text),
        ...here,
      }
    }
    if (!reader.is('(')) return { kind: 'read', read, ...here }
    if (!sized.has(read)) reader.refuse(token, `${read} has its own size`, `only ${[...sized].join(', ')} take one`)
    reader.take()
    const size = this.expression()
    reader.expect(')')
    return { kind: 'read', read, size, ...here }
  }

  #call(name: string, here: Place): Expression {
    const { reader } = this
    const args: Expression[] = []
    const builtIn = functions[name]
    if (reader.is('(')) {
      reader.take()
      if (!reader.is(')')) reader.list(() => args.push(this.expression()))
      reader.expect(')')
    } else if (builtIn?.args[0] !== 0) {
      reader.refuse(
        here,
        `there is no read "${name}"`,
        builtIn
          ? `${name} is a function: ${name}(…)`
          : `reads are ${[...Object.keys(fixedKinds), ...sized].join(', ')}; see also: pvm functions`,
      )
    }
    if (!builtIn) {
      if (args.length !== 1) reader.refuse(here, `there is no function "${name}"`, 'pvm functions lists them')
      return { kind: 'enum', name, value: args[0] as Expression, ...here }
    }
    const [fewest, most] = builtIn.args
    if (args.length < fewest || args.length > most)
      reader.refuse(
        here,
        `${name} takes ${fewest === most ? fewest : `${fewest} to ${most}`} arguments, not ${args.length}`,
        builtIn.meaning,
      )
    return { kind: 'call', name, args, ...here }
  }

  targets(): Target[] {
    const { reader } = this
    const targets: Target[] = []
    while (reader.eat('->')) {
      const token = reader.peek()
      if (token.type === 'variable') targets.push({ variable: token.text, ...place(token) })
      else if (token.type === 'name') targets.push({ parts: nameParts(token.text), ...place(token) })
      else reader.wrong('a parameter or a $variable after ->')
      reader.take()
    }
    return targets
  }

  /** `hex"78 78", u16 $n, "text"`: what an answer or `bytes(…)` is made of. */
  writeParts(): WritePart[] {
    const { reader } = this
    const parts: WritePart[] = []
    reader.list(() => {
      const token = reader.peek()
      const isKind = token.type === 'name' && (writes as readonly string[]).includes(token.text)
      if (token.type === 'bytes') {
        reader.take()
        parts.push({ write: 'hex', value: { kind: 'constant', value: token.text, ...place(token) } })
      } else if (isKind) {
        reader.take()
        parts.push({ write: token.text, value: this.expression() })
      } else parts.push({ write: 'text', value: this.expression() })
    })
    return parts
  }
}
