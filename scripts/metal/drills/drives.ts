/** Drills of drives: a mirror loses one, gets it back, gets a new one, and starts from each alone. */
import { pause, until } from '../../lab/shell.ts'
import { driveName } from '../qemu.ts'
import type { Bench } from './bench.ts'
import { type Drill, type Finding, longestPause } from './drill.ts'

const stall_max_ms = 500
const watch_ms = 5_000
const rebuild_time_max_ms = 1_800_000
const mirror = '/usr/local/sbin/milepost-mirror'

/** Writes blocks that tell their number, each on the drives before the next; then says when each was, and reads them all back. */
const writer = `
import os, sys, time
file, times = '/var/tmp/milepost-drill', []
fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_DSYNC, 0o600)
block = lambda i: (b'%15d ' % i) * 256
i = 0
while not os.path.exists('/run/milepost-drill-stop'):
    os.pwrite(fd, block(i), (i % 8192) * 4096)
    times.append(time.time())
    i += 1
    time.sleep(0.005)
os.close(fd)
os.sync()
open('/proc/sys/vm/drop_caches', 'w').write('1')
wrong = 0
with open(file, 'rb', buffering=0) as back:
    for place in range(min(i, 8192)):
        newest = place + (i - 1 - place) // 8192 * 8192
        if back.read(4096) != block(newest): wrong += 4096
print(i, wrong)
print(' '.join('%.4f' % t for t in times))
`

interface Written {
  blocks: number
  wrong_bytes: number
  /** ms since 1970 by this machine's clock. */
  times: number[]
}

/** A writer on the server while `work` goes on. */
async function writing(bench: Bench, work: () => Promise<void>): Promise<Written> {
  const { server } = bench
  await bench.ssh(server, `rm -f /run/milepost-drill-stop; cat > /run/milepost-drill.py <<"END"\n${writer}END`)
  // The server's clock is its own.
  const before = Date.now()
  const there = Number(await bench.ssh(server, 'date +%s.%N')) * 1000
  const offset = (before + Date.now()) / 2 - there
  const done = bench.ssh(server, 'python3 /run/milepost-drill.py')
  done.catch(() => {})
  try {
    await bench.calm()
    await work()
  } finally {
    await bench.ssh(server, 'touch /run/milepost-drill-stop').catch(() => {})
  }
  const [head = '', times = ''] = (await done).split('\n')
  const [blocks, wrong] = head.split(' ').map(Number)
  await bench.ssh(server, 'rm -f /var/tmp/milepost-drill /run/milepost-drill*')
  return { blocks: blocks!, wrong_bytes: wrong!, times: times.split(' ').map((s) => Number(s) * 1000 + offset) }
}

interface Mirror {
  /** Name of its device. */
  readonly name: string
  readonly whole: boolean
}

const mirrors = async (bench: Bench) => mirrorsOf(await bench.ssh(bench.server, 'cat /proc/mdstat'))

/** From the text of /proc/mdstat. */
export function mirrorsOf(text: string): Mirror[] {
  return [...text.matchAll(/^(md\S*) : .*\n.*\[(\d+)\/(\d+)\] \[([U_]+)\]/gm)].map(([, name, wanted, there]) => ({
    name: name!,
    whole: wanted === there,
  }))
}

async function untilWhole(bench: Bench): Promise<number> {
  const began = performance.now()
  const look = async () => {
    const all = await mirrors(bench)
    if (all.length === 0) throw new Error(`${bench.server.name} has no mirror`)
    return all.every(({ whole }) => whole)
  }
  bench.say('waiting for the mirror to be whole')
  await until(`the mirror of ${bench.server.name} is whole`, rebuild_time_max_ms, look, 1_000)
  return (performance.now() - began) / 1000
}

/** Reads both drives through and compares them; gives bytes that differ. */
async function differing(bench: Bench): Promise<number> {
  let bytes = 0
  for (const { name } of await mirrors(bench)) {
    bench.say(`${name} is compared`)
    await bench.ssh(bench.server, `sync; echo check > /sys/block/${name}/md/sync_action`)
    const idle = async () => (await bench.ssh(bench.server, `cat /sys/block/${name}/md/sync_action`)).trim() === 'idle'
    await until(`${name} is compared`, rebuild_time_max_ms, idle, 2_000)
    const sectors = Number(await bench.ssh(bench.server, `cat /sys/block/${name}/md/mismatch_cnt`))
    bytes += sectors * 512
  }
  return bytes
}

