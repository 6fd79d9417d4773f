import test from 'ava'
import { fuzz } from './fuzz.ts'
import { protocolNames } from './protocols.ts'

/** A slice of what `pvm fuzz --count 10000000` runs. */
const inputs_each = 2_000
const longest_ms_max = 2_000

for (const name of protocolNames()) {
  test(`${name}: generated code and interpreter agree on mutated packets, whole and in pieces`, (t) => {
    const report = fuzz(name, inputs_each, 20_261_125)
    t.deepEqual(report.disagreements, [])
    t.deepEqual(report.crashes, [])
    t.true(report.longest_ms < longest_ms_max, `${report.longest_ms} ms: ${report.longest}`)
  })
}
