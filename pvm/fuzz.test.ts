import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import { fuzz } from './fuzz.ts'
import { protocolNames } from './protocols.ts'

/** A slice of what `pvm fuzz --count 10000000` runs, shared among the protocols. */
const inputs = 40_000
const inputs_each = Math.ceil(inputs / protocolNames().length)
const longest_ms_max = 2_000

for (const name of protocolNames()) {
  test(`${name}: generated code and interpreter agree on mutated packets, whole and in pieces`, async (t) => {
    // Lets ava hear of the tests before.
    await setImmediate()
    const report = fuzz(name, inputs_each, 20_261_125)
    t.deepEqual(report.disagreements, [])
    t.deepEqual(report.crashes, [])
    t.true(report.longest_ms < longest_ms_max, `${report.longest_ms} ms: ${report.longest}`)
  })
}
