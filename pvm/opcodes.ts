/**
 * The one table of what the machine can do. The assembler, the disassembler, the verifier, the interpreter and the JIT follow it.
 * Operands: k constant, s variable slot, a address, t table, e enum, r kind of read, w kind of write, f function, n plain number.
 * Stack: values taken → values left; -1: as many as the last operand says.
 */
export interface Opcode {
  readonly code: number
  readonly name: string
  readonly operands: string
  readonly takes: number
  readonly leaves: number
  readonly meaning: string
}

const list: [name: string, operands: string, takes: number, leaves: number, meaning: string][] = [
  ['halt', '', 0, 0, 'the packet is done'],
  ['push', 'k', 0, 1, 'a constant'],
  ['load', 's', 0, 1, 'the value of a variable'],
  ['store', 's', 1, 0, 'into a variable'],
  ['dup', '', 1, 2, 'the top once more'],
  ['pop', '', 1, 0, 'drops the top'],
  ['read', 'r', 0, 1, 'a number of fixed size from the bytes'],
  ['take', 'r', 1, 1, 'n bytes as the kind says; n from the stack'],
  ['rest', 'r', 0, 1, 'what is left of the window as the kind says'],
  ['until', 'kr', 0, 1, 'up to a separator, which is consumed, or to the end of the window, as the kind says'],
  ['untilany', 'kr', 0, 1, 'as until, but any one character of the constant separates'],
  ['run', 'kr', 0, 1, 'the longest run of characters of a class (hex mask of 256 bits), as the kind says'],
  ['skip', '', 1, 0, 'passes n bytes'],
  ['seek', '', 1, 0, 'goes to an offset of the packet'],
  ['match', 'k', 0, 0, 'these bytes (hex) must come next'],
  ['eat', 'k', 0, 1, 'passes these bytes (hex) if they come next; whether they did'],
  ['next', 'k', 0, 1, 'whether these bytes (hex) come next'],
  ['window', '', 1, 0, 'opens a window of n bytes'],
  ['within', 'k', 0, 0, 'opens a window up to a separator or the end'],
  ['part', 'ka', 0, 0, 'opens a window on the next part before a separator; jumps when nothing is left'],
  ['inside', '', 1, 0, 'opens a window on other bytes, given as hex'],
  ['leave', '', 0, 0, 'closes the window and goes to its end'],
  ['begin', '', 0, 0, 'begins a message'],
  ['emit', '', 0, 0, 'registers the message'],
  ['discard', '', 0, 0, 'the message that was begun will not be registered'],
  ['param', 'k', 1, 0, 'stores a parameter of the message; null and empty text store nothing'],
  ['named', '', 2, 0, 'stores a parameter whose name is on the stack'],
  ['login', '', 1, 0, 'binds the session to an ident and asks whether it may come in'],
  ['write', 'w', 1, 0, 'appends to the answer, or to the bytes being put together'],
  ['build', '', 0, 0, 'begins to put bytes together'],
  ['built', '', 0, 1, 'the bytes put together, as hex'],
  ['answer', '', 2, 0, 'answers the oldest waiting command with this key: key, text'],
  ['measured', '', 1, 0, 'ends a measuring: the packet has this many bytes'],
  ['fail', 'k', 1, 0, 'ends the packet with an error: code, reason from the stack'],
  ['close', '', 0, 0, 'the connection is to be closed after the answer'],
  ['jump', 'a', 0, 0, 'goes on elsewhere'],
  ['unless', 'a', 1, 0, 'jumps when false, 0, null or empty'],
  ['branch', 't', 1, 0, 'jumps to the entry of a table; goes on when there is none'],
  ['try', 'a', 0, 0, 'from here on malformed bytes jump there, with the window as it is now'],
  ['done', '', 0, 0, 'ends the innermost try'],
  ['call', 'a', 0, 0, 'runs a sub-routine'],
  ['return', '', 0, 0, 'ends a sub-routine'],
  ['lookup', 'ta', 1, 0, 'calls the entry of a table; jumps when there is none'],
  ['map', 'e', 1, 1, 'the constant of an enum for a value; null when there is none'],
  ['func', 'fn', -1, 1, 'a built-in function with n arguments'],
  ['add', '', 2, 1, 'a + b; texts are joined'],
  ['sub', '', 2, 1, 'a - b'],
  ['mul', '', 2, 1, 'a × b'],
  ['div', '', 2, 1, 'a ÷ b; null when b is 0'],
  ['mod', '', 2, 1, 'remainder; null when b is 0'],
  ['and', '', 2, 1, 'bits of both'],
  ['or', '', 2, 1, 'bits of either'],
  ['xor', '', 2, 1, 'bits of one of them'],
  ['shl', '', 2, 1, 'bits moved up'],
  ['shr', '', 2, 1, 'bits moved down'],
  ['neg', '', 1, 1, 'minus'],
  ['not', '', 1, 1, 'true when false, 0, null or empty'],
  ['eq', '', 2, 1, 'equal, in type and value'],
  ['ne', '', 2, 1, 'not equal'],
  ['lt', '', 2, 1, 'less; false with null'],
  ['le', '', 2, 1, 'less or equal; false with null'],
  ['gt', '', 2, 1, 'greater; false with null'],
  ['ge', '', 2, 1, 'greater or equal; false with null'],
]

