/** Tries the laboratory's own hardware, with nothing deployed on it: npm run lab -- selftest. */
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { table } from '../devices/progress.ts'
import { readSecret } from '../secrets.ts'
import { hardware } from './client.ts'
import { down, leftovers, up } from './lifecycle.ts'
import { namespaceOf, operator, sshConfigFile } from './paths.ts'
import { pinging } from './ping.ts'
import { pause, run, until } from './shell.ts'

/** The bonding driver looks every 100 ms; what it takes to act comes on top, on a machine that is busy with other things too. */
const bond_gap_max_ms = 400
const fence_time_max_s = 5
const boot_time_max_s = 30
const settle_ms = 700

const plan = planOf(lab)
const [first, second] = plan.servers as [(typeof plan.servers)[number], (typeof plan.servers)[number]]
const addressOn = (server: typeof first, network: string) => server.interfaces.find((one) => one.network === network)!

const ssh = (server: string, command: string, accept: number[] = []) =>
  run('ssh', ['-F', sshConfigFile, server, command], { accept })

/** One thing that is tried; gives its figure, throws when it is not so. */
type Trial = [name: string, work: () => Promise<string>]

function demand(so: boolean, words: string): void {
  if (!so) throw new Error(words)
}

const seconds = (began: number) => `${((performance.now() - began) / 1000).toFixed(1)} s`

/** Longest silence of a server, seen from the desk, while something is done to the rack. */
async function silence(server: typeof first, work: () => Promise<void>): Promise<number> {
  const pings = pinging(namespaceOf(operator), server.access.address)
  try {
    await pause(settle_ms)
    await work()
    await pause(settle_ms)
  } finally {
    void pings.stop()
  }
  return (await pings.stop()).gap_ms
}

/** A bond bridges what `part` being pulled and pushed breaks. */
async function bridged(server: typeof first, part: string, look: () => Promise<void>): Promise<string> {
  const out = await silence(server, async () => {
    await hardware.pull(part)
    await pause(settle_ms)
    await look()
  })
  const back = await silence(server, () => hardware.push(part))
  demand(out <= bond_gap_max_ms, `${out} ms of silence at ${part} pulled, ${bond_gap_max_ms} are allowed`)
  demand(back <= bond_gap_max_ms, `${back} ms of silence at ${part} pushed in, ${bond_gap_max_ms} are allowed`)
  return `gap ${out} ms, back ${back} ms`
}

const reaches = async (server: string, address: string) =>
  (
    await run('ssh', ['-F', sshConfigFile, server, `ping -c 1 -W 1 ${address} >/dev/null && echo yes || echo no`])
  ).trim() === 'yes'

/** fence_ipmilan from one server against another's BMC. */
async function fence(from: string, target: typeof first, action: 'on' | 'off' | 'status'): Promise<string> {
  const { paths, user, secret } = target.bmc
  const password = readSecret(plan.site, secret)
  const asked = `fence_ipmilan --lanplus --cipher=3 --power-wait=0 -a ${paths[0]!.address} --ipport=${paths[0]!.port} -l ${user} -p ${password} -o ${action}`
  // Status "off" is exit code 2.
  return ssh(from, `${asked} 2>/dev/null`, [2])
}

const ipmitool = (from: string, target: typeof first, words: string) =>
  ssh(
    from,
    `ipmitool -I lanplus -C 3 -H ${target.bmc.paths[0]!.address} -U ${target.bmc.user} -P ${readSecret(plan.site, target.bmc.secret)} ${words}`,
  )

const serverStatus = async (name: string) => (await hardware.status()).servers.find((one) => one.name === name)!
const booted = (name: string) =>
  until(`${name} is up`, boot_time_max_s * 1000, async () => (await serverStatus(name)).booted)

