/** Writes JavaScript for what instructions do with values, bytes and messages. */
import { functionList, functionNames } from './functions.ts'
import { CodeMaker, type SlotType } from './jit-code.ts'
import { type Flow, type Instruction, Unsupported } from './jit-flow.ts'
import {
  ANY,
  BOOLEAN,
  binary,
  bitOf,
  bitsOf,
  condition,
  constantExpr,
  type Expr,
  expr,
  joined,
  NULL,
  NUMBER,
  TEXT,
} from './jit-values.ts'
import { type FixedKind, fixedKinds, kinds, writes } from './opcodes.ts'
import type { Constant, Program } from './program.ts'

/** Functions that neither look at the machine nor fail, so that reads around them can be checked together. */
const quiet = new Set([
  'abs',
  'bit',
  'bits',
  'floor',
  'max',
  'min',
  'minutes',
  'number',
  'round',
  'signed',
  'signmag',
  'time',
])
/** Functions whose number may be a decimal text, beyond 2^53. */
const big = new Set(['number', 'hexnumber', 'bits', 'signed'])
const operators = new Set('add sub mul div mod and or xor shl shr eq ne lt le gt ge'.split(' '))
/** What may stand between reads that are checked together. */
const between = new Set(['push', 'load', 'store', 'dup', 'pop', 'param', 'map', 'neg', 'not', ...operators])
/** Reads that are checked together at most. */
const together_max = 32

/** A read at an offset that was checked; % is the offset. */
const views: Record<FixedKind, string> = {
  u8: 'b[%]',
  u16: 'v.getUint16(%)',
  u24: '(v.getUint16(%) * 256 + b[% + 2])',
  u32: 'v.getUint32(%)',
  u64: 'u64(v, %)',
  i8: 'v.getInt8(%)',
  i16: 'v.getInt16(%)',
  i24: '(v.getInt16(%) * 256 + b[% + 2])',
  i32: 'v.getInt32(%)',
  i64: 'readNumber(v, "i64", %)',
  f32: 'finite(v.getFloat32(%))',
  f64: 'finite(v.getFloat64(%))',
  u16le: 'v.getUint16(%, true)',
  u24le: '(v.getUint16(%, true) + b[% + 2] * 65536)',
  u32le: 'v.getUint32(%, true)',
  u64le: 'u64le(v, %)',
  i16le: 'v.getInt16(%, true)',
  i24le: '(v.getUint16(%, true) + v.getInt8(% + 2) * 65536)',
  i32le: 'v.getInt32(%, true)',
  i64le: 'readNumber(v, "i64le", %)',
  f32le: 'finite(v.getFloat32(%, true))',
  f64le: 'finite(v.getFloat64(%, true))',
}

const textKinds = new Set(['text', 'latin1', 'hex', 'digits'])

export class StepMaker extends CodeMaker {
  readonly #slots: readonly SlotType[]
  /** What this pass saw being stored into the slots. */
  readonly stored: (SlotType | undefined)[]
  /** Prefixes of names that numbers are appended to. */
  readonly prefixes: string[] = []
  /** Reads checked together: bytes passed since `p`, and the address behind the last of them. */
  #ahead = 0
  #aheadEnd = -1
  /** Parameters of a message that has just begun, until it must exist. */
  #pending: { name: string; js: string }[] | undefined

  constructor(program: Program, flow: Flow, slots: readonly SlotType[]) {
    super(program, flow)
    this.#slots = slots
    this.stored = slots.map(() => undefined)
  }

  protected flush(): void {
    const pending = this.#pending
    this.#pending = undefined
    if (!pending) return
    const timestamp = pending.findLast(({ name }) => name === 'timestamp')?.js ?? 'undefined'
    const others = pending.filter(({ name }) => name !== 'timestamp' && name !== 'ident')
    this.line(`m.discarded = false; m.message = g = newMessage(${timestamp})`)
    for (const { name, js } of others) this.line(`g[${JSON.stringify(name)}] = ${js}`)
  }

