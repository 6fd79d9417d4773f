import type { Place } from './ast.ts'
import { fail, type Source, type Token, tokenize } from './lexer.ts'

/** The tokens of one file and where the parser stands in them. */
export class Reader {
  readonly source: Source
  readonly #tokens: Token[]
  #at = 0

  constructor(text: string, file: string) {
    this.source = { file, lines: text.split('\n') }
    this.#tokens = tokenize(text, this.source)
  }

  peek(): Token {
    return this.#tokens[this.#at] as Token
  }

  take(): Token {
    const token = this.peek()
    if (token.type !== 'end') this.#at++
    return token
  }

  back(): void {
    this.#at--
  }

  mark(): number {
    return this.#at
  }

  reset(mark: number): void {
    this.#at = mark
  }

  is(sign: string): boolean {
    return this.peek().type === 'sign' && this.peek().text === sign
  }

  word(name: string): boolean {
    return this.peek().type === 'name' && this.peek().text === name
  }

  /** Takes a sign or a word if it comes next. */
  eat(text: string): boolean {
    const found = this.is(text) || this.word(text)
    if (found) this.take()
    return found
  }

  wrong(expected: string, hint?: string): never {
    const token = this.peek()
    let found = `"${token.text}"`
    if (token.type === 'newline') found = 'the end of the line'
    if (token.type === 'end') found = 'the end of the file'
    return fail(this.source, token, `expected ${expected}, found ${found}`, hint)
  }

  refuse(at: Place, message: string, hint?: string): never {
    return fail(this.source, at, message, hint)
  }

  expect(sign: string): Token {
    return this.is(sign) ? this.take() : this.wrong(`"${sign}"`)
  }

  expectType(type: Token['type'], what: string): Token {
    return this.peek().type === type ? this.take() : this.wrong(what)
  }

  number(what: string): number {
    return Number(this.expectType('number', what).text)
  }

  skipLines(): void {
    while (this.peek().type === 'newline' || this.is(';')) this.take()
  }

  /** The items of a block in braces, one a line or with ; between them. */
  items(item: () => void): void {
    this.skipLines()
    this.expect('{')
    for (;;) {
      this.skipLines()
      if (this.is('}')) break
      if (this.peek().type === 'end') this.wrong('"}"', 'a block that was opened is not closed')
      item()
    }
    this.take()
  }

  /** What stands between commas. */
  list(item: () => void): void {
    do item()
    while (this.eat(','))
  }

  /** Bytes to match, as hex. */
  literal(): string {
    if (this.peek().type === 'bytes') return this.take().text
    return Buffer.from(this.expectType('string', 'bytes such as hex"78 78" or "text"').text, 'latin1').toString('hex')
  }
}

export const place = ({ line, column }: Place): Place => ({ line, column })
