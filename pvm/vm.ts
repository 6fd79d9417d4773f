/** The reference interpreter: runs assembled code over a packet, one instruction after another. */
import { Fault } from './errors.ts'
import { functionList } from './functions.ts'
import { depth_max, stack_max } from './limits.ts'
import { type FixedKind, kinds, opcode, type SizedKind, writes } from './opcodes.ts'
import type { Program } from './program.ts'
import type { Mark, Runtime } from './runtime.ts'
import type { Tracer } from './trace.ts'
import { holds, operators, type Value } from './values.ts'

const op = (name: string) => opcode(name).code
const HALT = op('halt')
const PUSH = op('push')
const LOAD = op('load')
const STORE = op('store')
const DUP = op('dup')
const POP = op('pop')
const READ = op('read')
const TAKE = op('take')
const REST = op('rest')
const UNTIL = op('until')
const UNTILANY = op('untilany')
const RUN = op('run')
const SKIP = op('skip')
const SEEK = op('seek')
const MATCH = op('match')
const EAT = op('eat')
const NEXT = op('next')
const WINDOW = op('window')
const WITHIN = op('within')
const PART = op('part')
const INSIDE = op('inside')
const LEAVE = op('leave')
const BEGIN = op('begin')
const EMIT = op('emit')
const DISCARD = op('discard')
const PARAM = op('param')
const NAMED = op('named')
const LOGIN = op('login')
const WRITE = op('write')
const BUILD = op('build')
const BUILT = op('built')
const ANSWER = op('answer')
const MEASURED = op('measured')
const FAIL = op('fail')
const CLOSE = op('close')
const JUMP = op('jump')
const UNLESS = op('unless')
const BRANCH = op('branch')
const TRY = op('try')
const DONE = op('done')
const CALL = op('call')
const RETURN = op('return')
const LOOKUP = op('lookup')
const MAP = op('map')
const FUNC = op('func')
const NEG = op('neg')
const NOT = op('not')

/** The two-operand operators by opcode. */
const binary = new Map(
  Object.entries(operators)
    .filter(([name]) => name !== 'neg' && name !== 'not')
    .map(([name, operate]) => [op(name), operate as (a: Value, b: Value) => Value]),
)

interface Handler {
  mark: Mark
  address: number
  stack: number
  returns: number
}

/** Runs `program` from `entry` on the machine's packet. Throws Fault for what the packet does wrong. */
export function interpret(program: Program, entry: number, m: Runtime, tracer?: Tracer): void {
  m.load()
  tracer?.begin(m)
  try {
    run(program, entry, m, tracer)
  } finally {
    m.keep()
    tracer?.end(m)
  }
}

