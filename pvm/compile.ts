import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Description, Expression, Place, Statement, Target } from './ast.ts'
import { fail, type Source } from './lexer.ts'
import { depth_max, packet_bytes_max } from './limits.ts'
import { functions, type Kind, kinds, opcode } from './opcodes.ts'
import { parse } from './parser.ts'
import { isRegistered } from './registry.ts'

/** Kinds of `write`, in the order of their operand. */
export const writes = ['text', 'hex', 'u8', 'u16', 'u24', 'u32', 'u16le', 'u24le', 'u32le'] as const

export type Constant = number | string | boolean | null

/** How a packet is found at the start of the bytes received. */
export interface Frame {
  prefix: Uint8Array
  /** `fixed` > 0: that many bytes; else a length field, or a line's ending. */
  fixed: number
  field: Kind | undefined
  at: number
  plus: number
  ending: Uint8Array | undefined
  min: number
  max: number
  entry: number
}

/** An assembled program: what the machine runs. */
export interface Program {
  name: string
  header: Record<string, string | number>
  code: number[]
  constants: Constant[]
  frames: Frame[]
  tables: { name: string; entries: Map<number | string, number> }[]
  /** Names of the variable slots; the first `sessionSlots` live as long as the session. */
  slots: string[]
  sessionSlots: number
  labels: Map<number, string>
  /** Line of the description that each address comes from. */
  lines: Map<number, string>
}

/** Reads a description and all it uses. */
export function readDescription(file: string): { description: Description; sources: Map<string, Source> } {
  const description: Description = {
    name: '',
    header: {},
    frames: [],
    tables: new Map(),
    subs: new Map(),
    session: new Set(),
  }
  const sources = new Map<string, Source>()
  const read = (path: string) => {
    if (sources.has(path)) return
    const text = readFileSync(path, 'utf8')
    sources.set(path, { file: path, lines: text.split('\n') })
    parse(text, path, description, (used, refuse) => {
      try {
        read(resolve(dirname(path), used))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
        refuse(`"${used}" cannot be read`)
      }
    })
  }
  read(resolve(file))
  return { description, sources }
}

/** Names of the variables that statements give values to, also inside of others. */
function storedVariables(node: unknown): string[] {
  if (Array.isArray(node)) return node.flatMap(storedVariables)
  if (typeof node !== 'object' || node === null) return []
  const { targets } = node as { targets?: Target[] }
  const here = (targets ?? []).flatMap((target) => ('variable' in target ? [target.variable] : []))
  return [...here, ...Object.values(node).flatMap(storedVariables)]
}

const binaryOpcodes: Record<string, string> = {
  '+': 'add',
  '-': 'sub',
  '*': 'mul',
  '/': 'div',
  '%': 'mod',
  '&': 'and',
  '|': 'or',
  '<<': 'shl',
  '>>': 'shr',
  '==': 'eq',
  '!=': 'ne',
  '<': 'lt',
  '<=': 'le',
  '>': 'gt',
  '>=': 'ge',
}

