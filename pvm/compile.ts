import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Description, Place } from './ast.ts'
import { CodeWriter } from './codegen.ts'
import { fail, type Source } from './lexer.ts'
import { packet_bytes_max } from './limits.ts'
import { parse } from './parser.ts'
import type { Frame, Program, Size } from './program.ts'

export type { Constant, Frame, Program } from './program.ts'

/** Reads a description and all it uses. `text`: in place of the file's. */
export function readDescription(
  file: string,
  text?: string,
): { description: Description; sources: Map<string, Source> } {
  const description: Description = {
    name: '',
    header: {},
    frames: [],
    junk: '',
    tables: new Map(),
    enums: new Map(),
    subs: new Map(),
    commands: new Map(),
    session: new Map(),
  }
  const sources = new Map<string, Source>()
  const read = (path: string, given?: string) => {
    if (sources.has(path)) return
    const content = given ?? readFileSync(path, 'utf8')
    sources.set(path, { file: path, lines: content.split('\n') })
    parse(content, path, description, (used, refuse) => {
      try {
        read(resolve(dirname(path), used))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
        refuse(`"${used}" cannot be read`)
      }
    })
  }
  read(resolve(file), text)
  return { description, sources }
}

/** Compiles a description's file (or `text` in its place). Throws PvmError with the place of the first mistake. */
export function compile(file: string, text?: string): Program {
  const { description, sources } = readDescription(file, text)
  const main = sources.get(resolve(file)) as Source
  const top: Place = { line: 1, column: 1 }
  if (description.name === '') fail(main, top, 'there is no protocol', 'begin with: protocol NAME { title "…" }')
  if (description.frames.length === 0) fail(main, top, 'there is no frame', 'frame { … } says where a packet ends')
  const writer = new CodeWriter(description, sources, main)
  writer.all()
  const { program } = writer
  program.junk = description.junk
  for (const rule of description.frames) {
    if (rule.max > packet_bytes_max) fail(main, rule, `max ${rule.max} is above ${packet_bytes_max}`)
    const entry = writer.address(rule.entry, rule, main)
    const size: Size =
      rule.size.kind === 'measure'
        ? { kind: 'measure', entry: writer.address(rule.size.sub, rule, main) }
        : (rule.size as Size)
    const frame: Frame = {
      transports: rule.transports,
      prefix: rule.prefix,
      size,
      min: rule.min,
      max: rule.max,
      escapes: rule.escapes,
      entry,
    }
    program.frames.push(frame)
  }
  return program
}
