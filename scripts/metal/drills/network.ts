/** Drills of cables and switches: how long nobody hears a server. */
import type { ServerPlan } from '#infra/site/plan.ts'
import { pause } from '../../lab/shell.ts'
import { type Bench, calm_ms } from './bench.ts'
import { type Drill, type Finding, longestPause } from './drill.ts'

/** Looking at the links, the change, and the announcement. */
const gap_max_ms = 200
const silent_gap_max_ms = 500
/** The other way comes back: some seconds until all is as it was. */
const settle_ms = 6_000

/** Echoes of servers while something is broken and mended. */
async function listening(
  bench: Bench,
  servers: readonly ServerPlan[],
  max: number,
  strike: () => Promise<void>,
  mend: () => Promise<void>,
): Promise<Finding> {
  const streams = servers.map((server) => bench.ping(server))
  const from = Date.now()
  let struck = 0
  let mended = 0
  try {
    await bench.calm()
    struck = Date.now()
    await strike()
    await pause(calm_ms)
    mended = Date.now()
    await mend()
    await pause(settle_ms)
  } finally {
    // Ended in any case; what it heard is taken below.
    for (const stream of streams) void stream.stop()
  }
  const heard = await Promise.all(streams.map((stream) => stream.stop()))
  const to = Date.now()
  const rows = heard.map(({ times }) => times)
  const worst = (a: number, b: number) => Math.max(...rows.map((times) => longestPause(times, a, b)))
  return {
    figures: [
      { label: 'before', value: worst(from + calm_ms / 2, struck), unit: 'ms' },
      { label: 'gap', value: worst(struck, mended), unit: 'ms', max },
      { label: 'gap when it is back', value: worst(mended, to), unit: 'ms', max },
    ],
    faults: [],
    rows,
    row: 'server',
    marks: [
      { at: struck, label: 'out' },
      { at: mended, label: 'in again' },
    ],
    from,
    to,
  }
}

/** The switch that most servers' active links are on. */
async function busiestSwitch(bench: Bench): Promise<string> {
  const count = new Map<string, number>()
  for (const server of bench.running) {
    const link = await bench.activeLink(server)
    const nic = server.nics.find(({ name }) => `${server.name}/${name}` === link)!
    count.set(nic.link.switch, (count.get(nic.link.switch) ?? 0) + 1)
  }
  return [...count].toSorted((one, other) => other[1] - one[1])[0]![0]
}

export const networkDrills: readonly Drill[] = [
  {
    name: 'link',
    what: 'the active link of a server is pulled',
    run: async (bench) => {
      const link = await bench.activeLink()
      bench.say(`${link} is pulled`)
      const { metal, server } = bench
      return listening(
        bench,
        [server],
        gap_max_ms,
        () => metal.pull(link),
        async () => void (await metal.push(link)),
      )
    },
    mend: (bench) => bench.metal.restore(),
  },
  {
    name: 'switch',
    what: 'the switch that most servers speak over dies',
    run: async (bench) => {
      const name = await busiestSwitch(bench)
      bench.say(`${name} dies`)
      const { metal, running } = bench
      return listening(
        bench,
        running,
        gap_max_ms,
        () => metal.pull(name),
        async () => void (await metal.push(name)),
      )
    },
    mend: (bench) => bench.metal.restore(),
  },
  {
    name: 'silent',
    what: "the active link's port passes nothing while its light stays on",
    run: async (bench) => {
      const link = await bench.activeLink()
      bench.say(`${link} is silent`)
      const { metal, server } = bench
      return listening(
        bench,
        [server],
        silent_gap_max_ms,
        () => metal.silence(link),
        () => metal.unsilence(link),
      )
    },
    mend: (bench) => bench.metal.restore(),
  },
]