export const opcodes: readonly Opcode[] = list.map(([name, operands, takes, leaves, meaning], code) => ({
  code,
  name,
  operands,
  takes,
  leaves,
  meaning,
}))

const byName = new Map(opcodes.map((o) => [o.name, o]))

/** The opcode of a name; a wrong name is a defect of ours. */
export function opcode(name: string): Opcode {
  const found = byName.get(name)
  if (!found) throw new Error(`no opcode ${name}`)
  return found
}

/** Kinds of fixed size, for `read`: bytes, sign, order; a 64-bit number beyond 2^53 is a decimal text. */
export const fixedKinds = {
  u8: 1,
  u16: 2,
  u24: 3,
  u32: 4,
  u64: 8,
  i8: 1,
  i16: 2,
  i24: 3,
  i32: 4,
  i64: 8,
  f32: 4,
  f64: 8,
  u16le: 2,
  u24le: 3,
  u32le: 4,
  u64le: 8,
  i16le: 2,
  i24le: 3,
  i32le: 4,
  i64le: 8,
  f32le: 4,
  f64le: 8,
} as const

/** Kinds that take a size, or what is left of the window, or go up to a separator; with their meaning. */
export const sizedKinds = {
  text: 'UTF-8 text',
  latin1: 'text of one byte a character',
  hex: 'bytes as hex text',
  uint: 'number of 0 to 8 bytes, the highest first',
  int: 'signed number of 0 to 8 bytes, the highest first',
  uintle: 'number of 0 to 8 bytes, the lowest first',
  intle: 'signed number of 0 to 8 bytes, the lowest first',
  dec: 'decimal number in text, with sign, fraction and spaces around it; null when it is none',
  base16: 'hexadecimal number in text, with or without 0x; null when it is none',
  bcd: 'decimal number of two digits a byte; null when a half byte is no digit',
  digits: 'text of decimal digits only; anything else is malformed',
} as const

export type FixedKind = keyof typeof fixedKinds
export type SizedKind = keyof typeof sizedKinds
export type Kind = FixedKind | SizedKind
export const kinds = [...Object.keys(fixedKinds), ...Object.keys(sizedKinds)] as Kind[]

/** Kinds of `write`, in the order of their operand. */
export const writes = ['text', 'hex', 'u8', 'u16', 'u24', 'u32', 'u64', 'u16le', 'u24le', 'u32le', 'u64le'] as const
export type WriteKind = (typeof writes)[number]