function run(program: Program, entry: number, m: Runtime, tracer: Tracer | undefined): void {
  const { code, constants, tables, enums } = program
  const stack: Value[] = []
  const returns: number[] = []
  const handlers: Handler[] = []
  let at = entry
  const pop = (): Value => stack.pop() as Value
  const operand = (): number => code[at++] as number
  const push = (value: Value): void => {
    if (stack.length >= stack_max) throw new Fault('malformed', 'an expression is nested too deeply')
    stack.push(value)
  }
  const enter = (address: number): void => {
    if (returns.length >= depth_max) throw new Fault('malformed', 'calls are nested too deeply')
    m.step()
    returns.push(at)
    at = address
  }
  const step = (): boolean => {
    tracer?.before(at, m, stack)
    const instruction = operand()
    switch (instruction) {
      case HALT:
        return false
      case PUSH:
        push(constants[operand()] as Value)
        break
      case LOAD:
        push(m.slots[operand()] as Value)
        break
      case STORE:
        m.slots[operand()] = pop()
        break
      case DUP:
        push(stack[stack.length - 1] as Value)
        break
      case POP:
        pop()
        break
      case READ:
        push(m.read(kinds[operand()] as FixedKind))
        break
      case TAKE: {
        const kind = kinds[operand()] as SizedKind
        push(m.take(kind, pop()))
        break
      }
      case REST:
        push(m.rest(kinds[operand()] as SizedKind))
        break
      case UNTIL:
        push(m.until(constants[operand()] as string, kinds[operand()] as SizedKind))
        break
      case UNTILANY:
        push(m.untilAny(constants[operand()] as string, kinds[operand()] as SizedKind))
        break
      case RUN:
        push(m.runOf(constants[operand()] as string, kinds[operand()] as SizedKind))
        break
      case SKIP:
        m.skip(pop())
        break
      case SEEK:
        m.seek(pop())
        break
      case MATCH:
        m.match(constants[operand()] as string)
        break
      case EAT:
        push(m.eat(constants[operand()] as string))
        break
      case NEXT:
        push(m.comes(constants[operand()] as string))
        break
      case WINDOW:
        m.window(pop())
        break
      case WITHIN:
        m.within(constants[operand()] as string)
        break
      case PART: {
        const separator = constants[operand()] as string
        const out = operand()
        if (!m.part(separator)) at = out
        break
      }
      case INSIDE:
        m.inside(pop())
        break
      case LEAVE:
        m.leave()
        break
      case BEGIN:
        m.begin()
        break
      case EMIT:
        m.emit()
        break
      case DISCARD:
        m.discard()
        break
      case PARAM:
        m.set(constants[operand()] as string, pop())
        break
      case NAMED: {
        const name = pop()
        m.named(pop(), name)
        break
      }
      case LOGIN:
        m.bind(pop())
        break
      case WRITE:
        m.write(writes[operand()] as 'text', pop())
        break
      case BUILD:
        m.build()
        break
      case BUILT:
        push(m.built())
        break
      case ANSWER: {
        const text = pop()
        m.answer(pop(), text)
        break
      }
      case MEASURED:
        m.measured(pop())
        break
      case FAIL:
        throw new Fault(constants[operand()] as string, String(pop()))
      case CLOSE:
        m.closing = true
        break
      case JUMP: {
        const address = operand()
        if (address < at) m.step()
        at = address
        break
      }
      case UNLESS: {
        const address = operand()
        if (!holds(pop())) at = address
        break
      }
      case BRANCH: {
        const address = tables[operand()]?.entries.get(pop())
        if (address !== undefined) at = address
        break
      }
      case TRY: {
        const address = operand()
        handlers.push({ mark: m.mark(), address, stack: stack.length, returns: returns.length })
        break
      }
      case DONE:
        handlers.pop()
        break
      case CALL:
        enter(operand())
        break
      case RETURN: {
        const back = returns.pop()
        if (back === undefined) return false
        at = back
        break
      }
      case LOOKUP: {
        const table = tables[operand()]
        const otherwise = operand()
        const address = table?.entries.get(pop())
        // An entry comes back behind the lookup; without one its `else` follows.
        if (address === undefined) at = otherwise
        else enter(address)
        break
      }
      case MAP: {
        const known = enums[operand()]
        const found = known?.entries.get(pop())
        push(found === undefined ? (known?.otherwise ?? null) : found)
        break
      }
      case FUNC: {
        const found = functionList[operand()]
        const count = operand()
        const [a, b, c, d, e, f] = stack.splice(stack.length - count, count) as [
          Value,
          Value,
          Value,
          Value,
          Value,
          Value,
        ]
        push((found?.pure ? found.pure(a, b, c, d, e, f) : found?.run?.(m, a, b)) as Value)
        break
      }
      case NEG:
        push(operators.neg(pop()))
        break
      case NOT:
        push(operators.not(pop()))
        break
      default: {
        const b = pop()
        const operate = binary.get(instruction)
        if (!operate) throw new Error(`no instruction ${instruction} at ${at - 1}`)
        push(operate(pop(), b))
      }
    }
    return true
  }
  for (;;) {
    try {
      while (step());
      return
    } catch (thrown) {
      const handler = handlers.pop()
      if (!handler) throw thrown
      m.reset(handler.mark, thrown)
      at = handler.address
      stack.length = handler.stack
      returns.length = handler.returns
      tracer?.caught(handler.stack, m)
    }
  }
}