  protected step(instruction: Instruction): void {
    const { name, operands } = instruction
    const constant = this.program.constants[operands[0] as number] as Constant
    const text = JSON.stringify(constant)
    if (operators.has(name)) return this.#operator(name)
    switch (name) {
      case 'push':
        return this.push(constantExpr(constant))
      case 'load':
        return this.#load(operands[0] as number)
      case 'store':
        return this.#store(operands[0] as number)
      case 'dup': {
        const top = this.simple(this.pop())
        this.push(top)
        return this.push(top)
      }
      case 'pop':
        return void this.pop()
      case 'read':
        return this.#read(instruction)
      case 'skip':
        return this.#skip(instruction)
      case 'param':
        return this.#param(String(constant))
      case 'map':
        return this.#map(operands[0] as number)
      case 'neg':
        return this.#negative()
      case 'not':
        return this.push({ ...this.#over(this.pop(), (e) => `!(${condition(e)})`), type: BOOLEAN })
      case 'func':
        return this.#function(functionNames[operands[0] as number] as string, operands[1] as number)
      case 'begin':
        this.flush()
        if (this.flow.tries) return this.line('m.begin(); g = m.message')
        this.#pending = []
        return
    }
    this.flush()
    switch (name) {
      case 'take': {
        const kind = kinds[operands[0] as number] as string
        return this.#helper(`m.take("${kind}", ${this.simple(this.pop()).js})`, kind)
      }
      case 'rest':
        return this.#rest(kinds[operands[0] as number] as string)
      case 'until':
        return this.#helper(`m.until(${text}, "${kinds[operands[1] as number]}")`, kinds[operands[1] as number])
      case 'untilany':
        return this.#helper(`m.untilAny(${text}, "${kinds[operands[1] as number]}")`, kinds[operands[1] as number])
      case 'run':
        return this.#helper(`m.runOf(${text}, "${kinds[operands[1] as number]}")`, kinds[operands[1] as number])
      case 'seek':
        return this.#doing(`m.seek(${this.simple(this.pop()).js}); p = m.pos`)
      case 'match':
      case 'eat':
      case 'next':
        return this.#comes(name, String(constant))
      case 'window':
        return this.#window()
      case 'within':
        return this.within(String(constant))
      case 'inside':
        return this.inside(this.simple(this.pop()))
      case 'leave':
        return this.leave()
      case 'emit':
        return this.line('m.emit(); g = undefined')
      case 'discard':
        return this.line('m.discarded = true')
      case 'named': {
        const target = this.temp(this.pop())
        return this.line(`m.named(${this.pop().js}, ${target.js})`)
      }
      case 'login':
        return this.#doing(`m.bind(${this.pop().js})`)
      case 'write':
        return this.#doing(`m.write("${writes[operands[0] as number]}", ${this.pop().js})`)
      case 'build':
        return this.line('m.build()')
      case 'built':
        return this.push(this.temp(expr('m.built()', TEXT)))
      case 'answer': {
        const answer = this.temp(this.pop())
        return this.line(`m.answer(${this.pop().js}, ${answer.js})`)
      }
      case 'measured':
        this.#doing(`m.measured(${this.pop().js}); return`)
        this.dead = true
        return
      case 'fail':
        this.line(`throw new Fault(${text}, String(${this.pop().js}))`)
        this.dead = true
        return
      case 'close':
        return this.line('m.closing = true')
    }
    throw new Unsupported(`the instruction ${name}`)
  }

  #doing(text: string): void {
    this.sync()
    this.line(text)
  }

  /** A method of the machine that reads. */
  #helper(call: string, kind = 'text'): void {
    this.sync()
    const value = this.temp(expr(call, textKinds.has(kind) ? TEXT : NUMBER | TEXT | NULL))
    this.line('p = m.pos')
    this.push(value)
  }

  // ---- variables

  #load(slot: number): void {
    const { type, bits, natural } = this.known.get(slot) ?? (this.#slots[slot] as SlotType)
    this.push(expr(`s${slot}`, type, { bits, natural, slots: [slot], simple: true }))
  }

