import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { temporaryFolder } from '#services/common/testing.ts'
import { disassemble } from './asm.ts'
import { compile } from './compile.ts'
import { debugAll, traceOf } from './debug.ts'
import { format } from './fmt.ts'
import { grammar } from './grammar.ts'
import { folder, loadProtocol, protocolFile, protocolNames } from './protocols.ts'
import { Session } from './session.ts'

const cli = join(import.meta.dirname, 'cli.ts')
const pvm = (...args: string[]) => execFileSync(process.execPath, [cli, ...args], { encoding: 'utf8' })
const session = (name: string) => readFileSync(join(folder, `${name}.session`), 'utf8')

test('fmt does not change what a description means, and has nothing to do a second time', (t) => {
  for (const name of protocolNames()) {
    const file = protocolFile(name)
    const formatted = format(readFileSync(file, 'utf8'))
    t.is(format(formatted), formatted, name)
    const program = (text?: string) => disassemble({ ...compile(file, text), lines: new Map() })
    t.is(program(formatted), program(), name)
  }
  t.is(
    format('sub a{\n u8->$x;u16   -> $y # why\n\n\n if $x=="a{" {skip 1}\n}\n\n'),
    'sub a {\n  u8 -> $x; u16 -> $y  # why\n\n  if $x=="a{" { skip 1 }\n}\n',
  )
})

test('fmt --check fails where there is something to do, and changes nothing', (t) => {
  const { path, remove } = temporaryFolder()
  const file = join(path, 'x.pvm')
  writeFileSync(file, 'sub a {\nskip 1\n}\n')
  const ran = spawnSync(process.execPath, [cli, 'fmt', '--check', file], { encoding: 'utf8' })
  t.deepEqual([ran.status, readFileSync(file, 'utf8')], [1, 'sub a {\nskip 1\n}\n'])
  pvm('fmt', file)
  t.is(readFileSync(file, 'utf8'), 'sub a {\n  skip 1\n}\n')
  remove()
})

test('new: a description to begin with compiles, decodes its session and is formatted', (t) => {
  const { path, remove } = temporaryFolder()
  for (const [name, ...flags] of [['first'], ['second', '--text']] as const) {
    t.is(
      pvm('new', name, ...flags, '--folder', path)
        .trim()
        .split('\n').length,
      3,
    )
    const file = join(path, `${name}.pvm`)
    t.is(format(readFileSync(file, 'utf8')), readFileSync(file, 'utf8'))
    t.regex(pvm('check', file), /fine/)
    const expected = readFileSync(join(path, `${name}.expected`), 'utf8')
    t.false(expected.includes('error'))
    t.regex(expected, /"position.latitude":/)
    const again = spawnSync(process.execPath, [cli, 'new', name, '--folder', path], { encoding: 'utf8' })
    t.deepEqual([again.status, /is there already/.test(again.stderr)], [1, true])
  }
  remove()
})

test('decode --trace: each parameter has the bytes that it came from', (t) => {
  const [, packet] = traceOf('teltonika', session('teltonika'), { now: '1700000000' }) as {
    messages: Record<string, unknown>[]
    trace: { parameter: string; value: unknown; from?: number; to?: number; bytes?: string; line: string }[]
  }[]
  const of = (name: string) => packet?.trace.find(({ parameter }) => parameter === name)
  t.like(of('timestamp'), { from: 10, to: 18, bytes: '0000016b40d8ea30' })
  t.like(of('position.valid'), { from: 31, to: 32, value: false })
  t.like(of('external.powersource.voltage'), {
    bytes: '5e0f',
    line: /tables\/teltonika\.pvm:\d+/.exec(of('external.powersource.voltage')?.line ?? '')?.[0],
  })
  t.deepEqual(
    new Set(packet?.trace.map(({ parameter }) => parameter)),
    new Set(Object.keys(packet?.messages[0] ?? {}).filter((name) => name !== 'ident')),
  )
})