/** A drive that was in before is taken in again by the tool that the deploy brings. */
const takeIn = (bench: Bench) => bench.ssh(bench.server, `udevadm settle; ${mirror} mend`)

const firstBay = (bench: Bench) => bench.server.drives[0]!
const secondBay = (bench: Bench) => bench.server.drives[1]!
const part = (bench: Bench, bay: number) => `${bench.server.name}/${driveName(bay)}`

/** Whatever is out is in again and mirrored. */
async function restored(bench: Bench): Promise<void> {
  await bench.metal.restore()
  if ((await bench.status()).power === 'off') await bench.metal.power(bench.server.name, 'on')
  await bench.untilUp()
  await takeIn(bench)
  await untilWhole(bench)
}

export const driveDrills: readonly Drill[] = [
  {
    name: 'drive',
    what: 'a drive is pulled under a writer, and put back',
    run: async (bench): Promise<Finding> => {
      await untilWhole(bench)
      const name = part(bench, firstBay(bench).bay)
      const marks: { at: number; label: string }[] = []
      const mark = (label: string) => marks.push({ at: Date.now(), label })
      const from = Date.now()
      let resynced_s = 0
      const written = await writing(bench, async () => {
        mark('out')
        bench.say(`${name} is pulled`)
        await bench.metal.pull(name)
        await pause(watch_ms)
        mark('in again')
        await bench.metal.push(name)
        await pause(1_000)
        await takeIn(bench)
        resynced_s = await untilWhole(bench)
        mark('whole')
      })
      const to = Date.now()
      return {
        figures: [
          {
            label: 'stall',
            value: longestPause(written.times, marks[0]!.at, marks[1]!.at),
            unit: 'ms',
            max: stall_max_ms,
          },
          { label: 'blocks', value: written.blocks, unit: '' },
          { label: 'wrong', value: written.wrong_bytes, unit: 'bytes', max: 0 },
          { label: 'whole again after', value: resynced_s, unit: 's' },
          { label: 'drives differ in', value: await differing(bench), unit: 'bytes', max: 0 },
        ],
        faults: written.blocks === 0 ? ['nothing was written'] : [],
        rows: [written.times],
        row: 'writer',
        marks,
        from,
        to,
      }
    },
    mend: restored,
  },
  {
    name: 'replace',
    what: 'a drive is replaced by a blank one',
    run: async (bench): Promise<Finding> => {
      await untilWhole(bench)
      const { bay, serial } = secondBay(bench)
      const name = part(bench, bay)
      await bench.metal.pull(name)
      await pause(2_000)
      // A new drive has a serial of its own, which the site file is told; here it says the old one, and the file stays as it is.
      await bench.metal.pushBlank(name, serial)
      await pause(1_000)
      const began = performance.now()
      await bench.ssh(bench.server, `udevadm settle; ${mirror} replace ${serial}`)
      await untilWhole(bench)
      const rebuilt_s = (performance.now() - began) / 1000
      return {
        figures: [
          { label: 'rebuilt in', value: rebuilt_s, unit: 's' },
          { label: 'drives differ in', value: await differing(bench), unit: 'bytes', max: 0 },
        ],
        faults: [],
      }
    },
    mend: restored,
  },
  {
    name: 'each-drive',
    what: 'the server starts from each of its drives alone',
    run: async (bench): Promise<Finding> => {
      await untilWhole(bench)
      const figures: Finding['figures'][number][] = []
      for (const { bay } of bench.server.drives) {
        const other = bench.server.drives.find((one) => one.bay !== bay)!
        await bench.shutDown()
        await bench.metal.pull(part(bench, other.bay))
        bench.say(`${bench.server.name} starts from ${driveName(bay)} alone`)
        await bench.metal.power(bench.server.name, 'on')
        figures.push({ label: `up from ${driveName(bay)} after`, value: (await bench.untilUp()) / 1000, unit: 's' })
        await bench.metal.push(part(bench, other.bay))
        await pause(1_000)
        await takeIn(bench)
        await untilWhole(bench)
      }
      return { figures, faults: [] }
    },
    mend: restored,
  },
]
