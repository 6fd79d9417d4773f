import { dirname, relative } from 'node:path'
import type { Description, Expression, NameParts, Place, Statement, Target } from './ast.ts'
import { functionNames } from './functions.ts'
import { fail, type Source } from './lexer.ts'
import { depth_max } from './limits.ts'
import { fixedKinds, kinds, opcode, writes } from './opcodes.ts'
import { type Constant, emptyProgram, type Program } from './program.ts'
import { isRegistered, registered } from './registry.ts'
import { conversion, typeOf } from './types.ts'

const binaryOpcodes: Record<string, string> = {
  '+': 'add',
  '-': 'sub',
  '*': 'mul',
  '/': 'div',
  '%': 'mod',
  '&': 'and',
  '|': 'or',
  '^': 'xor',
  '<<': 'shl',
  '>>': 'shr',
  '==': 'eq',
  '!=': 'ne',
  '<': 'lt',
  '<=': 'le',
  '>': 'gt',
  '>=': 'ge',
}

/** Names of the variables that statements give values to, also inside of others. */
function storedVariables(node: unknown): string[] {
  if (Array.isArray(node)) return node.flatMap(storedVariables)
  if (typeof node !== 'object' || node === null) return []
  const { targets } = node as { targets?: Target[] }
  const here = (targets ?? []).flatMap((target) => ('variable' in target ? [target.variable] : []))
  return [...here, ...Object.values(node).flatMap(storedVariables)]
}

/** Writes the code of a description. */
export class CodeWriter {
  readonly program: Program = emptyProgram()
  readonly #description: Description
  readonly #sources: Map<string, Source>
  #source: Source
  /** Files are named from where the description is. */
  readonly #folder: string
  readonly #constants = new Map<string, number>()
  readonly #slots = new Map<string, number>()
  readonly #tables = new Map<string, number>()
  readonly #enums = new Map<string, number>()
  readonly #subs = new Map<string, number>()
  readonly #calls: { at: number; name: string; place: Place; source: Source }[] = []
  #hidden = 0
  /** Windows and tries open around the statement, innermost last: a return or a break closes them. */
  #open: ('leave' | 'done')[] = []
  /** Of the loops around the statement: what was open at its start, and jumps to its end. */
  readonly #loops: { open: number; ends: number[] }[] = []
  /** The separator of `fields` around the statement. */
  #separator: string | undefined

  constructor(description: Description, sources: Map<string, Source>, main: Source) {
    this.#description = description
    this.#sources = sources
    this.#source = main
    this.#folder = dirname(main.file)
  }