  #store(slot: number): void {
    const value = this.pop()
    // What waits on the stack was loaded before.
    this.stack = this.stack.map((e) => (e.slots.includes(slot) ? this.temp(e) : e))
    this.line(`s${slot} = ${value.js}`)
    const { type, bits, natural } = value
    this.known.set(slot, { type, bits, natural })
    const before = this.stored[slot]
    const now = before ? joined(expr('', before.type, before), value) : value
    this.stored[slot] = { type: now.type, bits: now.bits ?? bits, natural: now.natural ?? natural }
  }

  // ---- operators

  #over(e: Expr, js: (e: Expr) => string): Expr {
    const value = this.simple(e)
    return expr(js(value), value.type, { slots: value.slots })
  }

  #operator(name: string): void {
    const right = this.simple(this.pop())
    const left = this.simple(this.pop())
    if (name === 'add' && typeof left.constant === 'string' && left.constant.endsWith('.')) {
      let index = this.prefixes.indexOf(left.constant)
      if (index < 0) index = this.prefixes.push(left.constant) - 1
      const js = `nameOf(n${index}, ${left.js}, ${right.js})`
      return this.push(this.temp(expr(js, TEXT | (right.type & NULL))))
    }
    this.push(binary(name, left, right))
  }

  #negative(): void {
    const value = this.simple(this.pop())
    if (value.type === NUMBER) return this.push({ ...value, js: `(-${value.js})`, natural: false, simple: false })
    if (value.type === (NUMBER | NULL))
      return this.push({ ...value, js: `(${value.js} === null ? null : -${value.js})`, natural: false, simple: false })
    this.push(expr(`operators.neg(${value.js})`, NUMBER | NULL, { slots: value.slots }))
  }

  #map(number: number): void {
    const known = this.program.enums[number]
    const key = this.simple(this.pop())
    let type = 0
    for (const value of [...(known?.entries.values() ?? []), known?.otherwise ?? null]) type |= constantExpr(value).type
    this.push(
      expr(`(e${number}.get(${key.js}) ?? ${JSON.stringify(known?.otherwise ?? null)})`, type, { slots: key.slots }),
    )
  }

  #function(name: string, count: number): void {
    const args = this.stack.splice(this.stack.length - count, count).map((e) => this.simple(e))
    const slots = args.flatMap((e) => e.slots)
    const [a, b, c] = args
    if (name === 'bit' && a && b) {
      const found = bitOf(a, b)
      if (found) return this.push(found)
    }
    if (name === 'bits' && a && b && c) {
      const found = bitsOf(a, b, c)
      if (found) return this.push(found)
    }
    if (name === 'number' && a && (a.type & ~NULL) === NUMBER) return this.push(a)
    if (name === 'choose' && a && b && c)
      return this.push(expr(`(${condition(a)} ? ${b.js} : ${c.js})`, b.type | c.type, { ...joined(b, c), slots }))
    const builtIn = functionList[functionNames.indexOf(name)]
    if (builtIn?.pure && quiet.has(name))
      return this.push(expr(`f_${name}(${args.map((e) => e.js).join(', ')})`, this.#gives(name), { slots }))
    this.flush()
    if (!this.measuring) {
      if (name === 'pos') return this.push(this.temp(expr('p', NUMBER, { bits: 31, natural: true })))
      if (name === 'left') return this.push(this.temp(expr('e - p', NUMBER, { bits: 31, natural: true })))
      if (name === 'byte' && a?.type === NUMBER)
        return this.push(this.temp(expr(`b[${a.js}] ?? null`, NUMBER | NULL, { bits: 8, natural: true })))
    }
    const values = builtIn?.pure ? args : [expr('m', ANY), ...args]
    if (!builtIn?.pure) this.sync()
    this.push(this.temp(expr(`f_${name}(${values.map((e) => e.js).join(', ')})`, this.#gives(name))))
  }

  #gives(name: string): number {
    const gives = functionList[functionNames.indexOf(name)]?.gives
    if (gives === 'number') return NUMBER | NULL | (big.has(name) ? TEXT : 0)
    if (gives === 'boolean') return BOOLEAN | NULL
    return gives === 'text' ? TEXT | NULL : ANY
  }

  // ---- reading

  /** Reads that follow without anything that could be told apart if a later one failed: they are checked together. */
  #together(from: Instruction): { sizes: number[]; end: number } {
    const sizes: number[] = []
    let end = from.next
    let count: number | undefined
    for (let at = from.at; sizes.length < together_max; ) {
      const instruction = this.flow.instructions.get(at)
      if (!instruction || (at !== from.at && (this.flow.targets.has(at) || this.flow.routines.has(at)))) break
      const { name, operands, next } = instruction
      const operand = operands[0] as number
      if (name === 'read') {
        sizes.push(fixedKinds[kinds[operand] as FixedKind])
        end = next
      } else if (name === 'skip') {
        if (count === undefined) break
        sizes.push(count)
        end = next
      } else if (name === 'func') {
        if (!quiet.has(functionNames[operand] as string)) break
      } else if (!between.has(name)) break
      // Sums of texts can fail; session variables outlive a failure.
      if (name === 'add' || (name === 'store' && operand < this.program.sessionSlots)) break
      const constant = name === 'push' ? this.program.constants[operand] : undefined
      count =
        typeof constant === 'number' && Number.isInteger(constant) && constant >= 0 && constant < 65_536
          ? constant
          : undefined
      if (this.flow.tries) break
      at = next
    }
    return { sizes, end }
  }

  #passed(size: number, instruction: Instruction): void {
    this.#ahead += size
    if (instruction.next !== this.#aheadEnd) return
    this.line(`p += ${this.#ahead}`)
    this.#aheadEnd = -1
  }

  #read(instruction: Instruction): void {
    const kind = kinds[instruction.operands[0] as number] as FixedKind
    const size = fixedKinds[kind]
    if (this.#aheadEnd < 0) {
      const { sizes, end } = this.#together(instruction)
      const total = sizes.reduce((sum, one) => sum + one, 0)
      this.line(`if (p + ${total} > e) m.lacks(p, e, ${sizes.join(', ')})`)
      this.#ahead = 0
      this.#aheadEnd = end
    }
    const offset = this.#ahead === 0 ? 'p' : `p + ${this.#ahead}`
    const js = (views[kind] as string).replaceAll('%', offset)
    const wide = /^[ui]64/.test(kind)
    const float = kind.startsWith('f')
    const type = NUMBER | (wide ? TEXT : 0) | (float ? NULL : 0)
    const bits = float ? (kind.startsWith('f32') ? 129 : Number.POSITIVE_INFINITY) : size * 8
    this.push(this.temp(expr(js, type, { bits, natural: kind.startsWith('u') && !wide })))
    this.#passed(size, instruction)
  }

  #skip(instruction: Instruction): void {
    const size = this.pop()
    const { constant } = size
    if (typeof constant === 'number' && size.natural && constant < 65_536) {
      if (this.#aheadEnd >= 0) return this.#passed(constant, instruction)
      this.line(`if (p + ${constant} > e) m.lacks(p, e, ${constant})`)
      return this.line(`p += ${constant}`)
    }
    this.flush()
    this.#doing(`m.skip(${size.js}); p = m.pos`)
  }

  #rest(kind: string): void {
    if (this.measuring || !/^u?int(le)?$/.test(kind)) return this.#helper(`m.rest("${kind}")`, kind)
    this.push(
      this.temp(expr(`rest_${kind}(m, b, v, p, e)`, NUMBER | TEXT | NULL, { bits: 64, natural: kind.startsWith('u') })),
    )
    this.line('p = e')
  }

  #comes(name: string, hex: string): void {
    const bytes = [...Buffer.from(hex, 'hex')]
    if (this.measuring || bytes.length > 12) {
      if (name === 'match') return this.#doing(`m.match("${hex}"); p = m.pos`)
      this.sync()
      this.push(this.temp(expr(`m.${name === 'eat' ? 'eat' : 'comes'}("${hex}")`, BOOLEAN)))
      return this.line('p = m.pos')
    }
    const same = bytes.map((byte, i) => `b[p${i > 0 ? ` + ${i}` : ''}] === ${byte}`)
    const found = [`p + ${bytes.length} <= e`, ...same].join(' && ')
    if (name === 'match') {
      this.line(`if (!(${found})) { m.pos = p; m.end = e; m.match("${hex}") }`)
      return this.line(`p += ${bytes.length}`)
    }
    const value = this.temp(expr(found, BOOLEAN))
    if (name === 'eat') this.line(`if (${value.js}) p += ${bytes.length}`)
    this.push(value)
  }

  #window(): void {
    const size = this.simple(this.pop())
    if (size.type === NUMBER && size.natural) {
      this.line(`if (p + ${size.js} > e) m.lacks(p, e, ${size.js})`)
      return this.enter(`p + ${size.js}`, `p + ${size.js}`)
    }
    if ((size.type & ~NULL) === NUMBER && size.natural) {
      this.line(`if (${size.js} === null || p + ${size.js} > e) { m.pos = p; m.end = e; m.counted(${size.js}) }`)
      return this.enter(`p + ${size.js}`, `p + ${size.js}`)
    }
    this.sync()
    const counted = this.temp(expr(`m.counted(${size.js})`, NUMBER))
    this.enter(`p + ${counted.js}`, `p + ${counted.js}`)
  }

  // ---- messages

  #param(name: string): void {
    const value = this.pop()
    const plain = (value.type & (NULL | TEXT)) === 0 || (typeof value.constant === 'string' && value.constant !== '')
    if (value.type === NULL || value.constant === '') return
    if (plain && this.#pending) {
      this.#pending.push({ name, js: this.temp(value).js })
      return
    }
    this.flush()
    const outside = `if (g === undefined) m.outside(${JSON.stringify(name)})`
    const target = `g[${JSON.stringify(name)}]`
    if (plain) return this.line(`${outside}; ${target} = ${value.js}`)
    const held = this.simple(value)
    const tests = [value.type & NULL ? `${held.js} !== null` : '', value.type & TEXT ? `${held.js} !== ''` : '']
    this.line(`if (${tests.filter((test) => test !== '').join(' && ')}) { ${outside}; ${target} = ${held.js} }`)
  }
}
