/** The small tools that roles install, fed with what the kernel and the controllers say. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import test from 'ava'
import { folder } from './rack.ts'

const work = mkdtempSync(join(tmpdir(), 'milepost-tools-'))
test.after.always(() => rmSync(work, { recursive: true, force: true }))

const tool = (role: string, name: string) => join(folder, 'roles', role, 'files', name)
function run(file: string, args: readonly string[], input = '') {
  const { status, stdout, stderr } = spawnSync('/usr/bin/python3', ['-I', file, ...args], { encoding: 'utf8', input })
  return { status, said: `${stdout}${stderr}`.trim() }
}
function write(name: string, text: string): string {
  writeFileSync(join(work, name), text)
  return join(work, name)
}

/** As ipmitool 1.8.19 prints it: a healthy supply, one that lost its input, one that failed, one that is not plugged in. */
const power = (second: string) => `psu1 input       | 01h | ok  | 10.1 | Presence detected
psu2 input       | 02h | ${second}
PSU1 Power In    | 10h | ok  | 10.1 | 120 Watts
`
const config = write(
  'power.json',
  JSON.stringify({
    supplies: [
      { supply: 'psu1', feed: 'A' },
      { supply: 'psu2', feed: 'B' },
    ],
    bmc: {
      user: 'admin',
      password_file: '/nonexistent',
      paths: [
        { part: 'bmc', address: '127.0.0.1', port: 1 },
        { part: 'bmc-2', address: '127.0.0.2', port: 1 },
      ],
    },
  }),
)

test('power: a lost feed, a failed and a missing supply are named', (t) => {
  const look = (second: string) =>
    run(tool('power', 'milepost-power'), [config, '--from', write('sdr', power(second)), '--metrics', join(work, 'p')])
  t.deepEqual(look('ok  | 10.2 | Presence detected'), { status: 0, said: 'psu1 on feed A, psu2 on feed B: fine' })
  t.deepEqual(look('ok  | 10.2 | Presence detected, Power Supply AC lost'), {
    status: 1,
    said: '<2>psu2 has no input',
  })
  const figures = readFileSync(join(work, 'p'), 'utf8')
  t.true(figures.includes('milepost_power_supply_up{supply="psu1",feed="A"} 1\n'))
  t.true(figures.includes('milepost_power_supply_up{supply="psu2",feed="B"} 0\n'))
  t.deepEqual(look('ok  | 10.2 | Presence detected, Failure detected'), { status: 1, said: '<2>psu2 has failed' })
  t.deepEqual(look('ns  | 10.2 | No Reading'), {
    status: 1,
    said: '<2>psu2 is not there, or its controller does not see it',
  })
})

test('power: a controller that is silent is an alert of its own', (t) => {
  const { status, said } = run(tool('power', 'milepost-power'), [
    config,
    ...['--metrics', join(work, 'silent'), '--faults', join(work, 'faults')],
  ])
  t.deepEqual([status, said], [2, ''])
  // Nothing is said of the supplies: whoever was told that one is broken knows no better now.
  const { parts } = JSON.parse(readFileSync(join(work, 'faults'), 'utf8'))
  t.deepEqual(Object.keys(parts), ['bmc', 'bmc-2'])
  t.regex(parts.bmc.faults[0].words, /controller does not answer at 127\.0\.0\.1 .*cannot be fenced/)
  t.true(readFileSync(join(work, 'silent'), 'utf8').includes('milepost_power_controller_up 0\n'))
})

/** As the kernel's bonding driver writes it. */
const bonding = (second: string) => `Ethernet Channel Bonding Driver: v6.1.0

Bonding Mode: fault-tolerance (active-backup)
Primary Slave: eth0 (primary_reselect better)
Currently Active Slave: eth0
MII Status: up
MII Polling Interval (ms): 100

Slave Interface: eth0
MII Status: up
Speed: 10000 Mbps
Link Failure Count: 0
Permanent HW addr: 02:4d:50:00:01:0a

Slave Interface: eth1
MII Status: ${second}
Speed: 10000 Mbps
Link Failure Count: 3
Permanent HW addr: 02:4d:50:00:01:0b
`

test('bond: a leg that is down is named, and which one carries', (t) => {
  const look = (second: string) => {
    write('bond0', bonding(second))
    return run(tool('bond', 'milepost-bond'), ['bond0', 'eth0', 'eth1', '--proc', work, '--metrics', join(work, 'b')])
  }
  t.deepEqual(look('up'), { status: 0, said: 'bond0: eth0, eth1 are up, eth0 in use' })
  t.deepEqual(look('down'), { status: 1, said: '<2>bond0: eth1 is down; eth0 carries' })
  const figures = readFileSync(join(work, 'b'), 'utf8')
  t.true(figures.includes('milepost_bond_leg_up{bond="bond0",leg="eth1"} 0\n'))
  t.true(figures.includes('milepost_bond_leg_failures_total{bond="bond0",leg="eth1"} 3\n'))
  t.is(run(tool('bond', 'milepost-bond'), ['bond9', 'eth0', '--proc', work]).status, 2)
  const third = run(tool('bond', 'milepost-bond'), ['bond0', 'eth0', 'eth2', '--proc', work])
  t.deepEqual(third, { status: 1, said: '<2>bond0: eth2 is not in the bond; eth0 carries' })
})

