/** A mistake in a description: where it is, and what to do. */
export class PvmError extends Error {
  readonly file: string
  readonly line: number
  readonly column: number
  readonly hint: string | undefined

  constructor(message: string, place: { file: string; line: number; column: number; text?: string }, hint?: string) {
    const caret = place.text === undefined ? '' : `\n  ${place.text}\n  ${' '.repeat(Math.max(0, place.column - 1))}^`
    super(`${place.file}:${place.line}:${place.column}: ${message}${caret}${hint ? `\n  hint: ${hint}` : ''}`)
    this.name = 'PvmError'
    this.file = place.file
    this.line = place.line
    this.column = place.column
    this.hint = hint
  }
}

/** Why a packet was not decoded. Codes are stable. */
export type FaultCode =
  | 'malformed'
  | 'too_long'
  | 'unframed'
  | 'checksum'
  | 'unsupported'
  | 'refused'
  | 'fuel'
  | 'incomplete'

/** A packet that does not fit its description: the device's fault, thrown inside the machine only. */
export class Fault extends Error {
  readonly code: string
  constructor(code: FaultCode | (string & {}), reason: string) {
    super(reason)
    this.code = code
  }
}
