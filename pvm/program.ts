import type { Transport } from './ast.ts'
import type { FixedKind } from './opcodes.ts'

export type Constant = number | string | boolean | null

/** How long a packet is; bytes are hex. */
export type Size =
  | { kind: 'fixed'; bytes: number }
  | { kind: 'field'; read: FixedKind; at: number; mask: number; plus: number }
  | { kind: 'digits'; base: 10 | 16; at: number; digits: number; until: string; plus: number }
  | { kind: 'line'; endings: string[]; extra: number }
  | { kind: 'measure'; entry: number }
  | { kind: 'http' }
  | { kind: 'whole' }

/** How a packet is found at the start of the bytes received. */
export interface Frame {
  transports: Transport[]
  /** Hex; empty: any. */
  prefix: string
  size: Size
  min: number
  max: number
  escapes: [from: string, to: string][]
  entry: number
}

export interface CommandEntry {
  name: string
  title: string
  /** Names and slots of its parameters. */
  parameters: { name: string; slot: number }[]
  /** Slot of the key that its answer carries; -1: none. */
  key: number
  entry: number
}

/** An assembled program: what the machine runs. */
export interface Program {
  name: string
  header: Record<string, string | number>
  code: number[]
  constants: Constant[]
  frames: Frame[]
  /** Bytes that may stand between packets, in hex. */
  junk: string
  /** Jumps and sub-routines by a key. */
  tables: { name: string; entries: Map<Constant, number> }[]
  /** Constants by a key. */
  enums: { name: string; entries: Map<Constant, Constant>; otherwise: Constant }[]
  commands: CommandEntry[]
  /** Names of the variable slots; the first `sessionSlots` live as long as the session. */
  slots: string[]
  sessionSlots: number
  /** First values of the slots. */
  initial: Constant[]
  labels: Map<number, string>
  /** Line of the description that each address comes from. */
  lines: Map<number, string>
}

export function emptyProgram(): Program {
  return {
    name: '',
    header: {},
    code: [],
    constants: [],
    frames: [],
    junk: '',
    tables: [],
    enums: [],
    commands: [],
    slots: [],
    sessionSlots: 0,
    initial: [],
    labels: new Map(),
    lines: new Map(),
  }
}