/** What roles would do, as far as the trials need it: addresses of the networks beside the first. */
async function configure(server: typeof first): Promise<void> {
  const rest = server.interfaces.filter(({ address }) => address !== server.access.address)
  const files = rest.map(
    ({ device, address, prefix }) =>
      `printf '[Match]\\nName=${device}\\n[Network]\\nAddress=${address}/${prefix}\\nConfigureWithoutCarrier=yes\\n' >/etc/systemd/network/50-${device}.network`,
  )
  await ssh(
    server.name,
    `${files.join('; ')}; networkctl reload; for i in 1 2 3 4 5 6 7 8 9; do ip -br addr | grep -c 10.77 | grep -q ${rest.length} && break; sleep 0.1; done`,
  )
}

const trials: Trial[] = [
  [
    'every server lets people in over SSH, by its own key and name',
    async () => {
      const began = performance.now()
      const names = await Promise.all(plan.servers.map(({ name }) => ssh(name, 'hostname')))
      demand(
        names.map((name) => name.trim()).join() === plan.servers.map(({ name }) => name).join(),
        `they say ${names}`,
      )
      return seconds(began)
    },
  ],
  [
    'every service that a fresh server starts is up, none failed',
    async () => {
      await Promise.all(plan.servers.map(configure))
      const states = await Promise.all(
        plan.servers.map(({ name }) => ssh(name, 'systemctl is-system-running --wait', [1])),
      )
      demand(
        states.every((state) => state.trim() === 'running'),
        `they are ${states.map((state) => state.trim())}`,
      )
      const { servers } = await hardware.status()
      return `${Math.round(servers.reduce((sum, one) => sum + (one.memory_bytes ?? 0), 0) / 2 ** 20)} MB in ${servers.length} servers`
    },
  ],
  [
    'a cable out: both ends go dark, the bond bridges it',
    () =>
      bridged(first, `${first.name}:eth0`, async () => {
        const flags = await ssh(first.name, 'ip -br link show eth0')
        demand(flags.includes('NO-CARRIER') || flags.includes('LOWERLAYERDOWN'), `the server sees ${flags.trim()}`)
        const { legs } = await serverStatus(first.name)
        demand(legs[0]?.light === 'pulled' && legs[1]?.active === true, 'the other leg is not active')
      }),
  ],
  [
    'a port that is down in the server is no different',
    async () => {
      const gap = await silence(first, async () => void (await ssh(first.name, 'ip link set eth0 down')))
      const { legs } = await serverStatus(first.name)
      demand(legs[1]?.active === true, 'the other leg is not active')
      await ssh(first.name, 'ip link set eth0 up')
      demand(gap <= bond_gap_max_ms, `${gap} ms of silence, ${bond_gap_max_ms} are allowed`)
      return `gap ${gap} ms`
    },
  ],
  [
    'a switch dead: the bonds bridge it, one Corosync link of two is gone',
    () =>
      bridged(first, 'sw-a', async () => {
        const [a, b] = await Promise.all(
          ['cluster-a', 'cluster-b'].map((network) => reaches(first.name, addressOn(second, network).address)),
        )
        demand(a === false && b === true, `cluster-a answers: ${a}, cluster-b answers: ${b}`)
      }),
  ],
  [
    'fencing: off through the BMC, dead at once; on, and up again',
    async () => {
      const began = performance.now()
      await fence(second.name, first, 'off')
      const off = seconds(began)
      demand((await serverStatus(first.name)).power === 'off', 'it is not off')
      demand(!(await reaches(second.name, first.access.address)), 'its address still answers')
      demand((await fence(second.name, first, 'status')).includes('OFF'), 'the BMC does not say that it is off')
      const again = performance.now()
      await fence(second.name, first, 'on')
      await booted(first.name)
      demand(Number.parseFloat(off) <= fence_time_max_s, `off took ${off}`)
      return `off ${off}, up again ${seconds(again)}`
    },
  ],
  [
    'both cables out: the BMC has its own way',
    async () => {
      await hardware.pull(`${first.name}:eth0`)
      await hardware.pull(`${first.name}:eth1`)
      demand(!(await reaches(second.name, first.access.address)), 'it still answers')
      await fence(second.name, first, 'off')
      demand((await serverStatus(first.name)).power === 'off', 'it is not off')
      await hardware.restore()
      return 'off'
    },
  ],
  [
    'a feed gone: one switch dark, no server dead, each BMC tells',
    async () => {
      await hardware.pull('feed:A')
      await pause(settle_ms)
      const { servers, switches } = await hardware.status()
      demand(
        servers.every(({ power }) => power === 'on'),
        'a server died',
      )
      demand(
        switches
          .filter(({ on }) => !on)
          .map(({ name }) => name)
          .join() === 'sw-a',
        'not sw-a alone is dark',
      )
      const told = await ipmitool(second.name, first, 'sdr type 0x08')
      demand(
        /psu1 input .*Power Supply AC lost/.test(told) && !/psu2 input .*AC lost/.test(told),
        `its BMC says ${told}`,
      )
      const log = await ipmitool(second.name, first, 'sel elist')
      demand(/AC lost/.test(log), `its event log says ${log}`)
      await hardware.push('feed:A')
      await pause(settle_ms)
      demand(!/AC lost/.test(await ipmitool(second.name, first, 'sdr type 0x08')), 'its BMC still says AC lost')
      return 'AC lost on psu1, and regained'
    },
  ],
  [
    'both feeds gone: all dead, BMCs too; back with the first feed',
    async () => {
      await hardware.pull('feed:A')
      await hardware.pull('feed:B')
      const dead = await hardware.status()
      demand(
        dead.servers.every((one) => one.power === 'off' && !one.bmc.alive),
        'something lives',
      )
      const began = performance.now()
      await hardware.push('feed:B')
      for (const { name } of plan.servers) await booted(name)
      const took = seconds(began)
      await hardware.push('feed:A')
      return `all up again ${took}`
    },
  ],
  [
    'a power cut keeps the disk; a reboot is a boot',
    async () => {
      await ssh(first.name, 'echo kept >/root/kept; sync')
      const { boots } = await serverStatus(first.name)
      await hardware.power(first.name, 'off')
      await hardware.power(first.name, 'on')
      await booted(first.name)
      demand((await ssh(first.name, 'cat /root/kept; rm /root/kept')).trim() === 'kept', 'the file is gone')
      await ssh(first.name, 'systemctl reboot', [255])
      await until(
        'it boots again',
        boot_time_max_s * 1000,
        async () => (await serverStatus(first.name)).boots === boots + 2,
      )
      await booted(first.name)
      return 'a file is still there'
    },
  ],
  [
    'a frozen server: its kernel answers, nothing else does',
    async () => {
      await hardware.freeze(first.name)
      const pings = await reaches(second.name, first.access.address)
      const log = await run('ssh', ['-F', sshConfigFile, '-o', 'ConnectTimeout=2', first.name, 'true'], {
        accept: [255],
      })
        .then(() => 'refused')
        .catch((error: Error) => error.message)
      await hardware.thaw(first.name)
      demand(pings, 'its kernel does not answer')
      demand(log === 'refused', log)
      demand((await ssh(first.name, 'echo alive')).trim() === 'alive', 'it does not go on')
      return 'goes on where it was'
    },
  ],
]

/** Runs all; gives the number of those that failed. */
export async function selftest(say: (text: string) => void): Promise<number> {
  const rows: (string | number)[][] = []
  let failed = 0
  const note = (name: string, figure: string, so: boolean) => {
    rows.push([so ? 'ok' : 'FAILED', name, figure])
    if (!so) failed++
    say(`${so ? 'ok    ' : 'FAILED'} ${name}: ${figure}`)
  }
  const began = performance.now()
  try {
    await up(say)
    note('the rack is built and switched on', seconds(began), true)
    for (const [name, work] of trials) {
      try {
        note(name, await work(), true)
      } catch (error) {
        note(name, (error as Error).message.replaceAll('\n', ' '), false)
        await hardware.restore()
      }
    }
  } finally {
    const ending = performance.now()
    await down(() => {})
    const left = await leftovers()
    note('taken down, nothing is left', left.length === 0 ? seconds(ending) : left.join(', '), left.length === 0)
  }
  say(`\n${table(['', 'trial', 'figure'], rows)}\n`)
  say(`${rows.length - failed} passed, ${failed} failed`)
  return failed
}
