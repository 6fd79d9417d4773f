/**
 * The one table of what the machine can do. The assembler, the disassembler, the verifier and the interpreter follow it.
 * Operands: k constant, s variable slot, a address, t table, r kind of read, w kind of write, n plain number.
 * Stack: values taken → values left.
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
  ['take', 'r', 1, 1, 'n bytes as text, hex or number; n from the stack'],
  ['rest', 'r', 0, 1, 'what is left of the window as text, hex or number'],
  ['until', 'k', 0, 1, 'text up to a separator, which is consumed, or to the end of the window'],
  ['skip', '', 1, 0, 'passes n bytes'],
  ['seek', '', 1, 0, 'goes to an offset of the packet'],
  ['match', 'k', 0, 0, 'these bytes must come next'],
  ['window', '', 1, 0, 'opens a window of n bytes'],
  ['within', 'k', 0, 0, 'opens a window up to a separator or the end'],
  ['next', 'ka', 0, 0, 'opens a window on the next part before a separator; jumps when nothing is left'],
  ['leave', '', 0, 0, 'closes the window and goes to its end'],
  ['begin', '', 0, 0, 'begins a message'],
  ['emit', '', 0, 0, 'registers the message'],
  ['param', 'k', 1, 0, 'stores a parameter of the message; null stores nothing'],
  ['named', '', 2, 0, 'stores a parameter whose name is on the stack'],
  ['login', '', 1, 0, 'binds the session to an ident and asks whether it may come in'],
  ['write', 'w', 1, 0, 'appends to the answer'],
  ['fail', 'k', 1, 0, 'ends the packet with an error: code, reason from the stack'],
  ['close', '', 0, 0, 'the connection is to be closed after the answer'],
  ['jump', 'a', 0, 0, 'goes on elsewhere'],
  ['unless', 'a', 1, 0, 'jumps when false, 0, null or empty'],
  ['call', 'a', 0, 0, 'runs a sub-routine'],
  ['return', '', 0, 0, 'ends a sub-routine'],
  ['lookup', 'ta', 1, 0, 'calls the entry of a table; jumps when there is none'],
  ['func', 'nn', -1, 1, 'a built-in function with n arguments'],
  ['add', '', 2, 1, 'a + b; texts are joined'],
  ['sub', '', 2, 1, 'a - b'],
  ['mul', '', 2, 1, 'a × b'],
  ['div', '', 2, 1, 'a ÷ b'],
  ['mod', '', 2, 1, 'remainder'],
  ['and', '', 2, 1, 'bits of both'],
  ['or', '', 2, 1, 'bits of either'],
  ['shl', '', 2, 1, 'bits moved up'],
  ['shr', '', 2, 1, 'bits moved down'],
  ['neg', '', 1, 1, 'minus'],
  ['not', '', 1, 1, 'true when false, 0, null or empty'],
  ['eq', '', 2, 1, 'equal'],
  ['ne', '', 2, 1, 'not equal'],
  ['lt', '', 2, 1, 'less'],
  ['le', '', 2, 1, 'less or equal'],
  ['gt', '', 2, 1, 'greater'],
  ['ge', '', 2, 1, 'greater or equal'],
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

/** Kinds of `read`, `take` and `rest`. Numbers: bytes, sign, order; u64 beyond 2^53 is a decimal text. */
export const kinds = [
  'u8',
  'u16',
  'u24',
  'u32',
  'u64',
  'i8',
  'i16',
  'i32',
  'i64',
  'f32',
  'f64',
  'u16le',
  'u24le',
  'u32le',
  'u64le',
  'i16le',
  'i32le',
  'i64le',
  'f32le',
  'f64le',
  'text',
  'hex',
  'uint',
  'int',
  'uintle',
  'intle',
] as const
export type Kind = (typeof kinds)[number]

/** Built-in functions: name, number of arguments, meaning. */
export const functions: readonly [name: string, args: number, meaning: string][] = [
  ['number', 1, 'text as a number; null for NA, empty or no number'],
  ['hexnumber', 1, 'hexadecimal text, 0x or not, as a number'],
  ['time', 6, 'year month day hour minute second as s since 1970 UTC; null when a part is null or no such time'],
  ['dm', 2, 'degrees and minutes (ddmm.mmmm) with N S E W as degrees'],
  ['slice', 3, 'characters from … to (excluded) of a text'],
  ['len', 1, 'length of a text'],
  ['bit', 2, 'whether bit n is set'],
  ['crc16_ibm', 2, 'CRC-16/ARC (polynomial 0xA005 reflected) of the packet from … to (excluded)'],
  ['xor8', 2, 'exclusive or of the packet from … to'],
  ['sum8', 2, 'sum modulo 256 of the packet from … to'],
  ['round', 2, 'rounded to n decimals'],
  ['printable', 1, 'hex bytes as text where all are printable, else the hex'],
  ['reversed', 1, 'hex bytes in reverse order'],
  ['find', 1, 'offset of a text from here to the end of the window, or -1'],
  ['last', 1, 'offset of the last such text in the packet, or -1'],
  ['now', 0, 's since 1970 UTC'],
  ['size', 0, 'bytes of the packet'],
  ['pos', 0, 'offset of the next byte'],
  ['left', 0, 'bytes left in the window'],
  ['accepted', 0, 'whether the ident may come in'],
  ['choose', 3, 'condition, then, else'],
]
