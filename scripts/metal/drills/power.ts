/** Drills of power: feeds, fencing through the BMC, the watchdog. */
import type { ServerPlan } from '#infra/site/plan.ts'
import { pause, until } from '../../lab/shell.ts'
import { readSecret } from '../../secrets.ts'
import { type Bench, calm_ms } from './bench.ts'
import { type Drill, type Finding, longestPause } from './drill.ts'

const gap_max_ms = 200
const fence_max_s = 10
const alert_time_max_ms = 60_000
/** Both its own time-out and the time the kernel takes to be sure. */
const watchdog_time_max_ms = 120_000

/** What the server says of its own supplies, in figures for Prometheus. */
const ownFigures = (bench: Bench, server: ServerPlan) =>
  bench.ssh(
    server,
    'systemctl start milepost-power.service; cat /var/lib/prometheus/node-exporter/milepost-power.prom',
    [1, 2],
  )

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1000
}

/** Current back on all feeds, and every server that was on. */
async function restored(bench: Bench): Promise<void> {
  await bench.metal.restore()
  for (const server of bench.running) {
    if ((await bench.status(server)).power === 'off') await bench.metal.power(server.name, 'on')
    await bench.untilUp(server)
  }
}

/** Switches a server by its BMC: from another server as the cluster does, else from the desk. */
async function fence(bench: Bench, action: 'off' | 'on'): Promise<{ from: string; s: number }> {
  const { server, running, ground } = bench
  const peer = running.find(({ name }) => name !== server.name)
  const { paths, user, secret } = server.bmc
  const { address, port } = paths[0]!
  const password = readSecret(ground.site, secret)
  if (!peer) {
    const s = await seconds(async () => {
      await bench.ipmi(server, ['chassis', 'power', action])
      await until(
        `it is ${action}`,
        60_000,
        async () => (await bench.ipmi(server, ['chassis', 'power', 'status'])).includes(action),
        100,
      )
    })
    return { from: "the operator's desk", s }
  }
  // The password goes over the standard input, as Pacemaker gives it.
  const words = [
    `ipaddr=${address}`,
    `ipport=${port}`,
    `login=${user}`,
    `passwd=${password}`,
    'lanplus=1',
    'cipher=3',
    `action=${action}`,
  ]
  const s = await seconds(() => bench.ssh(peer, `printf '%s\\n' ${words.join(' ')} | fence_ipmilan`))
  return { from: peer.name, s }
}

export const powerDrills: readonly Drill[] = [
  {
    name: 'feed',
    what: 'one of two feeds fails: an alert and nothing else',
    run: async (bench): Promise<Finding> => {
      const feed = bench.topology.plan.feeds[0]!.name
      const { server, running, metal } = bench
      const supply = server.power.find((one) => one.feed === feed)!.supply
      const before = await Promise.all(running.map((one) => bench.status(one)))
      const stream = bench.ping(server)
      const from = Date.now()
      await bench.calm()
      const struck = Date.now()
      await metal.pull(`feed/${feed}`)
      const alert_s = await seconds(() =>
        until(
          'the BMC tells of the lost input',
          alert_time_max_ms,
          async () =>
            new RegExp(`${supply} input.*AC lost`).test(await bench.ipmi(server, ['sdr', 'type', 'Power Supply'])),
          200,
        ),
      )
      const faults: string[] = []
      if (!/Power Supply AC lost/.test(await bench.ipmi(server, ['sel', 'elist'])))
        faults.push('the event log says nothing')
      const own = await ownFigures(bench, server).catch((error: Error) => error.message)
      if (!new RegExp(`milepost_power_supply_up\\{supply="${supply}",feed="${feed}"\\} 0`).test(own))
        faults.push(`${server.name} itself does not tell: ${own.trim().split('\n').at(-1)}`)
      await pause(calm_ms)
      const mended = Date.now()
      await metal.push(`feed/${feed}`)
      await pause(calm_ms)
      const { times } = await stream.stop()
      const to = Date.now()
      for (const [i, one] of running.entries()) {
        const now = await bench.status(one)
        if (now.power === 'off' || now.boots !== before[i]!.boots) faults.push(`${one.name} went down`)
      }
      return {
        figures: [
          { label: 'alert after', value: alert_s, unit: 's' },
          { label: 'gap', value: longestPause(times, struck, to), unit: 'ms', max: gap_max_ms },
        ],
        faults,
        rows: [times],
        row: 'server',
        marks: [
          { at: struck, label: `feed ${feed} fails` },
          { at: mended, label: 'it is back' },
        ],
        from,
        to,
      }
    },
    mend: restored,
  },
  {
    name: 'feeds',
    what: 'both feeds fail: servers and BMCs are dead, and come back with the current',
    run: async (bench): Promise<Finding> => {
      const { plan } = bench.topology
      const faults: string[] = []
      for (const { name } of plan.feeds) await bench.metal.pull(`feed/${name}`)
      const dead = await bench.metal.status()
      for (const { name, power, bmc } of dead.servers)
        if (power === 'on' || bmc.alive) faults.push(`${name} lives without current`)
      await pause(calm_ms)
      const back_s = await seconds(async () => {
        for (const { name } of plan.feeds) await bench.metal.push(`feed/${name}`)
        await Promise.all(bench.running.map((server) => bench.untilUp(server)))
      })
      for (const server of bench.running) {
        const mirror = await bench.ssh(server, 'cat /proc/mdstat')
        if (/\[U_\]|\[_U\]/.test(mirror)) faults.push(`the mirror of ${server.name} is not whole`)
      }
      return { figures: [{ label: 'all up again after', value: back_s, unit: 's' }], faults }
    },
    mend: restored,
  },
  {
    name: 'fence',
    what: 'a server is switched off and on by its BMC, as the cluster does',
    run: async (bench): Promise<Finding> => {
      const off = await fence(bench, 'off')
      const faults = (await bench.status()).power === 'off' ? [] : [`${bench.server.name} is still on`]
      bench.say(`off by ${off.from}`)
      const on = await fence(bench, 'on')
      const up_s = (await bench.untilUp()) / 1000
      return {
        figures: [
          { label: 'off after', value: off.s, unit: 's', max: fence_max_s },
          { label: 'on after', value: on.s, unit: 's' },
          { label: 'up after', value: up_s, unit: 's' },
        ],
        faults,
      }
    },
    mend: restored,
  },
  {
    name: 'watchdog',
    what: 'the kernel hangs and the watchdog resets the server',
    run: async (bench): Promise<Finding> => {
      const { server } = bench
      const armed = (await bench.ssh(server, 'systemctl show --property=RuntimeWatchdogUSec --value')).trim()
      const faults: string[] = []
      if (armed === '0' || armed === 'infinity')
        return { figures: [], faults: [`${server.name}: systemd feeds no watchdog (${armed})`] }
      const { boots } = await bench.status()
      // A panic that nobody reboots from: interrupts are off, nothing is fed any more.
      await bench.ssh(server, 'sysctl -qw kernel.panic=0; (sleep 1; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 &')
      const reset_s = await seconds(() =>
        until('the watchdog fires', watchdog_time_max_ms, async () => (await bench.status()).boots > boots, 200),
      )
      const up_s = (await bench.untilUp()) / 1000
      return {
        figures: [
          { label: 'reset after', value: reset_s, unit: 's' },
          { label: 'up after', value: up_s, unit: 's' },
        ],
        faults,
      }
    },
    mend: restored,
  },
]
