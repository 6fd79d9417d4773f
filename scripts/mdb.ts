/** `npm run mdb -- …`: looks at MDB's stores, copies and compacts them, and tries them out. */
import { parseArgs } from 'node:util'
import { check } from './mdb/check.ts'
import { compact } from './mdb/compact.ts'
import { copy } from './mdb/copy.ts'
import { crash } from './mdb/crash.ts'
import { flips } from './mdb/flips.ts'
import { dump, stat } from './mdb/look.ts'
import { powerCuts } from './mdb/power.ts'
import { runTorture } from './mdb/torture.ts'

const help = `usage: npm run mdb -- COMMAND [options]

A STORE is the folder of an lmdb store (…/mdb-1/store), or cassandra:FILE with the client's settings as JSON.

  check STORE            reads everything and names what is damaged; exit code 1 if something is
  stat STORE             containers, records, bytes and pages
  dump STORE             records as NDJSON: --container ID [--from S] [--to S] [--reverse] [--count N]
  compact STORE          merges all pages, and writes the file anew without free space (lmdb; MDB must be stopped)
  copy STORE STORE       containers with their pages into another store; run again, it takes up where it was
                         [--containers ID,ID]

Trials, each in a folder of its own that goes afterwards:

  torture                random operations against a sorted array: [--operations N (100000)] [--seed N] [--store STORE]
                         [--jobs N (1)]: trials side by side, with seeds from that one on
  crash                  kill -9 of a process that appends, merges and expires, against a ledger: [--kills N (100)] [--seed N]
  power                  power cuts: what was not synced is lost, in part or whole, at any write: [--cuts N (1000)] [--seed N]
                         needs gcc
  flips                  bits flipped in a store's file: each is found, or does no harm: [--flips N (500)] [--seed N]
`

const number = { type: 'string' } as const

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    help: { type: 'boolean', short: 'h' },
    container: number,
    containers: number,
    from: number,
    to: number,
    count: number,
    reverse: { type: 'boolean', default: false },
    operations: number,
    jobs: number,
    seed: number,
    store: number,
    kills: number,
    cuts: number,
    flips: number,
    inner: { type: 'boolean', default: false },
  },
})

/** A number of the command line, or what it is without. */
function numberOf(name: Exclude<keyof typeof values, 'help' | 'reverse' | 'inner'>, otherwise: number): number {
  const text = values[name]
  const value = text === undefined ? otherwise : Number(text)
  if (!Number.isFinite(value) || value < 0) throw new Error(`--${name} ${text}: a number, 0 or above`)
  return value
}

function storeOf(at: number): string {
  const place = positionals[at]
  if (place === undefined) throw new Error(`${positionals[0]}: which store? Its folder, or cassandra:FILE`)
  return place
}

const seed = () => numberOf('seed', Math.floor(Math.random() * 1e9))

const commands: Record<string, () => Promise<number>> = {
  check: () => check(storeOf(1), values.inner),
  stat: () => stat(storeOf(1)),
  dump: () => {
    if (values.container === undefined) throw new Error('dump: --container ID is missing; stat lists them')
    const { reverse } = values
    const count = values.count === undefined ? {} : { count: numberOf('count', 0) }
    return dump(storeOf(1), numberOf('container', 0), {
      from: numberOf('from', 0),
      to: numberOf('to', 7e9),
      reverse,
      ...count,
    })
  },
  compact: () => compact(storeOf(1)),
  copy: () => copy(storeOf(1), storeOf(2), values.containers?.split(',').map(Number)),
  torture: () =>
    runTorture({
      operations: numberOf('operations', 100_000),
      seed: seed(),
      jobs: numberOf('jobs', 1),
      store: values.store,
    }),
  crash: () => crash(numberOf('kills', 100), seed()),
  power: () => powerCuts(numberOf('cuts', 1_000), seed()),
  flips: () => flips(numberOf('flips', 500), seed()),
}

const command = positionals[0]
if (values.help || command === undefined) process.stdout.write(help)
else if (!Object.hasOwn(commands, command)) {
  process.stderr.write(`there is no command "${command}"\n\n${help}`)
  process.exitCode = 2
} else {
  try {
    process.exitCode = await commands[command]!()
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    process.exitCode = 2
  }
}
