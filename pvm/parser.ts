import type { Description, EnumEntry, FrameRule, FrameSize, TableEntry, Transport } from './ast.ts'
import { packet_bytes_max } from './limits.ts'
import { fixedKinds, type Kind } from './opcodes.ts'
import { StatementParser } from './parse-statement.ts'
import { place, Reader } from './reader.ts'

/** Words that begin a section of a file. */
export const sectionNames = ['use', 'protocol', 'frame', 'table', 'enum', 'session', 'sub', 'command']

type Include = (path: string, refuse: (message: string) => never) => void
type Constant = number | string | boolean | null

/** Reads one file of a description into `into`; `include` is called for each `use`. */
export function parse(text: string, file: string, into: Description, include: Include): void {
  new Parser(new Reader(text, file), file, into, include).file()
}

/** What stands at the top level of a file. */
class Parser extends StatementParser {
  readonly #file: string
  readonly #into: Description
  readonly #include: Include

  constructor(reader: Reader, file: string, into: Description, include: Include) {
    super(reader)
    this.#file = file
    this.#into = into
    this.#include = include
  }

  file(): void {
    const { reader } = this
    const sections: Record<string, () => void> = {
      use: () => {
        const token = reader.expectType('string', 'a path in quotes')
        this.#include(token.text, (message) => reader.refuse(token, message))
      },
      protocol: () => this.#header(),
      frame: () => this.#frames(),
      table: () => this.#table(),
      enum: () => this.#enum(),
      session: () => this.#session(),
      sub: () => this.#sub(),
      command: () => this.#command(),
    }
    for (;;) {
      reader.skipLines()
      const token = reader.peek()
      if (token.type === 'end') return
      const section = token.type === 'name' && Object.hasOwn(sections, token.text) ? sections[token.text] : undefined
      if (!section) reader.wrong(sectionNames.join(', '))
      reader.take()
      section?.()
    }
  }

  #header(): void {
    const { reader } = this
    const name = reader.expectType('name', "the protocol's name")
    if (this.#into.name !== '') reader.refuse(name, `the protocol is "${this.#into.name}" already`)
    this.#into.name = name.text
    reader.items(() => {
      const field = reader.expectType('name', 'a field of the header')
      const value = reader.take()
      this.#into.header[field.text] = value.type === 'number' ? Number(value.text) : value.text
    })
  }

