/** Writes JavaScript for the routines of a program: structure, windows and control. Values are in jit-steps.ts. */
import { type Flow, type Instruction, jumpsOf, type Routine, Unsupported } from './jit-flow.ts'
import { condition, type Expr, expr, joined } from './jit-values.ts'
import type { Program } from './program.ts'

/** What is known of the values that a slot is given. */
export interface SlotType {
  type: number
  bits: number
  natural: boolean
}

/** A window that is open: `inside` is on other bytes than those around it. */
interface Open {
  inside: boolean
}

/** What holds at an address that several ways lead to. */
interface Arrival {
  windows: Open[]
  stack: Expr[]
}

/** One routine's code at one place: inlined ones have labels of their own. */
interface Instance {
  routine: Routine
  label: number
  windows: number
  inlined: boolean
}

/** A loop or a try: code that is a statement of its own. */
interface Span {
  kind: 'loop' | 'try'
  start: number
  end: number
}

/** Routines up to this many instructions are written where they are called, as are those that are called in one place. */
const inlined_instructions_max = 14
/** Inlined routines within each other. */
const inlined_depth_max = 12

export abstract class CodeMaker {
  readonly program: Program
  readonly flow: Flow
  /** Routines and tables that code written so far calls. */
  readonly wanted = { routines: new Set<number>(), tables: new Set<number>() }
  #out: string[] = []
  #temps = 0
  #labels = 0
  #windowNames = 0
  #stackNames = 0
  #instance: Instance | undefined
  #instances = 0
  #arrivals = new Map<number, Arrival>()
  protected stack: Expr[] = []
  protected windows: Open[] = []
  /** Slots whose value is known until ways join. */
  readonly known = new Map<number, SlotType>()
  /** Behind an unconditional jump nothing runs until a label. */
  protected dead = false
  /** The code may run while a packet is measured: the end of the bytes is not the packet's. */
  protected measuring = false

  constructor(program: Program, flow: Flow) {
    this.program = program
    this.flow = flow
  }

  /** What one instruction does, but for jumps, windows and calls. */
  protected abstract step(instruction: Instruction): void
  /** Makes a message exist that has been begun. */
  protected abstract flush(): void

  /** A routine as a JavaScript function. */
  routine(start: number): string {
    const routine = this.flow.routines.get(start)
    if (!routine) throw new Unsupported(`no routine at ${start}`)
    return this.#function(`r${start}(m)`, this.flow.measuring.has(start), () => this.#body(routine, false))
  }