  /** All sub-routines, tables, enums and commands. */
  all(): void {
    const { program } = this
    const { description, sources } = { description: this.#description, sources: this.#sources }
    program.name = description.name
    program.header = description.header
    for (const [name, first] of description.session) {
      this.#slot(name)
      program.initial[this.#slot(name)] = first
    }
    program.sessionSlots = program.slots.length
    // A sub may use what another one stored, in whatever order they stand.
    for (const { parameters, body } of [...description.subs.values(), ...description.commands.values()]) {
      for (const name of [...parameters, ...storedVariables(body)]) this.#slot(name)
    }
    for (const { entries } of description.tables.values()) for (const name of storedVariables(entries)) this.#slot(name)
    for (const name of description.tables.keys())
      this.#tables.set(name, program.tables.push({ name, entries: new Map() }) - 1)
    this.#writeEnums()
    this.#emit('halt')
    for (const [name, sub] of description.subs) {
      this.#source = sources.get(sub.file) as Source
      if (description.tables.has(name)) fail(this.#source, sub.place, `"${name}" is a table already`)
      this.#subs.set(name, program.code.length)
      program.labels.set(program.code.length, name)
      this.#block(sub.body, 0)
      this.#emit('return')
    }
    for (const [name, table] of description.tables) {
      this.#source = sources.get(table.file) as Source
      const { entries } = program.tables[this.#tables.get(name) as number] as Program['tables'][number]
      for (const entry of table.entries) {
        program.labels.set(program.code.length, `${name}_${String(entry.keys[0]).replace(/\W/g, '_')}_${entries.size}`)
        for (const key of entry.keys) {
          if (entries.has(key))
            fail(this.#source, entry, `the table "${name}" has an entry ${JSON.stringify(key)} already`)
          entries.set(key, program.code.length)
        }
        this.#block(entry.body, 0)
        this.#emit('return')
      }
    }
    this.#writeCommands()
    for (const { at, name, place, source } of this.#calls) program.code[at] = this.address(name, place, source)
  }

  #writeEnums(): void {
    for (const [name, given] of this.#description.enums) {
      const entries = new Map<Constant, Constant>()
      const source = this.#sources.get(given.file) as Source
      if (functionNames.includes(name))
        fail(source, given.entries[0] ?? { line: 1, column: 1 }, `"${name}" is a function`)
      for (const entry of given.entries) {
        for (const key of entry.keys) {
          if (entries.has(key)) fail(source, entry, `the enum "${name}" has an entry ${JSON.stringify(key)} already`)
          entries.set(key, entry.value)
        }
      }
      this.#enums.set(name, this.program.enums.push({ name, entries, otherwise: given.otherwise }) - 1)
    }
  }

  #writeCommands(): void {
    const { program } = this
    for (const [name, command] of this.#description.commands) {
      this.#source = this.#sources.get(command.file) as Source
      const entry = program.code.length
      program.labels.set(entry, `command_${name}`)
      this.#block(command.body, 0)
      let key = -1
      if (command.key) {
        key = this.#newSlot()
        this.#expression(command.key)
        this.#emit('store', key)
      }
      this.#emit('return')
      const parameters = command.parameters.map((parameter) => ({ name: parameter, slot: this.#slot(parameter) }))
      program.commands.push({ name, title: command.title, parameters, key, entry })
    }
  }

  /** Address of a sub-routine. */
  address(name: string, place: Place, source: Source): number {
    const found = this.#subs.get(name)
    return found ?? fail(source, place, `there is no sub "${name}"`, `subs are ${[...this.#subs.keys()].join(', ')}`)
  }

  #constant(value: Constant): number {
    const key = `${typeof value}:${value}`
    const known = this.#constants.get(key)
    if (known !== undefined) return known
    const index = this.program.constants.push(value) - 1
    this.#constants.set(key, index)
    return index
  }

  /** Appends an instruction; gives where its first operand stands. */
  #emit(name: string, ...operands: number[]): number {
    return this.program.code.push(opcode(name).code, ...operands) - operands.length
  }

  /** The operand at an address becomes the address that follows. */
  #patch(at: number): void {
    this.program.code[at] = this.program.code.length
  }

  #slot(name: string): number {
    const known = this.#slots.get(name)
    if (known !== undefined) return known
    const index = this.program.slots.push(name) - 1
    this.program.initial.push(null)
    this.#slots.set(name, index)
    return index
  }

  #newSlot(): number {
    return this.#slot(`:${this.#hidden++}`)
  }

  #known(name: string, place: Place): number {
    const known = this.#slots.get(name)
    return known ?? fail(this.#source, place, `$${name} is never given a value`, `give it one: … -> $${name}`)
  }

  // ---- expressions

  #expression(e: Expression): void {
    switch (e.kind) {
      case 'constant':
        this.#emit('push', this.#constant(e.value))
        break
      case 'variable':
        this.#emit('load', this.#known(e.name, e))
        break
      case 'read':
        this.#read(e)
        break
      case 'until':
        this.#emit(e.any ? 'untilany' : 'until', this.#constant(e.separator), kinds.indexOf(e.read))
        break
      case 'run':
        this.#emit('run', this.#constant(e.mask), kinds.indexOf(e.read))
        break
      case 'peek':
        this.#emit(e.consume ? 'eat' : 'next', this.#constant(e.bytes))
        break
      case 'bytes':
        this.#emit('build')
        this.#writeParts(e.parts)
        this.#emit('built')
        break
      case 'call':
        for (const argument of e.args) this.#expression(argument)
        this.#emit('func', functionNames.indexOf(e.name), e.args.length)
        break
      case 'enum': {
        const number = this.#enums.get(e.name)
        if (number === undefined)
          return fail(
            this.#source,
            e,
            `there is no function or enum "${e.name}"`,
            `enums are ${[...this.#enums.keys()].join(', ') || 'not declared here'}; functions: pvm functions`,
          )
        this.#expression(e.value)
        this.#emit('map', number)
        break
      }
      case 'unary':
        this.#expression(e.operand)
        this.#emit(e.operator === '-' ? 'neg' : 'not')
        break
      case 'binary':
        this.#binary(e)
        break
      case 'name':
        this.#name(e.parts, e)
    }
  }

  #read(e: Expression & { kind: 'read' }): void {
    const kind = kinds.indexOf(e.read)
    if (e.size) {
      this.#expression(e.size)
      this.#emit('take', kind)
    } else if (e.read in fixedKinds) this.#emit('read', kind)
    else if (this.#separator !== undefined) this.#emit('until', this.#constant(this.#separator), kind)
    else this.#emit('rest', kind)
  }

  #binary(e: Expression & { kind: 'binary' }): void {
    this.#expression(e.left)
    if (e.operator === '&&' || e.operator === '||') {
      this.#emit('dup')
      if (e.operator === '||') this.#emit('not')
      const end = this.#emit('unless', 0)
      this.#emit('pop')
      this.#expression(e.right)
      this.#patch(end)
      return
    }
    if (e.operator === '*' && e.right.kind === 'constant' && typeof e.right.value === 'number')
      return this.#scale(e.right.value, 1)
    this.#expression(e.right)
    this.#emit(binaryOpcodes[e.operator] as string)
  }