test('bond: legs of a bond that is not the kernel’s are looked at themselves', (t) => {
  const words = [
    'ip link add eth0 type veth peer name p0 && ip link add eth1 type veth peer name p1',
    'ip link set eth0 up && ip link set eth1 up && ip link set p0 up',
    `/usr/bin/python3 -I ${tool('bond', 'milepost-bond')} bond0 eth0 eth1 --carrier`,
    'ip link set p1 up',
    `/usr/bin/python3 -I ${tool('bond', 'milepost-bond')} bond0 eth0 eth1 --carrier`,
  ]
  const { stdout, stderr } = spawnSync('unshare', ['-n', 'sh', '-c', words.join('; ')], { encoding: 'utf8' })
  t.is(stderr, '<2>bond0: eth1 is down; eth0 carries\n')
  t.is(stdout, 'bond0: eth0, eth1 are up, all in use\n')
})

test('bond: when the active leg loses its light, the other is made active at once, unless the kernel holds it for down', async (t) => {
  const sys = join(work, 'net')
  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(sys, path)), { recursive: true })
    writeFileSync(join(sys, path), `${text}\n`)
  }
  const active = () => readFileSync(join(sys, 'bond0/bonding/active_slave'), 'utf8').trim()
  put('bond0/bonding/active_slave', 'eth0')
  put('bond0/bonding/slaves', 'eth0 eth1')
  for (const leg of ['eth0', 'eth1']) put(`${leg}/carrier`, '1')
  put('eth1/bonding_slave/mii_status', 'down')
  // Every line that it is told makes a link, and so a word of the kernel's.
  const events = 'while read -r n; do ip link add "t$n" type veth peer name "u$n"; done'
  const watch = `/usr/bin/python3 -I ${tool('bond', 'milepost-carrier')} bond0 --sys ${sys}`
  const child = spawn('unshare', ['-n', 'sh', '-c', `${watch} & ${events}; kill $!`])
  let said = ''
  child.stdout.on('data', (data) => {
    said += data
  })
  const ended = once(child, 'exit')
  try {
    await setTimeout(500)
    put('eth0/carrier', '0')
    child.stdin.write('1\n')
    await setTimeout(500)
    t.is(active(), 'eth0', 'the other is held for down')
    put('eth1/bonding_slave/mii_status', 'up')
    child.stdin.write('2\n')
    for (let n = 0; n < 100 && active() !== 'eth1'; n++) await setTimeout(50)
    t.is(active(), 'eth1')
  } finally {
    child.stdin.end()
    await ended
  }
  t.is(said, 'bond0: the active leg lost its light; eth1 carries\n')
})

