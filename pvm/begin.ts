/** `pvm new`: a description to begin with, and a session that it decodes. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { compile } from './compile.ts'
import { decodeRecorded, lineAnswer, parseLine } from './lines.ts'
import { toolSession } from './score.ts'

const header = (name: string) => `# What the device is, and what it sends.
protocol ${name} {
  title "${name}"
  maker "Who makes it"
  document "Name and version of the maker's document"
  version 1
  transports "tcp"
  port 5999
}
`

const binary = (name: string) => `${header(name)}
frame {
  hex"7878" size u8 at 2 + 3 -> packet
}

# 78 78, length, kind, then what the kind says.
sub packet {
  skip 3
  u8 -> $kind
  switch $kind {
    1 {
      login hex(8)
      reply hex"7878", u8 1, u8 choose(accepted, 1, 0)
    }
    2 { call position }
    else { fail unsupported "packets of kind " + $kind }
  }
}

sub position {
  message {
    u32 -> timestamp
    i32 / 1e6 -> position.latitude
    i32 / 1e6 -> position.longitude
    u8 [knots] -> position.speed
    flags u8 { 0 -> engine.ignition.status; 1 -> position.valid }
    while left > 0 {
      u8 -> $id
      window u8 { lookup io $id else { uint -> io.{$id} } }
    }
  }
}

table io {
  1: uint [mV] -> external.powersource.voltage
}
`

const text = (name: string) => `${header(name)}
frame {
  skip "\\r\\n"
  "$" line "#" -> packet
}

# $ID,DDMMYY,HHMMSS,A,DDMM.MMMM,N,DDDMM.MMMM,E,KNOTS,COURSE#
sub packet {
  skip 1
  fields "," {
    login text
    message {
      date(text + text, "ddMMyyHHmmss") -> timestamp
      text == "A" -> position.valid
      dm(text, text) -> position.latitude
      dm(text, text) -> position.longitude
      dec [knots] -> position.speed
      dec -> position.direction
    }
  }
  reply "$OK#"
}
`

const binarySession = `hex:7878 09 01 0123456789012345
hex:7878 13 02 5bec1a1f 0352c1ce 023ea07e 0a 03 01 02 2ee0 07 00
`
const textSession = `text:$123456789012345,181126,080000,A,2234.9273,N,11354.3980,E,10.5,90#
`

/** Writes NAME.pvm, NAME.session and NAME.expected; gives their names. Throws when there is such a protocol. */
export function begin(name: string, ofText: boolean, folder: string): string[] {
  if (!/^[a-z]\w{1,40}$/i.test(name)) throw new Error(`"${name}" is no name of a protocol: letters and digits`)
  const files = ['pvm', 'session', 'expected'].map((ending) => join(folder, `${name}.${ending}`))
  for (const file of files) if (existsSync(file)) throw new Error(`${file} is there already`)
  const [description, session, expected] = files as [string, string, string]
  const lines = ofText ? textSession : binarySession
  writeFileSync(description, ofText ? text(name) : binary(name))
  writeFileSync(session, lines)
  const device = toolSession(compile(description), 'unknown', () => 1_700_000_000)
  const answers = lines.split('\n').flatMap((line) => {
    const packet = parseLine(line)
    return packet ? [`${JSON.stringify(lineAnswer(decodeRecorded(device, packet)))}\n`] : []
  })
  writeFileSync(expected, answers.join(''))
  return files
}