  #session(): void {
    const { reader } = this
    reader.list(() => {
      const name = reader.expectType('variable', 'a $variable').text
      this.#into.session.set(name, reader.eat('=') ? this.#constant() : null)
    })
  }

  #constant(): Constant {
    const { reader } = this
    const token = reader.peek()
    const value = this.expression()
    return value.kind === 'constant' ? value.value : reader.refuse(token, 'a constant is expected here')
  }

  #sub(): void {
    const { reader } = this
    const name = reader.expectType('name', 'a name')
    if (this.#into.subs.has(name.text)) reader.refuse(name, `there is a sub "${name.text}" already`)
    this.#into.subs.set(name.text, {
      parameters: this.#parameters(),
      body: this.block(),
      place: place(name),
      file: this.#file,
    })
  }

  #parameters(): string[] {
    const { reader } = this
    const parameters: string[] = []
    if (!reader.eat('(')) return parameters
    if (!reader.is(')')) reader.list(() => parameters.push(reader.expectType('variable', 'a $variable').text))
    reader.expect(')')
    return parameters
  }

  /** `command NAME($a) "title" [key EXPRESSION] { … reply … }` */
  #command(): void {
    const { reader } = this
    const name = reader.expectType('name', 'a name')
    if (this.#into.commands.has(name.text)) reader.refuse(name, `there is a command "${name.text}" already`)
    const parameters = this.#parameters()
    const title = reader.peek().type === 'string' ? reader.take().text : name.text
    const key = reader.eat('key') ? this.expression() : undefined
    this.#into.commands.set(name.text, { parameters, title, key, body: this.block(), file: this.#file, ...place(name) })
  }

  #table(): void {
    const { reader } = this
    const name = reader.expectType('name', "the table's name")
    if (this.#into.tables.has(name.text)) reader.refuse(name, `there is a table "${name.text}" already`)
    const entries: TableEntry[] = []
    reader.items(() => {
      const here = place(reader.peek())
      const keys = this.keys()
      reader.expect(':')
      entries.push({ keys, body: reader.is('{') ? this.block() : [this.statement()], ...here })
    })
    this.#into.tables.set(name.text, { entries, file: this.#file })
  }

  /** `enum NAME { 1: "x"; 2, 3: "y"; else "z" }` */
  #enum(): void {
    const { reader } = this
    const name = reader.expectType('name', "the enum's name")
    if (this.#into.enums.has(name.text)) reader.refuse(name, `there is an enum "${name.text}" already`)
    const entries: EnumEntry[] = []
    let otherwise: Constant = null
    reader.items(() => {
      const here = place(reader.peek())
      if (reader.eat('else')) {
        otherwise = this.#constant()
        return
      }
      const keys = this.keys()
      reader.expect(':')
      const value = this.#constant()
      if (value === null) reader.refuse(here, 'an entry that is null', 'leave it out')
      else entries.push({ keys, value, ...here })
    })
    this.#into.enums.set(name.text, { entries, otherwise, file: this.#file })
  }

  /** `frame [tcp|udp] { skip "…" and rules }` */
  #frames(): void {
    const { reader } = this
    let transports: Transport[] = ['tcp', 'udp']
    if (reader.eat('tcp')) transports = ['tcp']
    else if (reader.eat('udp')) transports = ['udp']
    reader.items(() => {
      if (reader.eat('skip')) reader.list(() => void (this.#into.junk += reader.literal()))
      else this.#frameRule(transports)
    })
  }

  #frameRule(transports: Transport[]): void {
    const { reader } = this
    const here = place(reader.peek())
    const prefixes: string[] = []
    const rule: Omit<FrameRule, 'prefix'> = {
      transports,
      size: { kind: 'whole' },
      min: 0,
      max: packet_bytes_max,
      escapes: [],
      entry: '',
      ...here,
    }
    if (reader.eat('any')) prefixes.push('')
    else if (reader.eat('http')) {
      prefixes.push('')
      rule.size = { kind: 'http' }
    } else if (reader.peek().type === 'bytes' || reader.peek().type === 'string')
      reader.list(() => prefixes.push(reader.literal()))
    else reader.wrong('how the packet begins: hex"…", "text", any or http')
    const options: Record<string, () => void> = {
      size: () => void (rule.size = this.#size()),
      line: () => void (rule.size = this.#line()),
      measure: () => void (rule.size = { kind: 'measure', sub: reader.expectType('name', 'the name of a sub').text }),
      whole: () => void (rule.size = { kind: 'whole' }),
      min: () => void (rule.min = reader.number('a number of bytes')),
      max: () => void (rule.max = reader.number('a number of bytes')),
      escape: () => reader.list(() => void rule.escapes.push([reader.literal(), reader.literal()])),
    }
    while (reader.peek().type === 'name' && Object.hasOwn(options, reader.peek().text)) options[reader.take().text]?.()
    if (!reader.is('->')) reader.wrong(`${Object.keys(options).join(', ')} or "->"`)
    reader.take()
    rule.entry = reader.expectType('name', 'the name of a sub').text
    if (rule.size.kind === 'whole' && transports.includes('tcp'))
      reader.refuse(
        here,
        'a stream does not tell where its packet ends',
        'give it a size, line or measure, or write: frame udp { … }',
      )
    for (const prefix of prefixes) this.#into.frames.push({ prefix, ...rule })
  }

  #line(): FrameSize {
    const { reader } = this
    const endings: string[] = []
    reader.list(() => endings.push(reader.literal()))
    if (endings.includes('')) reader.wrong('an ending of one byte or more')
    return { kind: 'line', endings, extra: reader.eat('+') ? reader.number('a number of bytes') : 0 }
  }

  /** `15`, `u16 at 2 + 4`, `u16le at 1 & 0x7fff + 5`, `base16(4) at 10 + 3`, `dec until "," at 3 + 2`. */
  #size(): FrameSize {
    const { reader } = this
    if (reader.peek().type === 'number') return { kind: 'fixed', bytes: Number(reader.take().text) }
    const token = reader.expectType('name', 'a number of bytes or the kind of a length field')
    if (token.text === 'dec' || token.text === 'base16') {
      let digits = 0
      let until = ''
      if (reader.eat('until')) until = reader.literal()
      else {
        reader.expect('(')
        digits = reader.number('a number of digits')
        reader.expect(')')
      }
      const base = token.text === 'dec' ? 10 : 16
      return { kind: 'digits', base, digits, until, at: this.#at(), plus: this.#plus() }
    }
    if (!Object.hasOwn(fixedKinds, token.text) || !token.text.startsWith('u') || token.text.startsWith('u64'))
      reader.refuse(token, `${token.text} cannot be a length field`, 'u8, u16, u24, u32, with le or not, dec or base16')
    const at = this.#at()
    const mask = reader.eat('&') ? reader.number('a mask') : 0xffffffff
    return { kind: 'field', read: token.text as Kind, at, mask, plus: this.#plus() }
  }

  #at(): number {
    if (!this.reader.eat('at')) this.reader.wrong('"at" and the offset of the length field')
    return this.reader.number('an offset')
  }

  #plus(): number {
    if (this.reader.eat('+')) return this.reader.number('a number of bytes')
    return this.reader.eat('-') ? -this.reader.number('a number of bytes') : 0
  }
}