test('mirror: /proc/mdstat is understood, whole, failed and while it is rebuilt', (t) => {
  const script = `
import importlib.machinery, importlib.util, json, sys
loader = importlib.machinery.SourceFileLoader('mirror', ${JSON.stringify(tool('raid1', 'milepost-mirror'))})
module = importlib.util.module_from_spec(importlib.util.spec_from_loader('mirror', loader))
sys.dont_write_bytecode = True
loader.exec_module(module)
now = {'drives': {'A': {'bay': 0, 'device': 'sda'}, 'B': {'bay': 1, 'device': json.loads(sys.argv[1])}}, 'arrays': module.parse_mdstat(sys.stdin.read())}
parts = {name: [fault['words'] for fault in part['faults']] for name, part in module.parts({'name': 'md0'}, now).items()}
print(json.dumps([now['arrays'], module.faults(now), module.drive_of('sdb2'), module.drive_of('nvme0n1p2'), parts, module.progress(now, [])]))
`
  const look = (text: string, second: string | null) => {
    const args = ['-c', script, JSON.stringify(second)]
    const { stdout, stderr } = spawnSync('/usr/bin/python3', args, { encoding: 'utf8', input: text })
    t.is(stderr, '')
    return JSON.parse(stdout)
  }
  const head = 'Personalities : [raid1]\n'
  const tail = '      bitmap: 0/1 pages [0KB], 65536KB chunk\n\nunused devices: <none>\n'
  const whole = `${head}md0 : active raid1 sdb2[1] sda2[0]\n      4189184 blocks super 1.2 [2/2] [UU]\n${tail}`
  const [arrays, faults, drive, nvme] = look(whole, 'sdb')
  t.deepEqual(arrays, {
    md0: { members: { sdb2: '', sda2: '' }, wanted: 2, working: 2, action: null, percent: null, minutes: null },
  })
  t.deepEqual([faults, drive, nvme], [[], 'sdb', 'nvme0n1'])
  const failed = `${head}md0 : active raid1 sdb2[1](F) sda2[0]\n      4189184 blocks super 1.2 [2/1] [U_]\n${tail}`
  t.deepEqual(look(failed, 'sdb')[1], ['md0: sdb2 failed', 'md0: 1 of 2 drives work'])
  const rebuilt = `${head}md0 : active raid1 sdb2[2] sda2[0]\n      4189184 blocks super 1.2 [2/1] [U_]\n      [==>....]  recovery = 12.6% (528/4189) finish=0.2min speed=10K/sec\n${tail}`
  t.deepEqual(look(rebuilt, 'sdb')[1], ['md0: 1 of 2 drives work, recovery 12.6 %'])
  t.deepEqual(look(rebuilt, 'sdb')[5], { whole: false, percent: 12.6, minutes: 0.2, faults: [] })
  t.deepEqual(look(whole, null)[1], ['drive B in bay 1 is not there'])
  t.deepEqual(look(head, 'sdb')[1], ['there is no mirror'])
  t.deepEqual(look(whole, 'sdb')[4], { A: [], B: [], md0: [] })
  const degraded = 'md0 is not whole: 1 of 2 drives work'
  t.deepEqual(look(failed, 'sdb')[4], { A: [], B: ['drive B has failed'], md0: [degraded] })
  t.deepEqual(look(rebuilt, 'sdb')[4], { A: [], B: [], md0: [`${degraded}, recovery 12.6 %`] })
  t.deepEqual(look(whole, null)[4].B, ['drive B is not there'])
  t.deepEqual(look(head, 'sdb')[4].md0, ['there is no mirror'])
})

test('watch: an instance that answered once and then is silent is killed; one that answers is not', async (t) => {
  let silent = false
  const servers = [
    createServer((_request, response) => silent || response.end()),
    createServer((_request, response) => response.end()),
  ]
  for (const server of servers) await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const ports = Object.fromEntries(servers.map((server, n) => [`tg-${n + 1}`, (server.address() as AddressInfo).port]))
  const instances = Object.fromEntries(Object.keys(ports).map((name) => [name, '127.0.0.1']))
  // systemctl as the watch uses it: each unit has been running since the machine's start; what is killed is written down.
  const bin = join(work, 'bin')
  mkdirSync(bin)
  const killed = join(work, 'killed')
  const script = `#!/bin/sh
if [ "$1" = show ]; then
  shift 3
  for unit in "$@"; do printf 'ActiveState=active\nExecMainStartTimestampMonotonic=1\n\n'; done
else echo "$*" >> ${killed}; fi
`
  writeFileSync(join(bin, 'systemctl'), script)
  chmodSync(join(bin, 'systemctl'), 0o755)
  const config = write('watch.json', JSON.stringify({ hang_s: 1, start_s: 60, instances, ports }))
  const watch = spawn('/usr/bin/python3', ['-I', tool('node_service', 'milepost-watch'), config], {
    env: { ...process.env, PATH: `${bin}:${process.env.PATH}` },
  })
  try {
    let asked = 0
    servers[0]!.on('request', () => asked++)
    const until = async (condition: () => boolean) => {
      for (const end = Date.now() + 60_000; !condition() && Date.now() < end; ) await setTimeout(50)
    }
    await until(() => asked > 0)
    silent = true
    await until(() => existsSync(killed))
    t.is(readFileSync(killed, 'utf8').split('\n')[0], 'kill --signal SIGKILL milepost@tg-1.service')
    t.false(readFileSync(killed, 'utf8').includes('tg-2'))
  } finally {
    watch.kill('SIGKILL')
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
  }
})

test('every tool says how it is used', (t) => {
  for (const [role, name] of [
    ['gateway', 'milepost-distribute'],
    ['gateway', 'milepost-list'],
    ['node_service', 'milepost-watch'],
    ['power', 'milepost-power'],
    ['bond', 'milepost-bond'],
    ['bond', 'milepost-carrier'],
    ['hardware', 'milepost-alerts'],
    ['hardware', 'milepost-sel'],
    ['hardware', 'milepost-smart'],
    ['hardware', 'milepost-watchdog'],
    ['raid1', 'milepost-mirror'],
    ['archive', 'milepost-archive'],
  ] as const) {
    const { status, said } = run(tool(role, name), ['--help'])
    t.is(status, 0, name)
    t.regex(said, /usage: /, name)
  }
})