test('a traced session decodes the same, for every protocol; every parameter is in its packet', (t) => {
  for (const name of protocolNames()) {
    const expected = readFileSync(join(folder, `${name}.expected`), 'utf8')
      .trimEnd()
      .split('\n')
    const traced = traceOf(name, session(name), { now: '1700000000' }) as {
      messages: object[]
      trace: { from?: number; to?: number }[]
    }[]
    t.deepEqual(
      traced.map(({ messages }) => JSON.parse(JSON.stringify(messages))).filter((messages) => messages.length > 0)
        .length > 0,
      expected.some((line) => JSON.parse(line).messages.length > 0),
      name,
    )
    for (const { trace } of traced)
      for (const { from, to } of trace)
        if (from !== undefined && to !== undefined && !(from <= to)) t.fail(`${name}: ${from}..${to}`)
  }
})

test('debug --all: every step with its bytes, its line and what it made', (t) => {
  const text = debugAll('teltonika', session('teltonika'), { now: '1700000000' })
  t.regex(text, /packet 1: 17 bytes\n {2}0\.\.17 +000f333536333037… +teltonika\.pvm:\d+ +skip 2; digits -> \$imei/)
  t.regex(text, /position\.satellites = 0\n/)
  t.regex(text, / 1 messages, answer 00000001\n/)
  t.regex(text, /error checksum: the CRC of the packet is wrong/)
})

test('encode: the bytes of a command; without one, the commands', (t) => {
  t.is(pvm('encode', 'teltonika', 'custom', 'text=getinfo'), '000000000000000f0c010500000007676574696e666f0100004312\n')
  t.regex(pvm('encode', 'teltonika'), /^custom text=… +A text for the device/)
  const ran = spawnSync(process.execPath, [cli, 'encode', 'teltonika', 'custom'], { encoding: 'utf8' })
  t.deepEqual([ran.status, ran.stderr], [1, 'pvm: the command "custom" needs "text"\n'])
})

test('a command is answered by the packet that answers it', (t) => {
  const device = new Session(loadProtocol('teltonika'), { ident: '356307042441013' })
  const { id } = device.command('custom', { text: 'getver' })
  const answer = Buffer.from(
    '00000000000000900c010600000088494e493a323031392f372f323220373a3232205254433a323031392f372f323220373a3533205253543a32204552523a312053523a302042523a302043463a302046473a3020464c3a302054553a302f302055543a3020534d533a30204e4f4750533a303a3330204750533a31205341543a302052533a332052463a36352053463a31204d443a30010000c78f',
    'hex',
  )
  const [packet] = device.feed(answer)
  t.is(packet?.answers?.[0]?.id, id)
  t.regex(packet?.answers?.[0]?.text ?? '', /^INI:2019\/7\/22/)
  t.is(device.feed(answer)[0]?.answers, undefined, 'nothing waits any more')
})

test('completion: bash takes the script and completes with it', (t) => {
  const complete = (words: string) =>
    execFileSync(
      'bash',
      [
        '-c',
        `source <(cat); COMP_WORDS=(${words}); COMP_CWORD=$(( \${#COMP_WORDS[@]} - 1 )); _pvm; printf '%s ' "\${COMPREPLY[@]}"`,
      ],
      {
        input: pvm('completion', 'bash'),
        encoding: 'utf8',
      },
    ).trim()
  t.is(complete('pvm de'), 'decode debug')
  t.is(complete('pvm decode teltonika --t'), '--trace')
  t.regex(pvm('completion', 'zsh'), /^#compdef pvm\n/)
})

test('the TextMate grammar in the tree is the one that the tables make, and tells the words apart', (t) => {
  t.deepEqual(
    JSON.parse(readFileSync(join(import.meta.dirname, 'editor/pvm.tmLanguage.json'), 'utf8')),
    JSON.parse(grammar()),
  )
  const { patterns } = JSON.parse(grammar()) as { patterns: { name: string; match?: string }[] }
  const scope = (word: string) => patterns.find(({ match }) => match && new RegExp(`^(?:${match})$`).test(word))?.name
  t.is(scope('# why'), 'comment.line.number-sign.pvm')
  t.is(scope('$id'), 'variable.other.pvm')
  t.is(scope('window'), 'keyword.control.pvm')
  t.is(scope('sub'), 'keyword.other.section.pvm')
  t.is(scope('u16le'), 'storage.type.pvm')
  t.is(scope('crc16_ibm'), 'support.function.pvm')
  t.is(scope('position.speed'), 'entity.name.tag.parameter.pvm')
  t.is(scope('[km/h]'), 'support.constant.unit.pvm')
})
