/** Mutated packets through generated code and interpreter, whole and in pieces: whatever comes, they must agree and end. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { sourceOf } from './jit.ts'
import { bytesOf, parseLine, type Recorded, streamBytes } from './lines.ts'
import { opcode, opcodes } from './opcodes.ts'
import type { Program } from './program.ts'
import { folder, loadProtocol } from './protocols.ts'
import { type Packet, Session } from './session.ts'

export interface FuzzReport {
  protocol: string
  inputs: number
  /** Inputs that generated code and interpreter, or pieces and whole, decode differently; the first ones, as hex. */
  disagreements: { hex: string; how: string }[]
  /** Inputs that threw, with what. */
  crashes: { hex: string; error: string }[]
  /** The longest time of the processor that one sequence of inputs took, and which. */
  longest_ms: number
  longest: string
}

/** Shown of each kind. */
const shown_max = 5
/** Longer inputs are cut: what they are made of comes in shorter ones too. */
const input_bytes_max = 4_096
/** Numbers that length fields and counters break on. */
const edges = [0, 1, 2, 0x7f, 0x80, 0xff, 0xfe, 0x0d, 0x0a, 0x2c, 0x23, 0x24, 0x7e, 0x30, 0x39, 0x2d]

/** The same numbers in [0, 1) for the same seed. */
export function randomNumbers(seed: number): () => number {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) >>> 0
    let t = Math.imul(a ^ (a >>> 15), a | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Packets that inputs are made of: the protocol's fixture, and its reference vectors where they are. */
export function seedPackets(name: string, vectors?: string): Buffer[] {
  const program = loadProtocol(name)
  const packets: Recorded[] = []
  const file = join(folder, `${name}.session`)
  if (existsSync(file))
    for (const line of readFileSync(file, 'utf8').split('\n')) {
      const packet = parseLine(line)
      if (packet) packets.push(packet)
    }
  const reference = vectors === undefined ? '' : join(vectors, `${name}.json`)
  if (reference !== '' && existsSync(reference))
    packets.push(...(JSON.parse(readFileSync(reference, 'utf8')) as { sessions: Recorded[][] }).sessions.flat())
  return packets
    .map((packet) => streamBytes(program, packet) ?? bytesOf(packet))
    .filter((bytes) => bytes.length > 0)
    .map((bytes) => bytes.subarray(0, input_bytes_max))
}

/** One packet changed in a few places, cut, grown, mixed with another, or noise. */
export function mutated(packets: readonly Buffer[], next: () => number): Buffer {
  const pick = (n: number) => Math.floor(next() * n)
  const some = () => packets[pick(packets.length)] as Buffer
  if (next() < 0.02) return Buffer.from(Array.from({ length: pick(200) }, () => pick(256)))
  let bytes = packets.length === 0 ? Buffer.alloc(0) : Buffer.from(some())
  const changes = pick(5)
  for (let i = 0; i < changes && bytes.length > 0; i++) {
    const at = pick(bytes.length)
    const kind = next()
    if (kind < 0.35) bytes[at] = pick(256)
    else if (kind < 0.55) bytes[at] = edges[pick(edges.length)] as number
    else if (kind < 0.65) bytes[at] = (bytes[at] as number) ^ (1 << pick(8))
    else if (kind < 0.75) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + pick(8))])
    else if (kind < 0.85)
      bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at, at + pick(24)), bytes.subarray(at)])
    else if (kind < 0.93) {
      const other = some()
      bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(pick(other.length))])
    } else bytes = bytes.subarray(0, at)
  }
  return bytes.subarray(0, input_bytes_max)
}

/** The program with its checksums let pass: else hardly any mutated packet would get past them. */
export function unchecked(program: Program): Program {
  const [fail, store] = [opcode('fail').code, opcode('store').code]
  const code = [...program.code]
  for (let at = 0; at < code.length; ) {
    const next = at + 1 + (opcodes[code[at] as number]?.operands.length ?? 0)
    if (code[at] === fail && program.constants[code[at + 1] as number] === 'checksum')
      code.splice(at, 2, store, program.slots.length)
    at = next
  }
  return { ...program, code, slots: [...program.slots, ':reason'], initial: [...program.initial, null] }
}

const answer = (packets: Packet[]): string =>
  JSON.stringify(packets, (_, value) => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value))

const clock = { now: () => 1_700_000_000, ident: 'unknown' }