/** Compiles a description's file. Throws PvmError with the place of the first mistake. */
export function compile(file: string): Program {
  const { description, sources } = readDescription(file)
  let source = sources.get(resolve(file)) as Source
  const top: Place = { line: 1, column: 1 }
  if (description.name === '') fail(source, top, 'there is no protocol', 'begin with: protocol NAME { title "…" }')
  if (description.frames.length === 0) fail(source, top, 'there is no frame', 'frame { … } says where a packet ends')

  const program: Program = {
    name: description.name,
    header: description.header,
    code: [],
    constants: [],
    frames: [],
    tables: [],
    slots: [...description.session],
    sessionSlots: description.session.size,
    labels: new Map(),
    lines: new Map(),
  }
  const { code } = program
  const constants = new Map<string, number>()
  const tableNumbers = new Map<string, number>()
  const calls: { at: number; name: string; place: Place; source: Source }[] = []
  const subs = new Map<string, number>()
  let hidden = 0
  /** Windows open around the statement: a return closes them. */
  let windows = 0

  const constant = (value: Constant): number => {
    const key = `${typeof value}:${value}`
    const known = constants.get(key)
    if (known !== undefined) return known
    constants.set(key, program.constants.length)
    return program.constants.push(value) - 1
  }
  const emit = (name: string, ...operands: number[]): number =>
    code.push(opcode(name).code, ...operands) - operands.length
  const patch = (at: number) => {
    code[at] = code.length
  }
  const slot = (name: string): number => {
    const known = program.slots.indexOf(name)
    return known >= 0 ? known : program.slots.push(name) - 1
  }
  const read = (name: string, place: Place): number => {
    const known = program.slots.indexOf(name)
    return known >= 0 ? known : fail(source, place, `$${name} is never given a value`, `give it one: … -> $${name}`)
  }

  function expression(e: Expression): void {
    switch (e.kind) {
      case 'constant':
        emit('push', constant(e.value))
        break
      case 'variable':
        emit('load', read(e.name, e))
        break
      case 'read':
        if (e.size) {
          expression(e.size)
          emit('take', kinds.indexOf(e.read))
        } else emit(/^(text|hex|u?int(le)?)$/.test(e.read) ? 'rest' : 'read', kinds.indexOf(e.read))
        break
      case 'until':
        emit('until', constant(e.separator))
        break
      case 'call': {
        for (const argument of e.args) expression(argument)
        emit(
          'func',
          functions.findIndex(([name]) => name === e.name),
          e.args.length,
        )
        break
      }
      case 'unary':
        expression(e.operand)
        emit(e.operator === '-' ? 'neg' : 'not')
        break
      case 'binary':
        binary(e)
        break
      case 'name':
        name(e.parts, e)
    }
  }

  function binary(e: Expression & { kind: 'binary' }): void {
    expression(e.left)
    if (e.operator === '&&' || e.operator === '||') {
      emit('dup')
      if (e.operator === '||') emit('not')
      const end = emit('unless', 0)
      emit('pop')
      expression(e.right)
      return patch(end)
    }
    // × 0.001 is written as ÷ 1000: 12352 × 0.001 is 12.352000000000002, 12352 ÷ 1000 is 12.352.
    if (e.operator === '*' && e.right.kind === 'constant' && typeof e.right.value === 'number') {
      const inverse = Math.round(1 / e.right.value)
      if (e.right.value < 1 && Math.abs(1 / inverse - e.right.value) < 1e-15) {
        emit('push', constant(inverse))
        return void emit('div')
      }
    }
    expression(e.right)
    emit(binaryOpcodes[e.operator] as string)
  }

  /** A name with variables in it, as a text on the stack. */
  function name(parts: (string | { variable: string })[], place: Place): void {
    for (const [index, part] of parts.entries()) {
      if (typeof part === 'string') emit('push', constant(part))
      else emit('load', read(part.variable, place))
      if (index > 0) emit('add')
    }
  }

  function store(target: Target): void {
    if ('variable' in target) return void emit('store', slot(target.variable))
    const [first, ...others] = target.parts
    if (typeof first === 'string' && others.length === 0) {
      if (!isRegistered(first) && !/^(io|raw)\./.test(first))
        fail(
          source,
          target,
          `the registry has no parameter "${first}"`,
          'add it to pvm/registry.ts with its unit, or store io.N',
        )
      return void emit('param', constant(first))
    }
    if (typeof first === 'string' && !first.includes('.'))
      fail(source, target, 'a name made of variables needs a first part, as in io.{$id}')
    name(target.parts, target)
    emit('named')
  }

  function block(body: Statement[], depth: number): void {
    if (depth > depth_max) fail(source, body[0] ?? top, 'blocks are nested too deeply')
    for (const statement of body) {
      program.lines.set(code.length, `${source.file.replace(/^.*\//, '')}:${statement.line}`)
      one(statement, depth + 1)
    }
  }

  function one(s: Statement, depth: number): void {
    switch (s.kind) {
      case 'store':
        expression(s.value)
        for (const [index, target] of s.targets.entries()) {
          if (index < s.targets.length - 1) emit('dup')
          store(target)
        }
        break
      case 'skip':
      case 'seek':
        expression(s.value)
        emit(s.kind)
        break
      case 'match':
        emit('match', constant(s.bytes))
        break
      case 'window':
        expression(s.size)
        emit('window')
        windows++
        block(s.body, depth)
        windows--
        emit('leave')
        break
      case 'within':
        emit('within', constant(s.separator))
        windows++
        block(s.body, depth)
        windows--
        emit('leave')
        break
      case 'each': {
        const start = code.length
        const end = emit('next', constant(s.separator), 0) + 1
        windows++
        block(s.body, depth)
        windows--
        emit('leave')
        emit('jump', start)
        patch(end)
        break
      }
      case 'repeat': {
        const counter = slot(`:${hidden++}`)
        expression(s.count)
        emit('store', counter)
        const start = code.length
        emit('push', constant(0))
        emit('load', counter)
        emit('lt')
        const end = emit('unless', 0)
        block(s.body, depth)
        emit('load', counter)
        emit('push', constant(1))
        emit('sub')
        emit('store', counter)
        emit('jump', start)
        patch(end)
        break
      }
      case 'while': {
        const start = code.length
        expression(s.condition)
        const end = emit('unless', 0)
        block(s.body, depth)
        emit('jump', start)
        patch(end)
        break
      }
      case 'if': {
        expression(s.condition)
        const no = emit('unless', 0)
        block(s.body, depth)
        if (s.otherwise.length === 0) return patch(no)
        const end = emit('jump', 0)
        patch(no)
        block(s.otherwise, depth)
        patch(end)
        break
      }
      case 'switch':
        switchStatement(s, depth)
        break
      case 'message':
        emit('begin')
        block(s.body, depth)
        emit('emit')
        break
      case 'call':
        calls.push({ at: emit('call', 0), name: s.name, place: s, source })
        break
      case 'lookup': {
        const number = tableNumbers.get(s.table)
        if (number === undefined)
          return fail(source, s, `there is no table "${s.table}"`, `tables are ${[...tableNumbers.keys()].join(', ')}`)
        expression(s.key)
        const no = emit('lookup', number, 0) + 1
        if (s.otherwise.length === 0) return patch(no)
        const end = emit('jump', 0)
        patch(no)
        block(s.otherwise, depth)
        patch(end)
        break
      }
      case 'reply':
        for (const part of s.parts) {
          expression(part.value)
          emit('write', writes.indexOf(part.write as 'text'))
        }
        break
      case 'login':
        expression(s.value)
        emit('login')
        break
      case 'fail':
        expression(s.reason)
        emit('fail', constant(s.code))
        break
      case 'close':
        emit('close')
        break
      case 'return':
        for (let open = 0; open < windows; open++) emit('leave')
        emit('return')
    }
  }

  function switchStatement(s: Statement & { kind: 'switch' }, depth: number): void {
    const value = slot(`:${hidden++}`)
    expression(s.value)
    emit('store', value)
    const ends: number[] = []
    for (const { values, body } of s.cases) {
      for (const [index, wanted] of values.entries()) {
        emit('load', value)
        emit('push', constant(wanted))
        emit('eq')
        if (index > 0) emit('or')
      }
      const no = emit('unless', 0)
      block(body, depth)
      ends.push(emit('jump', 0))
      patch(no)
    }
    block(s.otherwise, depth)
    for (const end of ends) patch(end)
  }

  // A sub may use what another one stored, in whatever order they stand.
  for (const { body } of [
    ...description.subs.values(),
    ...[...description.tables.values()].flatMap(({ entries }) => entries),
  ]) {
    for (const name of storedVariables(body)) slot(name)
  }
  emit('halt')
  for (const name of description.tables.keys())
    tableNumbers.set(name, program.tables.push({ name, entries: new Map() }) - 1)
  for (const [name, sub] of description.subs) {
    source = sources.get(sub.file) as Source
    subs.set(name, code.length)
    program.labels.set(code.length, name)
    block(sub.body, 0)
    emit('return')
  }
  for (const [name, table] of description.tables) {
    source = sources.get(table.file) as Source
    const { entries } = program.tables[tableNumbers.get(name) as number] as Program['tables'][number]
    for (const entry of table.entries) {
      program.labels.set(code.length, `${name}_${entry.keys[0]}`)
      for (const key of entry.keys) {
        if (entries.has(key)) fail(source, entry, `the table "${name}" has an entry ${JSON.stringify(key)} already`)
        entries.set(key, code.length)
      }
      block(entry.body, 0)
      emit('return')
    }
  }
  for (const { at, name, place, source: from } of calls) {
    const address = subs.get(name)
    if (address === undefined) fail(from, place, `there is no sub "${name}"`, `subs are ${[...subs.keys()].join(', ')}`)
    code[at] = address as number
  }
  source = sources.get(resolve(file)) as Source
  for (const rule of description.frames) {
    const entry = subs.get(rule.entry)
    if (entry === undefined)
      fail(source, rule, `there is no sub "${rule.entry}"`, `subs are ${[...subs.keys()].join(', ')}`)
    if (rule.max > packet_bytes_max) fail(source, rule, `max ${rule.max} is above ${packet_bytes_max}`)
    const size = rule.size
    if ('field' in size && !/^u(8|16|24|32)(le)?$/.test(size.field))
      fail(source, rule, `${size.field} cannot be a length field`)
    program.frames.push({
      prefix: Buffer.from(rule.prefix, 'hex'),
      fixed: 'fixed' in size ? size.fixed : 0,
      field: 'field' in size ? size.field : undefined,
      at: 'field' in size ? size.at : 0,
      plus: 'field' in size ? size.plus : 0,
      ending: 'ending' in size ? Buffer.from(size.ending, 'hex') : undefined,
      min: rule.min,
      max: rule.max,
      entry: entry as number,
    })
  }
  return program
}