  /** × factor ÷ divisor. × 0.001 is ÷ 1000: 12352 × 0.001 is 12.352000000000002, 12352 ÷ 1000 is 12.352. */
  #scale(factor: number, divisor: number): void {
    const inverse = Math.round(1 / factor)
    if (factor > 0 && factor < 1 && Math.abs(1 / inverse - factor) < 1e-15) {
      this.#emit('push', this.#constant(inverse * divisor))
      this.#emit('div')
      return
    }
    if (factor !== 1 || divisor === 1) {
      this.#emit('push', this.#constant(factor))
      this.#emit('mul')
    }
    if (divisor === 1) return
    this.#emit('push', this.#constant(divisor))
    this.#emit('div')
  }

  /** A name with variables in it, as a text on the stack. */
  #name(parts: NameParts, place: Place): void {
    for (const [index, part] of parts.entries()) {
      if (typeof part === 'string') this.#emit('push', this.#constant(part))
      else this.#emit('load', this.#known(part.variable, place))
      if (index > 0) this.#emit('add')
    }
  }

  #writeParts(parts: { write: string; value: Expression }[]): void {
    for (const part of parts) {
      this.#expression(part.value)
      this.#emit('write', writes.indexOf(part.write as 'text'))
    }
  }

  // ---- targets

  /** Stores the value on the stack; `value` is where it came from, for the check of its type. */
  #store(target: Target, value: Expression | 'boolean' | 'number', unit?: { name: string; place: Place }): void {
    if ('variable' in target) {
      this.#emit('store', this.#slot(target.variable))
      return
    }
    const [first, ...others] = target.parts
    const pattern = target.parts.map((part) => (typeof part === 'string' ? part : '0')).join('')
    if (typeof first !== 'string' || (others.length > 0 && !first.includes('.')))
      return fail(this.#source, target, 'a name made of variables needs a first part, as in io.{$id}')
    if (!isRegistered(pattern) && !/^(io|raw)\./.test(pattern))
      fail(
        this.#source,
        target,
        `the registry has no parameter "${pattern}"`,
        'add a line to pvm/registry.ts with its type and unit, or store it as raw.NAME or io.N',
      )
    this.#checkType(pattern, value, target)
    if (unit) this.#convert(pattern, unit)
    if (others.length === 0) this.#emit('param', this.#constant(first))
    else {
      this.#name(target.parts, target)
      this.#emit('named')
    }
  }

  #checkType(name: string, value: Expression | 'boolean' | 'number', place: Place): void {
    const parameter = registered(name)
    const given = typeof value === 'string' ? value : typeOf(value)
    if (!parameter || given === 'any') return
    const wanted = parameter.type === 'string' ? 'text' : parameter.type === 'integer' ? 'number' : parameter.type
    if (wanted === given) return
    const hints = {
      number: given === 'text' ? 'read it with dec, base16 or number(…)' : 'choose(…, 1, 0)',
      text: 'join it to a text: "" + …',
      boolean: given === 'number' ? 'compare it: … > 0' : 'compare it: … == "…"',
    }
    const unit = parameter.unit ? ` in ${parameter.unit}` : ''
    fail(this.#source, place, `${name} is a ${wanted}${unit}, the value is a ${given}`, hints[wanted])
  }

  #convert(name: string, unit: { name: string; place: Place }): void {
    const parameter = registered(name)
    const how = parameter ? conversion(unit.name, parameter.unit ?? '') : `${name} has no unit`
    if (typeof how === 'string')
      return fail(
        this.#source,
        unit.place,
        how,
        parameter?.unit ? `${name} is kept in ${parameter.unit}` : 'leave the unit out',
      )
    if (how.factor !== 1 || how.divisor !== 1) this.#scale(how.factor, how.divisor)
    if (how.offset !== 0) {
      this.#emit('push', this.#constant(how.offset))
      this.#emit('add')
    }
  }

  // ---- statements

  #block(body: Statement[], depth: number): void {
    if (depth > depth_max) fail(this.#source, body[0] ?? { line: 1, column: 1 }, 'blocks are nested too deeply')
    for (const statement of body) {
      const file = relative(this.#folder, this.#source.file).replaceAll('\\', '/')
      this.program.lines.set(this.program.code.length, `${file}:${statement.line}`)
      this.#statement(statement, depth + 1)
    }
  }

  /** A body with a window of its own: unsized reads take what is left of it. */
  #inWindow(body: Statement[], depth: number): void {
    const outer = this.#separator
    this.#separator = undefined
    this.#open.push('leave')
    this.#block(body, depth)
    this.#open.pop()
    this.#separator = outer
    this.#emit('leave')
  }

  /** Closes what was opened since, for a jump out of it. */
  #closeTo(open: number): void {
    for (const closing of this.#open.slice(open).reverse()) this.#emit(closing)
  }

  #statement(s: Statement, depth: number): void {
    switch (s.kind) {
      case 'store':
        this.#expression(s.value)
        for (const [index, target] of s.targets.entries()) {
          if (index < s.targets.length - 1) this.#emit('dup')
          this.#store(target, s.value, s.unit)
        }
        break
      case 'flags':
        this.#flags(s)
        break
      case 'skip':
      case 'seek':
      case 'login':
        this.#expression(s.value)
        this.#emit(s.kind)
        break
      case 'packet':
        this.#expression(s.value)
        this.#emit('measured')
        break
      case 'pass':
        if (this.#separator === undefined)
          return fail(this.#source, s, 'pass stands inside of fields', 'bytes are passed with skip')
        for (let i = 0; i < Math.min(s.count, 1_000); i++) {
          this.#emit('until', this.#constant(this.#separator), kinds.indexOf('latin1'))
          this.#emit('pop')
        }
        break
      case 'match':
        this.#emit('match', this.#constant(s.bytes))
        break
      case 'window':
        this.#expression(s.size)
        this.#emit('window')
        this.#inWindow(s.body, depth)
        break
      case 'inside':
        this.#expression(s.value)
        this.#emit('inside')
        this.#inWindow(s.body, depth)
        break
      case 'within':
        this.#emit('within', this.#constant(s.separator))
        this.#inWindow(s.body, depth)
        break
      case 'field':
        if (this.#separator === undefined)
          return fail(this.#source, s, 'field stands inside of fields', 'elsewhere: within ","')
        this.#emit('within', this.#constant(this.#separator))
        this.#inWindow(s.body, depth)
        break
      case 'fields': {
        const outer = this.#separator
        this.#separator = s.separator
        this.#block(s.body, depth)
        this.#separator = outer
        break
      }
      case 'each':
        this.#loop(
          () => this.#emit('part', this.#constant(s.separator), 0) + 1,
          () => this.#inWindow(s.body, depth),
        )
        break
      case 'repeat':
        this.#repeat(s, depth)
        break
      case 'while':
        this.#loop(
          () => {
            this.#expression(s.condition)
            return this.#emit('unless', 0)
          },
          () => this.#block(s.body, depth),
        )
        break
      case 'if':
        this.#expression(s.condition)
        this.#either(this.#emit('unless', 0), s.body, s.otherwise, depth)
        break
      case 'try': {
        const no = this.#emit('try', 0)
        this.#open.push('done')
        this.#block(s.body, depth)
        this.#open.pop()
        this.#emit('done')
        this.#else(no, s.otherwise, depth)
        break
      }
      case 'switch':
        this.#switch(s, depth)
        break
      case 'message':
        this.#emit('begin')
        this.#block(s.body, depth)
        this.#emit('emit')
        break
      case 'call':
        this.#call(s)
        break
      case 'lookup': {
        const number = this.#tables.get(s.table)
        if (number === undefined)
          return fail(
            this.#source,
            s,
            `there is no table "${s.table}"`,
            `tables are ${[...this.#description.tables.keys()].join(', ')}`,
          )
        this.#expression(s.key)
        this.#else(this.#emit('lookup', number, 0) + 1, s.otherwise, depth)
        break
      }
      case 'reply':
        this.#writeParts(s.parts)
        break
      case 'answer':
        this.#expression(s.key)
        this.#expression(s.text)
        this.#emit('answer')
        break
      case 'fail':
        this.#expression(s.reason)
        this.#emit('fail', this.#constant(s.code))
        break
      case 'close':
      case 'discard':
        this.#emit(s.kind)
        break
      case 'break': {
        const loop = this.#loops.at(-1)
        if (!loop) return fail(this.#source, s, 'break stands inside of a loop: while, repeat or each')
        this.#closeTo(loop.open)
        loop.ends.push(this.#emit('jump', 0))
        break
      }
      case 'return':
        this.#closeTo(0)
        this.#emit('return')
    }
  }

  /** `then`, and `otherwise` where the operand at `no` jumps to. */
  #either(no: number, body: Statement[], otherwise: Statement[], depth: number): void {
    this.#block(body, depth)
    this.#else(no, otherwise, depth)
  }

  #else(no: number, otherwise: Statement[], depth: number): void {
    if (otherwise.length === 0) return this.#patch(no)
    const end = this.#emit('jump', 0)
    this.#patch(no)
    this.#block(otherwise, depth)
    this.#patch(end)
  }

  #loop(head: () => number, body: () => void): void {
    const start = this.program.code.length
    const out = head()
    this.#loops.push({ open: this.#open.length, ends: [] })
    body()
    this.#emit('jump', start)
    this.#patch(out)
    for (const end of this.#loops.pop()?.ends ?? []) this.#patch(end)
  }

  #repeat(s: Statement & { kind: 'repeat' }, depth: number): void {
    const counter = this.#newSlot()
    this.#expression(s.count)
    this.#emit('store', counter)
    this.#loop(
      () => {
        this.#emit('push', this.#constant(0))
        this.#emit('load', counter)
        this.#emit('lt')
        return this.#emit('unless', 0)
      },
      () => {
        this.#block(s.body, depth)
        this.#emit('load', counter)
        this.#emit('push', this.#constant(1))
        this.#emit('sub')
        this.#emit('store', counter)
      },
    )
  }

  #switch(s: Statement & { kind: 'switch' }, depth: number): void {
    const entries = new Map<Constant, number>()
    const number = this.program.tables.push({ name: `switch${this.program.tables.length}`, entries }) - 1
    this.#expression(s.value)
    this.#emit('branch', number)
    this.#block(s.otherwise, depth)
    const ends = [this.#emit('jump', 0)]
    for (const { values, body, line, column } of s.cases) {
      for (const value of values) {
        if (entries.has(value)) fail(this.#source, { line, column }, `there is a case ${JSON.stringify(value)} already`)
        entries.set(value, this.program.code.length)
      }
      this.#block(body, depth)
      ends.push(this.#emit('jump', 0))
    }
    for (const end of ends) this.#patch(end)
  }

  /** Nothing is stored of a value that is null. */
  #flags(s: Statement & { kind: 'flags' }): void {
    const value = this.#newSlot()
    this.#expression(s.value)
    this.#emit('store', value)
    this.#emit('load', value)
    this.#emit('push', this.#constant(null))
    this.#emit('ne')
    const end = this.#emit('unless', 0)
    for (const { from, to, inverted, targets } of s.items) {
      this.#emit('load', value)
      this.#emit('push', this.#constant(from))
      if (to > from) this.#emit('push', this.#constant(to - from + 1))
      this.#emit('func', functionNames.indexOf(to > from ? 'bits' : 'bit'), to > from ? 3 : 2)
      if (inverted) this.#emit('not')
      for (const [index, target] of targets.entries()) {
        if (index < targets.length - 1) this.#emit('dup')
        this.#store(target, to > from ? 'number' : 'boolean')
      }
    }
    this.#patch(end)
  }

  #call(s: Statement & { kind: 'call' }): void {
    const parameters = this.#description.subs.get(s.name)?.parameters ?? []
    if (this.#description.subs.has(s.name) && parameters.length !== s.args.length)
      fail(this.#source, s, `${s.name} takes ${parameters.length} values, not ${s.args.length}`)
    for (const argument of s.args) this.#expression(argument)
    for (const parameter of [...parameters].reverse()) this.#emit('store', this.#slot(parameter))
    this.#calls.push({ at: this.#emit('call', 0), name: s.name, place: s, source: this.#source })
  }
}
