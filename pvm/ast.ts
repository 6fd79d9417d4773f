/** What a description says, as the parser understands it. */
import type { Kind } from './opcodes.ts'

export interface Place {
  line: number
  column: number
}

export type Expression = Place &
  (
    | { kind: 'constant'; value: number | string | boolean | null }
    | { kind: 'variable'; name: string }
    | { kind: 'read'; read: Kind; size?: Expression }
    | { kind: 'until'; separator: string }
    | { kind: 'call'; name: string; args: Expression[] }
    | { kind: 'unary'; operator: '-' | '!'; operand: Expression }
    | { kind: 'binary'; operator: string; left: Expression; right: Expression }
    | { kind: 'name'; parts: (string | { variable: string })[] }
  )

export type Target = Place & ({ variable: string } | { parts: (string | { variable: string })[] })

export type Statement = Place &
  (
    | { kind: 'store'; value: Expression; targets: Target[] }
    | { kind: 'skip' | 'seek'; value: Expression }
    | { kind: 'match'; bytes: string }
    | { kind: 'window'; size: Expression; body: Statement[] }
    | { kind: 'within'; separator: string; body: Statement[] }
    | { kind: 'each'; separator: string; body: Statement[] }
    | { kind: 'repeat'; count: Expression; body: Statement[] }
    | { kind: 'while'; condition: Expression; body: Statement[] }
    | { kind: 'if'; condition: Expression; body: Statement[]; otherwise: Statement[] }
    | {
        kind: 'switch'
        value: Expression
        cases: { values: (number | string)[]; body: Statement[] }[]
        otherwise: Statement[]
      }
    | { kind: 'message'; body: Statement[] }
    | { kind: 'call'; name: string }
    | { kind: 'lookup'; table: string; key: Expression; otherwise: Statement[] }
    | { kind: 'reply'; parts: { write: string; value: Expression }[] }
    | { kind: 'login'; value: Expression }
    | { kind: 'fail'; code: string; reason: Expression }
    | { kind: 'close' | 'return' }
  )

/** One way in which a packet begins. */
export interface FrameRule extends Place {
  /** Bytes that the packet starts with, in hex; empty: any. */
  prefix: string
  /** Fixed size, a size from a length field, or a line with its ending. */
  size: { fixed: number } | { field: Kind; at: number; plus: number } | { ending: string }
  min: number
  max: number
  entry: string
}

export interface TableEntry extends Place {
  keys: (number | string)[]
  body: Statement[]
}

export interface Description {
  name: string
  header: Record<string, string | number>
  frames: FrameRule[]
  tables: Map<string, { entries: TableEntry[]; file: string }>
  subs: Map<string, { body: Statement[]; place: Place; file: string }>
  /** Variables that live as long as the session. */
  session: Set<string>
}
