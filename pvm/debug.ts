/** `pvm debug`: a recorded session step by step: the bytes on one side, the description's line and the parameters on the other. */
import { readFileSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import { readDescription } from './compile.ts'
import { decodeRecorded, type LineAnswer, lineAnswer, parseLine } from './lines.ts'
import { loadProtocol, protocolFile } from './protocols.ts'
import { toolSession } from './score.ts'
import { type Span, type Step, sourceLine, Tracer } from './trace.ts'

/** One packet of the session with all that was done to it. */
interface Traced {
  number: number
  bytes: Uint8Array
  steps: Step[]
  answer: LineAnswer
}

const bytes_a_row = 16
/** Rows of bytes shown around the current one. */
const rows_shown = 16
const left_width = 57

/** Decodes a session file with a tracer; packets that framing alone refused have no steps. */
function traced(name: string, text: string, options: { ident?: string; now?: string }): Traced[] {
  const program = loadProtocol(name)
  const tracer = new Tracer(program)
  const now = options.now === undefined ? undefined : Number(options.now)
  const session = toolSession(program, options.ident, now === undefined ? undefined : () => now, tracer)
  const found: Traced[] = []
  for (const line of text.split('\n')) {
    const packet = parseLine(line)
    if (!packet) continue
    const before = tracer.traces.length
    const answer = lineAnswer(decodeRecorded(session, packet))
    const traces = tracer.traces.slice(before)
    for (const { bytes, steps } of traces.length > 0 ? traces : [{ bytes: new Uint8Array(), steps: [] }])
      found.push({ number: found.length + 1, bytes, steps, answer })
  }
  return found
}

function sourcesOf(name: string): Map<string, string[]> {
  const file = protocolFile(name)
  const { sources } = readDescription(file)
  return new Map(
    [...sources].map(([path, source]) => [relative(dirname(file), path).replaceAll('\\', '/'), source.lines]),
  )
}

const hex = (bytes: Uint8Array, { from, to }: Span) => Buffer.from(bytes.subarray(from, to)).toString('hex')
const shown = (value: unknown) => JSON.stringify(value)

/** What `decode --trace` adds to a packet: every parameter with the bytes that it came from. */
export function traceOf(name: string, text: string, options: { ident?: string; now?: string }): object[] {
  return traced(name, text, options).map(({ answer, bytes, steps }) => ({
    ...answer,
    trace: steps.flatMap((step) =>
      step.stored.map(({ parameter, value, span, line }) => ({
        parameter,
        value,
        ...(span ? { from: span.from, to: span.to, bytes: hex(bytes, span) } : {}),
        line,
      })),
    ),
  }))
}

/** All steps as text: offsets, bytes, place and line of the description, and what was made. */
export function debugAll(name: string, text: string, options: { ident?: string; now?: string }): string {
  const sources = sourcesOf(name)
  const out: string[] = []
  for (const { number, bytes, steps, answer } of traced(name, text, options)) {
    out.push(`packet ${number}: ${bytes.length} bytes`)
    for (const step of steps) {
      const { from, to } = step.span
      const place = to > from ? `${from}..${to}`.padEnd(10) : ''.padEnd(10)
      const read = to > from ? hex(bytes, { from, to: Math.min(to, from + 8) }) + (to > from + 8 ? '…' : '') : ''
      out.push(`  ${place} ${read.padEnd(18)} ${step.line.padEnd(22)} ${sourceLine(step.line, sources)}`)
      for (const [variable, value] of step.variables) out.push(`${' '.repeat(33)}$${variable} = ${shown(value)}`)
      for (const { parameter, value } of step.stored) out.push(`${' '.repeat(33)}${parameter} = ${shown(value)}`)
    }
    out.push(
      `  ${answer.messages.length} messages, answer ${answer.reply ?? 'none'}${answer.error ? `, error ${answer.error}` : ''}`,
    )
  }
  return `${out.join('\n')}\n`
}

/** The bytes in rows, those of the step marked, those passed before dimmed. */
function dump(bytes: Uint8Array, span: Span): string[] {
  const current = Math.floor(span.from / bytes_a_row)
  const first = Math.max(0, Math.min(current - rows_shown / 2, Math.ceil(bytes.length / bytes_a_row) - rows_shown))
  const rows: string[] = []
  for (let row = first; row < first + rows_shown && row * bytes_a_row < bytes.length; row++) {
    let text = `\x1b[2m${(row * bytes_a_row).toString().padStart(6)}\x1b[0m `
    for (let i = row * bytes_a_row; i < (row + 1) * bytes_a_row; i++) {
      const byte = bytes[i]
      const digits = byte === undefined ? '  ' : byte.toString(16).padStart(2, '0')
      if (i >= span.from && i < span.to) text += `\x1b[7m${digits}\x1b[0m `
      else text += i < span.from ? `\x1b[2m${digits}\x1b[0m ` : `${digits} `
    }
    rows.push(text)
  }
  return rows
}

/** What stands right: the lines of the description around the step, and the parameters so far. */
function side(steps: readonly Step[], at: number, sources: ReadonlyMap<string, readonly string[]>): string[] {
  const step = steps[at] as Step
  const [file = '', number = '0'] = step.line.split(':')
  const out = [`\x1b[1m${step.line}\x1b[0m`]
  for (let line = Number(number) - 2; line <= Number(number) + 2; line++) {
    const text = sourceLine(`${file}:${line}`, sources)
    out.push(line === Number(number) ? `\x1b[7m> ${text}\x1b[0m` : `  \x1b[2m${text}\x1b[0m`)
  }
  out.push('')
  for (const [variable, value] of step.variables) out.push(`$${variable} = ${shown(value)}`)
  const stored = steps.slice(0, at + 1).flatMap((one) => one.stored)
  for (const { parameter, value } of stored.slice(-14))
    out.push(
      `${step.stored.some((one) => one.parameter === parameter) ? '\x1b[32m' : ''}${parameter} = ${shown(value)}\x1b[0m`,
    )
  return out
}

/** One screen: packet, step, bytes left, description and parameters right. */
export function screen(
  packet: Traced,
  at: number,
  packets: number,
  sources: ReadonlyMap<string, readonly string[]>,
): string {
  const step = packet.steps[at]
  const head = `packet ${packet.number} of ${packets}, step ${at + 1} of ${packet.steps.length}   n next  p back  N next packet  P packet back  q quit`
  if (!step) return `${head}\n\n${packet.answer.error ?? 'nothing was run'}\n`
  const left = dump(packet.bytes, step.span)
  const right = side(packet.steps, at, sources)
  const out = [head, '']
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const text = left[i] ?? ''
    const visible = left[i] === undefined ? 0 : 7 + bytes_a_row * 3
    out.push(`${text}${' '.repeat(Math.max(1, left_width - visible))}${right[i] ?? ''}`)
  }
  return `${out.join('\n')}\n`
}

