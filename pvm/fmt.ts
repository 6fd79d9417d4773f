/** `pvm fmt`: a description as all descriptions are written: indented by its braces, one space between words. */

/** Splits a line into code and its comment; a # inside of quotes is none. */
function parts(line: string): [code: string, comment: string] {
  let quoted = false
  for (let i = 0; i < line.length; i++) {
    if (line[i] === '\\' && quoted) i++
    else if (line[i] === '"') quoted = !quoted
    else if (line[i] === '#' && !quoted) return [line.slice(0, i), line.slice(i)]
  }
  return [line, '']
}

/** Code outside of quotes and of names with variables, changed. */
const outside = (code: string, change: (text: string) => string) =>
  code
    .split(/("(?:[^"\\]|\\.)*"|[\w.]*(?:\{\$[a-z_][a-z0-9_]*\}[\w.]*)+)/)
    .map((text, i) => (i % 2 === 1 ? text : change(text)))
    .join('')

const bare = (code: string) => code.replace(/"(?:[^"\\]|\\.)*"/g, '')

/** One line with one space between words, around arrows and inside of braces. */
function spaced(code: string): string {
  return outside(code, (text) =>
    text
      .replace(/[ \t]+/g, ' ')
      .replace(/ ?-> ?/g, ' -> ')
      .replace(/ ?\{ ?/g, ' { ')
      .replace(/ ?\} ?/g, ' } ')
      .replace(/ ?; ?/g, '; ')
      .replace(/ ?, ?/g, ', ')
      .replace(/ {2,}/g, ' '),
  ).trim()
}

/** The text of a description, formatted. What it means does not change. */
export function format(text: string): string {
  const out: string[] = []
  let depth = 0
  for (const raw of text.split('\n')) {
    const [code, comment] = parts(raw.trim())
    const line = spaced(code)
    const names = bare(line).replace(/\{\$[a-z_][a-z0-9_]*\}/g, '')
    const closing = /^\}*/.exec(names.replace(/\s/g, ''))?.[0].length ?? 0
    const written = [line, comment.trim()].filter((part) => part !== '').join(line === '' ? '' : '  ')
    if (written === '') {
      if (out.length > 0 && out.at(-1) !== '') out.push('')
      continue
    }
    out.push(' '.repeat(Math.max(0, depth - closing) * 2) + written)
    for (const brace of names) depth += brace === '{' ? 1 : brace === '}' ? -1 : 0
  }
  while (out.at(-1) === '') out.pop()
  return `${out.join('\n')}\n`
}
