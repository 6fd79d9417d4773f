/** What a description says, as the parser understands it. */
import type { Kind } from './opcodes.ts'

export interface Place {
  line: number
  column: number
}

export type NameParts = (string | { variable: string })[]

export type Expression = Place &
  (
    | { kind: 'constant'; value: number | string | boolean | null }
    | { kind: 'variable'; name: string }
    | { kind: 'read'; read: Kind; size?: Expression }
    | { kind: 'until'; read: Kind; separator: string; any: boolean }
    | { kind: 'run'; read: Kind; mask: string }
    | { kind: 'peek'; consume: boolean; bytes: string }
    | { kind: 'bytes'; parts: WritePart[] }
    | { kind: 'call'; name: string; args: Expression[] }
    | { kind: 'enum'; name: string; value: Expression }
    | { kind: 'unary'; operator: '-' | '!'; operand: Expression }
    | { kind: 'binary'; operator: string; left: Expression; right: Expression }
    | { kind: 'name'; parts: NameParts }
  )

export interface WritePart {
  write: string
  value: Expression
}

export type Target = Place & ({ variable: string } | { parts: NameParts })

export type Key = number | string | boolean

export type Statement = Place &
  (
    | { kind: 'store'; value: Expression; unit?: { name: string; place: Place }; targets: Target[] }
    | { kind: 'flags'; value: Expression; items: FlagItem[] }
    | { kind: 'skip' | 'seek'; value: Expression }
    | { kind: 'pass'; count: number }
    | { kind: 'match'; bytes: string }
    | { kind: 'window'; size: Expression; body: Statement[] }
    | { kind: 'inside'; value: Expression; body: Statement[] }
    | { kind: 'within' | 'each' | 'fields'; separator: string; body: Statement[] }
    | { kind: 'field'; body: Statement[] }
    | { kind: 'repeat'; count: Expression; body: Statement[] }
    | { kind: 'while'; condition: Expression; body: Statement[] }
    | { kind: 'if'; condition: Expression; body: Statement[]; otherwise: Statement[] }
    | { kind: 'try'; body: Statement[]; otherwise: Statement[] }
    | {
        kind: 'switch'
        value: Expression
        cases: (Place & { values: Key[]; body: Statement[] })[]
        otherwise: Statement[]
      }
    | { kind: 'message'; body: Statement[] }
    | { kind: 'call'; name: string; args: Expression[] }
    | { kind: 'lookup'; table: string; key: Expression; otherwise: Statement[] }
    | { kind: 'reply'; parts: WritePart[] }
    | { kind: 'login' | 'packet'; value: Expression }
    | { kind: 'answer'; key: Expression; text: Expression }
    | { kind: 'fail'; code: string; reason: Expression }
    | { kind: 'close' | 'return' | 'break' | 'discard' }
  )

/** One bit or a range of bits and where it goes. */
export interface FlagItem extends Place {
  from: number
  to: number
  inverted: boolean
  targets: Target[]
}

/** How long a packet is. */
export type FrameSize =
  | { kind: 'fixed'; bytes: number }
  /** A number of fixed size at an offset. */
  | { kind: 'field'; read: Kind; at: number; mask: number; plus: number }
  /** A number in text at an offset: so many digits, or up to a separator. */
  | { kind: 'digits'; base: 10 | 16; at: number; digits: number; until: string; plus: number }
  /** Up to an ending (bytes in hex), and so many bytes behind it. */
  | { kind: 'line'; endings: string[]; extra: number }
  /** A sub-routine tells. */
  | { kind: 'measure'; sub: string }
  /** An HTTP request. */
  | { kind: 'http' }
  /** All of a datagram. */
  | { kind: 'whole' }

export type Transport = 'tcp' | 'udp'

/** One way in which a packet begins. */
export interface FrameRule extends Place {
  /** Bytes that the packet starts with, in hex; empty: any. */
  prefix: string
  transports: Transport[]
  size: FrameSize
  min: number
  max: number
  /** Sequences that stand for bytes, each in hex. */
  escapes: [from: string, to: string][]
  entry: string
}

export interface TableEntry extends Place {
  keys: Key[]
  body: Statement[]
}

export interface EnumEntry extends Place {
  keys: Key[]
  value: number | string | boolean
}

export interface Command extends Place {
  parameters: string[]
  title: string
  body: Statement[]
  key: Expression | undefined
  file: string
}

export interface Description {
  name: string
  header: Record<string, string | number>
  frames: FrameRule[]
  /** Bytes that may stand between packets, in hex. */
  junk: string
  tables: Map<string, { entries: TableEntry[]; file: string }>
  enums: Map<string, { entries: EnumEntry[]; otherwise: number | string | boolean | null; file: string }>
  subs: Map<string, { parameters: string[]; body: Statement[]; place: Place; file: string }>
  commands: Map<string, Command>
  /** Variables that live as long as the session, with their first values. */
  session: Map<string, number | string | boolean | null>
}