/** Steps through a session in the terminal. */
export async function debug(name: string, file: string, options: { ident?: string; now?: string }): Promise<number> {
  const packets = traced(name, readFileSync(file, 'utf8'), options)
  const sources = sourcesOf(name)
  const { stdin, stdout } = process
  if (packets.length === 0) throw new Error(`${file} has no packets`)
  if (!stdin.isTTY) throw new Error('debug steps in a terminal; elsewhere: --all')
  let packet = 0
  let step = 0
  const draw = () => stdout.write(`\x1b[2J\x1b[H${screen(packets[packet] as Traced, step, packets.length, sources)}`)
  const steps = () => (packets[packet] as Traced).steps.length
  const keys: Record<string, () => void> = {
    n: () => {
      if (step + 1 < steps()) step++
      else keys.N?.()
    },
    p: () => {
      if (step > 0) step--
      else if (packet > 0) {
        packet--
        step = Math.max(0, steps() - 1)
      }
    },
    N: () => {
      if (packet + 1 >= packets.length) return
      packet++
      step = 0
    },
    P: () => {
      packet = Math.max(0, packet - 1)
      step = 0
    },
  }
  const aliases: Record<string, string> = {
    ' ': 'n',
    '\r': 'n',
    '\x1b[C': 'n',
    '\x1b[B': 'n',
    '\x1b[D': 'p',
    '\x1b[A': 'p',
  }
  stdin.setRawMode(true)
  stdin.setEncoding('utf8')
  draw()
  try {
    for await (const key of stdin) {
      if (key === 'q' || key === '\x03' || key === '\x04') break
      keys[aliases[String(key)] ?? String(key)]?.()
      draw()
    }
  } finally {
    stdin.setRawMode(false)
    stdout.write('\n')
  }
  return 0
}
