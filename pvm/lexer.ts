import { PvmError } from './errors.ts'

export type TokenType = 'name' | 'variable' | 'number' | 'string' | 'bytes' | 'unit' | 'sign' | 'newline' | 'end'

export interface Token {
  type: TokenType
  /** The text as it means: a string without quotes, bytes as hex. */
  text: string
  line: number
  column: number
}

/** A description with what errors need to point into it. */
export interface Source {
  file: string
  lines: string[]
}

export function fail(source: Source, at: { line: number; column: number }, message: string, hint?: string): never {
  throw new PvmError(
    message,
    { file: source.file, line: at.line, column: at.column, text: source.lines[at.line - 1] ?? '' },
    hint,
  )
}

const patterns: [TokenType | 'space' | 'comment', RegExp][] = [
  ['space', /[ \t\r]+/y],
  ['comment', /#.*/y],
  ['newline', /\n/y],
  ['bytes', /hex"([0-9a-fA-F\s]*)"/y],
  ['string', /"((?:[^"\\\n]|\\.)*)"/y],
  ['variable', /\$([a-z_][a-z0-9_]*)/y],
  ['number', /0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:e-?\d+)?/y],
  ['unit', /\[([^\]\n]+)\]/y],
  ['name', /[a-zA-Z_][a-zA-Z0-9_]*(?:\.(?:[a-zA-Z0-9_]|\{\$[a-z_][a-z0-9_]*\})+)*/y],
  ['sign', /->|==|!=|<=|>=|<<|>>|&&|\|\||\.\.|[-+*/%&|^<>!(){},:;=]/y],
]

const escapes: Record<string, string> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\', '0': '\0' }

/** Splits a description into tokens. A newline ends a statement, but not inside parentheses. */
export function tokenize(text: string, source: Source): Token[] {
  const tokens: Token[] = []
  let line = 1
  let lineStart = 0
  let parentheses = 0
  let at = 0
  scan: while (at < text.length) {
    for (const [type, pattern] of patterns) {
      pattern.lastIndex = at
      const match = pattern.exec(text)
      if (!match) continue
      const place = { line, column: at - lineStart + 1 }
      at = pattern.lastIndex
      if (type === 'newline') {
        if (parentheses === 0) tokens.push({ type, text: '\n', ...place })
        line++
        lineStart = at
      } else if (type === 'string') {
        const value = (match[1] ?? '').replace(/\\(x[0-9a-fA-F]{2}|.)/g, (_, c: string) => {
          if (c.length > 1) return String.fromCharCode(Number.parseInt(c.slice(1), 16))
          return escapes[c] ?? fail(source, place, `unknown escape \\${c}`, 'known are \\n \\r \\t \\" \\\\ \\0 \\x1a')
        })
        tokens.push({ type, text: value, ...place })
      } else if (type === 'bytes') {
        const value = (match[1] ?? '').replace(/\s/g, '').toLowerCase()
        if (value.length % 2) fail(source, place, 'half a byte', 'two hexadecimal digits are a byte')
        tokens.push({ type, text: value, ...place })
      } else if (type !== 'space' && type !== 'comment') {
        if (match[0] === '(') parentheses++
        if (match[0] === ')') parentheses = Math.max(0, parentheses - 1)
        tokens.push({
          type,
          text: type === 'variable' || type === 'unit' ? (match[1] ?? '').trim() : match[0],
          ...place,
        })
      }
      continue scan
    }
    const place = { line, column: at - lineStart + 1 }
    fail(
      source,
      place,
      `unexpected character ${JSON.stringify(text[at])}`,
      text[at] === '"' ? 'a string ends on its own line' : undefined,
    )
  }
  tokens.push({ type: 'end', text: '', line, column: at - lineStart + 1 })
  return tokens
}