/** What two ways of decoding a sequence of inputs disagree in; undefined: nothing. */
function compare(program: Program, inputs: Buffer[], way: number, next: () => number): string | undefined {
  const fast = new Session(program, clock)
  const slow = new Session(program, { ...clock, interpret: true })
  if (way === 2) {
    const all = Buffer.concat(inputs)
    const pieces: Packet[] = []
    for (let at = 0; at < all.length; ) {
      const size = 1 + Math.floor(next() * 40)
      pieces.push(...fast.feed(all.subarray(at, at + size)))
      at += size
    }
    return answer(pieces) === answer(slow.feed(all)) ? undefined : 'pieces and whole'
  }
  const take = (session: Session, input: Buffer) => {
    if (way === 0) return session.feed(input)
    const packets = way === 1 ? session.packet(input) : session.datagram(input)
    session.resume()
    return packets
  }
  for (const input of inputs)
    if (answer(take(fast, input)) !== answer(take(slow, input))) return 'generated code and interpreter'
  return undefined
}

/** Fuzzes one protocol with `count` inputs; `progress` is told how many are done. */
export function fuzz(
  name: string,
  count: number,
  seed: number,
  options: { vectors?: string; progress?: (done: number) => void } = {},
): FuzzReport {
  return fuzzProgram(loadProtocol(name), seedPackets(name, options.vectors), count, seed, options.progress)
}

/** Fuzzes a program with mutations of some packets. */
export function fuzzProgram(
  program: Program,
  packets: readonly Buffer[],
  count: number,
  seed: number,
  progress?: (done: number) => void,
): FuzzReport {
  const report: FuzzReport = {
    protocol: program.name,
    inputs: 0,
    disagreements: [],
    crashes: [],
    longest_ms: 0,
    longest: '',
  }
  if (sourceOf(program) === undefined)
    report.crashes.push({ hex: '', error: 'no code is generated for this protocol: only the interpreter runs it' })
  const next = randomNumbers(seed)
  const open = unchecked(program)
  while (report.inputs < count) {
    const inputs = Array.from({ length: 1 + Math.floor(next() * 3) }, () => mutated(packets, next))
    const hex = inputs.map((input) => input.toString('hex')).join(' ')
    const started = process.threadCpuUsage()
    try {
      const how = compare(next() < 0.3 ? program : open, inputs, Math.floor(next() * 4), next)
      if (how && report.disagreements.length < shown_max) report.disagreements.push({ hex, how })
    } catch (error) {
      if (report.crashes.length < shown_max)
        report.crashes.push({ hex, error: String((error as Error).stack ?? error) })
    }
    const used = process.threadCpuUsage(started)
    const took = (used.user + used.system) / 1000
    if (took > report.longest_ms) {
      report.longest_ms = took
      report.longest = hex
    }
    report.inputs += inputs.length
    if (report.inputs % 1000 < inputs.length) progress?.(report.inputs)
  }
  return report
}

/** Fuzzes protocols one after another, with a line of progress; gives the exit code. */
export function fuzzAll(names: string[], count: number, seed: number, vectors?: string): number {
  const each = Math.ceil(count / names.length)
  let wrong = 0
  let done = 0
  const started = performance.now()
  for (const [index, name] of names.entries()) {
    const before = done
    const report = fuzz(name, each, seed + index, {
      ...(vectors === undefined ? {} : { vectors }),
      progress: (inputs) => {
        if (!process.stderr.isTTY) return
        const s = (performance.now() - started) / 1000
        process.stderr.write(
          `\r${before + inputs} of ${each * names.length} inputs, ${Math.round((before + inputs) / s)}/s, ${name}   `,
        )
      },
    })
    done += report.inputs
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
    process.stdout.write(
      `${name.padEnd(16)} ${String(report.inputs).padStart(9)} inputs, ${report.disagreements.length} disagreements, ${report.crashes.length} crashes, longest ${report.longest_ms.toFixed(1)} ms\n`,
    )
    for (const { hex, how } of report.disagreements) process.stdout.write(`  ${how}: ${hex}\n`)
    for (const { hex, error } of report.crashes) process.stdout.write(`  ${error}: ${hex}\n`)
    wrong += report.disagreements.length + report.crashes.length
  }
  process.stdout.write(
    `${done} inputs, seed ${seed}, ${((performance.now() - started) / 1000).toFixed(0)} s, ${wrong} wrong\n`,
  )
  return wrong === 0 ? 0 : 1
}