  /** A table's entries as a JavaScript function that tells whether there was one. */
  table(number: number): string {
    const entries = [...(this.program.tables[number]?.entries.values() ?? [])]
    const measuring = entries.some((entry) => this.flow.measuring.has(entry))
    return this.#function(`t${number}(m, k)`, measuring, () => {
      this.#entries(number, 'k', () => this.line('m.pos = p; return false'))
      this.line('m.pos = p; return true')
    })
  }

  #function(head: string, measuring: boolean, body: () => void): string {
    this.#out = []
    this.#temps = 0
    this.#windowNames = 0
    this.#stackNames = 0
    this.stack = []
    this.windows = []
    this.known.clear()
    this.dead = false
    this.measuring = measuring
    body()
    const names: string[] = []
    for (let i = 0; i < this.#windowNames; i++) names.push(`w${i}`, `o${i}`, `q${i}`)
    for (let i = 0; i < this.#stackNames; i++) names.push(`k${i}`)
    const declared = names.length > 0 ? `let ${names.join(', ')}\n` : ''
    return `function ${head} {\nlet p = m.pos, e = m.end, b = m.bytes, v = m.view, g = m.message\n${declared}${this.#out.map((text) => (/[{:]$/.test(text) ? text : `${text};`)).join('\n')}\n}\n`
  }

  protected line(text: string): void {
    if (!this.dead) this.#out.push(text)
  }

  /** What the machine must know before one of its methods runs. */
  protected sync(): void {
    this.line('m.pos = p; m.end = e')
  }

  /** A value under a name: it is evaluated now, and may stand several times. */
  protected temp(e: Expr): Expr {
    if (e.simple && e.slots.length === 0) return e
    const name = `x${this.#temps++}`
    this.line(`const ${name} = ${e.js}`)
    return { ...e, js: name, simple: true, slots: [] }
  }

  /** A value that may stand several times before anything is stored. */
  protected simple(e: Expr): Expr {
    return e.simple ? e : this.temp(e)
  }

  protected pop(): Expr {
    const top = this.stack.pop()
    if (!top) throw new Unsupported('a value that is not there')
    return top
  }

  protected push(e: Expr): void {
    if (this.stack.length > 200) throw new Unsupported('a deep stack')
    this.stack.push(e)
  }

  // ---- routines

  #body(routine: Routine, inlined: boolean): void {
    const outer = { instance: this.#instance, arrivals: this.#arrivals }
    const label = ++this.#labels
    this.#instance = { routine, label, windows: this.windows.length, inlined }
    this.#arrivals = new Map()
    if (inlined) this.#out.push(`R${label}: {`)
    this.#range(routine.start, routine.end, -1)
    if (!this.dead) throw new Unsupported(`a routine runs on into another at ${routine.end}`)
    if (inlined) {
      this.#out.push('}')
      this.dead = false
      this.known.clear()
    }
    this.#instance = outer.instance
    this.#arrivals = outer.arrivals
  }

  #inlines(size: number, places: number): boolean {
    return !this.flow.deep && this.#instances < inlined_depth_max && (places === 1 || size <= inlined_instructions_max)
  }

  /** Counts a call or a lookup, runs `body`, and counts back. */
  #entered(body: () => void): void {
    if (this.flow.deep) this.line('if (++m.calls > depth_max) m.tooDeep()')
    this.line('if (--m.fuel < 0) m.spent()')
    body()
    if (this.flow.deep) this.line('m.calls--')
  }

  #call(start: number): void {
    const routine = this.flow.routines.get(start)
    if (!routine || this.stack.length > 0) throw new Unsupported('a call with values on the stack')
    this.#entered(() => {
      if (this.#inlines(routine.size, this.flow.callers.get(start) ?? 1)) {
        this.#instances++
        this.#body(routine, true)
        this.#instances--
        return
      }
      this.flush()
      this.wanted.routines.add(start)
      this.sync()
      this.line(`r${start}(m); p = m.pos; g = m.message`)
      this.known.clear()
    })
  }

  /** The entries of a table for a key. */
  #entries(number: number, key: string, otherwise: () => void): void {
    const label = `K${++this.#labels}`
    const byAddress = new Map<number, string[]>()
    for (const [value, address] of this.program.tables[number]?.entries ?? [])
      byAddress.set(address, [...(byAddress.get(address) ?? []), JSON.stringify(value)])
    this.line(`${label}: { switch (${key}) {`)
    for (const [address, values] of byAddress) {
      const routine = this.flow.routines.get(address)
      if (!routine) throw new Unsupported(`no routine at ${address}`)
      this.line(`${values.map((value) => `case ${value}:`).join(' ')} {`)
      this.#entered(() => {
        this.#instances++
        this.#body(routine, true)
        this.#instances--
      })
      this.line(`break ${label} }`)
    }
    this.line('}')
    otherwise()
    this.#out.push('}')
    this.dead = false
    this.known.clear()
  }

  #lookup(instruction: Instruction): void {
    const [number = 0, otherwise = 0] = instruction.operands
    const key = this.temp(this.pop())
    if (this.stack.length > 0) throw new Unsupported('a lookup with values on the stack')
    this.flush()
    const entries = [...(this.program.tables[number]?.entries.values() ?? [])]
    const size = entries.reduce((sum, entry) => sum + (this.flow.routines.get(entry)?.size ?? 0), 0)
    const elsewhere = otherwise !== instruction.next
    if (this.#inlines(size, this.flow.lookers.get(number) ?? 1)) {
      this.#entries(number, key.js, () => {
        if (elsewhere) this.#jump(otherwise)
      })
      return
    }
    this.wanted.tables.add(number)
    this.sync()
    this.line(`const found${this.#labels} = t${number}(m, ${key.js}); p = m.pos; g = m.message`)
    if (elsewhere) {
      this.#arrive(otherwise)
      this.line(`if (!found${this.#labels}) break ${this.#label(otherwise)}`)
    }
    this.#labels++
    this.known.clear()
  }

  // ---- structure

  #instruction(at: number): Instruction {
    const found = this.flow.instructions.get(at)
    if (!found) throw new Unsupported(`no instruction at ${at}`)
    return found
  }

  /** Loops and tries from … to, the outermost. `header`: of the loop that the code is. */
  #spans(start: number, end: number, header: number): Span[] {
    const spans: Span[] = []
    const loops = new Map<number, number>()
    for (let at = start; at < end; ) {
      const instruction = this.#instruction(at)
      for (const target of jumpsOf(this.program, instruction))
        if (target <= at && target !== header) loops.set(target, instruction.next)
      if (instruction.name === 'try') spans.push({ kind: 'try', start: at, end: instruction.operands[0] as number })
      at = instruction.next
    }
    for (const [first, last] of loops) spans.push({ kind: 'loop', start: first, end: last })
    const outermost: Span[] = []
    for (const span of spans.sort((a, b) => a.start - b.start || b.end - a.end)) {
      const around = outermost.at(-1)
      if (span.start < start || span.end > end || (around && span.start < around.end && span.end > around.end))
        throw new Unsupported('loops or tries that cross')
      if (!around || span.start >= around.end) outermost.push(span)
    }
    return outermost
  }

  /** Code from … to: forward jumps leave labelled blocks that end at their targets. */
  #range(start: number, end: number, header: number): void {
    const spans = this.#spans(start, end, header)
    const within = (target: number) => spans.some((span) => target > span.start && target < span.end)
    const targets = new Set<number>()
    for (let at = start; at < end; ) {
      const instruction = this.#instruction(at)
      for (const target of jumpsOf(this.program, instruction))
        if (target > at && target > start && target < end && !within(target)) targets.add(target)
      at = instruction.next
    }
    const open = [...targets].sort((a, b) => b - a)
    for (const target of open) this.#out.push(`${this.#label(target)}: {`)
    for (let at = start; at < end; ) {
      if (open.at(-1) === at) {
        open.pop()
        this.#join(at)
      }
      const span = spans.find((one) => one.start === at)
      if (span?.kind === 'loop') this.#loop(span)
      else if (span) this.#try(span)
      at = span ? span.end : this.#one(this.#instruction(at))
    }
  }

  #label(target: number): string {
    return `B${this.#instance?.label}_${target}`
  }

  #loop({ start, end }: Span): void {
    if (this.dead) return
    this.flush()
    if (this.stack.length > 0) throw new Unsupported('a loop with values on the stack')
    this.known.clear()
    this.#out.push(`L${this.#instance?.label}_${start}: for (;;) {`)
    this.#range(start, end, start)
    if (!this.dead) throw new Unsupported('a loop that does not go back')
    this.#out.push('}')
  }

  #try({ start, end }: Span): void {
    if (this.dead) return
    const { next } = this.#instruction(start)
    if (this.stack.length > 0) throw new Unsupported('a try with values on the stack')
    this.#checkDone(next, end)
    const n = ++this.#labels
    const windows = [...this.windows]
    this.#out.push(`{ const mark${n} = m.mark(), calls${n} = m.calls, p${n} = p, e${n} = e, b${n} = b`, 'try {')
    this.#range(next, end, -1)
    this.#out.push(`} catch (thrown) {`)
    this.#out.push(
      `m.caught(thrown, mark${n}, calls${n}, b${n}); p = p${n}; e = e${n}; b = b${n}; v = m.view; g = m.message } }`,
    )
    this.dead = false
    this.windows = windows
    this.stack = []
    this.known.clear()
  }

  /** Behind a `done` nothing may fail that the try would catch. */
  #checkDone(from: number, end: number): void {
    let done = false
    for (let at = from; at < end; ) {
      const { name, next, operands } = this.#instruction(at)
      if (done && !['leave', 'done', 'jump', 'return'].includes(name)) throw new Unsupported('code behind a done')
      if (name === 'try') {
        at = operands[0] as number
        continue
      }
      if (name === 'done') done = true
      if (name === 'jump' || name === 'return') done = false
      at = next
    }
  }

  /** A jump comes to `target` with what holds now. */
  #arrive(target: number): void {
    if (this.dead) return
    this.flush()
    const arrival = this.#arrivals.get(target)
    for (const [i, e] of this.stack.entries()) {
      if (e.js !== `k${i}`) this.line(`k${i} = ${e.js}`)
      this.#stackNames = Math.max(this.#stackNames, i + 1)
    }
    const stack = this.stack.map((e, i) => {
      const before = arrival?.stack[i]
      return expr(`k${i}`, e.type, { ...(before ? joined(before, e) : joined(e, e)), simple: true })
    })
    if (arrival && (arrival.stack.length !== stack.length || arrival.windows.length !== this.windows.length))
      throw new Unsupported('ways that join with different windows or values')
    this.#arrivals.set(target, { windows: [...this.windows], stack })
  }

  #join(at: number): void {
    this.#arrive(at)
    this.#out.push('}')
    const arrival = this.#arrivals.get(at)
    this.dead = arrival === undefined
    this.known.clear()
    if (!arrival) return
    this.windows = [...arrival.windows]
    this.stack = [...arrival.stack]
  }

  #jump(target: number): void {
    this.#arrive(target)
    this.line(`break ${this.#label(target)}`)
    this.dead = true
  }

  /** One instruction; gives the address of the next. */
  #one(instruction: Instruction): number {
    if (!this.dead) this.#control(instruction)
    return instruction.next
  }

  #control(instruction: Instruction): void {
    const { name, operands, next } = instruction
    const [first = 0, second = 0] = operands
    switch (name) {
      case 'jump':
        if (first >= next) return this.#jump(first)
        this.flush()
        if (this.stack.length > 0) throw new Unsupported('a loop with values on the stack')
        this.line(`if (--m.fuel < 0) m.spent(); continue L${this.#instance?.label}_${first}`)
        this.dead = true
        return
      case 'unless': {
        const test = this.simple(this.pop())
        this.#arrive(first)
        this.line(`if (!(${condition(test)})) break ${this.#label(first)}`)
        return
      }
      case 'branch':
        return this.#branch(first)
      case 'part': {
        this.#arrive(second)
        if (this.measuring) this.line('m.pos = p; m.end = e')
        this.line(`if (p >= e) { ${this.measuring ? 'm.starving(); ' : ''}break ${this.#label(second)} }`)
        return this.within(this.program.constants[first] as string)
      }
      case 'call':
        return this.#call(first)
      case 'lookup':
        return this.#lookup(instruction)
      case 'return':
        return this.#return()
      case 'done':
        return
      case 'halt':
        throw new Unsupported('a halt in a routine')
      default:
        this.step(instruction)
    }
  }

  #branch(table: number): void {
    const key = this.temp(this.pop())
    const entries = [...(this.program.tables[table]?.entries ?? [])]
    for (const [, target] of entries) this.#arrive(target)
    const cases = entries.map(([value, target]) => `case ${JSON.stringify(value)}: break ${this.#label(target)}`)
    this.line(`switch (${key.js}) { ${cases.join('; ')} }`)
  }

  #return(): void {
    this.flush()
    const instance = this.#instance as Instance
    if (this.windows.length !== instance.windows || this.stack.length > 0)
      throw new Unsupported('a return with windows or values left')
    this.line(instance.inlined ? `break R${instance.label}` : 'm.pos = p; return')
    this.dead = true
  }

  // ---- windows

  /** Opens a window: `after` is where it leaves to, `end` where it ends. */
  protected enter(after: string, end: string): void {
    const i = this.windows.push({ inside: false }) - 1
    this.#windowNames = Math.max(this.#windowNames, i + 1)
    this.line(`o${i} = e; w${i} = ${after}; e = ${end}; m.deeper()`)
  }

  protected within(separator: string): void {
    this.flush()
    this.sync()
    const found = this.temp(expr(`m.find(${JSON.stringify(separator)})`, 2))
    this.enter(`${found.js} < 0 ? e : ${found.js} + ${separator.length}`, `${found.js} < 0 ? e : ${found.js}`)
  }

  protected inside(hex: Expr): void {
    const i = this.windows.push({ inside: true }) - 1
    this.#windowNames = Math.max(this.#windowNames, i + 1)
    const bytes = this.temp(expr(`m.other(${hex.js})`, 0))
    this.line(`o${i} = e; w${i} = p; q${i} = b; m.deeper()`)
    this.line(`m.use(${bytes.js}); b = ${bytes.js}; v = m.view; p = 0; e = b.length`)
  }

  protected leave(): void {
    const window = this.windows.pop()
    const i = this.windows.length
    if (!window || i < (this.#instance?.windows ?? 0)) throw new Unsupported('a leave without a window')
    if (window.inside) this.line(`b = q${i}; m.use(b); v = m.view`)
    this.line(`p = w${i}; e = o${i}; m.depth--`)
  }
}
