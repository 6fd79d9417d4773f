/** Alerts of hardware: the watches fed with what controllers, drives and kernels say, and the sender against a real MBUS. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import mqtt from 'mqtt'
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { freePort, startProcess, until } from '#services/common/testing.ts'
import { hardwareVariables } from './inventory-hardware.ts'
import { folder } from './rack.ts'

const work = mkdtempSync(join(tmpdir(), 'milepost-hardware-'))
test.after.always(() => rmSync(work, { recursive: true, force: true }))

const tool = (name: string) => join(folder, 'roles/hardware/files', `milepost-${name}`)
function run(name: string, args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync('/usr/bin/python3', ['-I', tool(name), ...args], { encoding: 'utf8' })
  return { status, said: `${stdout}${stderr}`.trim() }
}
function write(path: string, content: unknown): string {
  writeFileSync(join(work, path), typeof content === 'string' ? content : JSON.stringify(content))
  return join(work, path)
}

interface Event {
  id: string
  event: 'raised' | 'cleared'
  server: string
  part: string
  fault: string
  words: string
  where: string
  since: number
  place: Record<string, unknown>
}

/** A server's sender with a folder of its own, and what its watches are to say. */
class Sender {
  readonly args: string[]
  #child: ChildProcess | undefined
  journal = ''

  constructor(name: string, bus: number, password = 'secret') {
    const plan = planOf(lab)
    const { hardware_place, hardware_parts } = hardwareVariables(plan, plan.servers.find((one) => one.name === 'srv1')!)
    const at = join(work, name)
    for (const path of ['', 'alerts', 'state']) mkdirSync(join(at, path), { recursive: true })
    const config = {
      server: 'srv1',
      place: hardware_place,
      parts: hardware_parts,
      look_s: 1,
      watches: { power: 30, sel: 60 },
      bus: { address: '127.0.0.1', port: bus, user: 'server/srv1', secret: 'mbus/srv1' },
    }
    this.args = [
      '--config',
      write(`${name}/hardware.json`, config),
      '--folder',
      join(at, 'alerts'),
      '--state',
      join(at, 'state'),
    ]
    this.#extra = ['--figures', join(at, 'figures.prom'), '--password', write(`${name}/password`, password)]
    this.figures = () => readFileSync(join(at, 'figures.prom'), 'utf8')
    this.look = (watch, parts) =>
      void write(`${name}/alerts/${watch}.json`, {
        up: Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]),
        parts,
      })
  }

  readonly #extra: string[]
  readonly figures: () => string
  readonly look: (watch: string, parts: Record<string, { is: string; faults: object[] }>) => void

  start(): void {
    this.#child = spawn('/usr/bin/python3', ['-I', tool('alerts'), 'run', ...this.args, ...this.#extra])
    this.#child.stderr?.on('data', (data) => (this.journal += data))
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (!child) return
    const closed = new Promise((done) => child.once('close', done))
    child.kill('SIGKILL')
    await closed
  }
}

const lost = (words = 'psu1 has no input') => ({ is: '', faults: [{ fault: 'no-input', severity: 'critical', words }] })
const well = { is: 'well', faults: [] }

const startBus = async (port: number, ws_port: number) =>
  startProcess(
    'services/mbus/mbus.ts',
    {
      data: mkdtempSync(join(work, 'mbus-')),
      port,
      options: { ws_port, servers: { srv1: createHash('sha256').update('secret').digest('hex') } },
    },
    ws_port,
  )
const connect = (port: number, username: string, password: string) =>
  mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { username, password, reconnectPeriod: 500 }, false)

test.serial(
  'an alert is told once when it begins and once when it ends, through restarts of the sender and of MBUS',
  async (t) => {
    t.timeout(240_000)
    const [port, ws_port] = [await freePort(), await freePort()]
    let bus = await startBus(port, ws_port)
    const sender = new Sender('once', port)
    t.teardown(() => sender.kill())
    t.teardown(() => bus.stop())
    const heard: Event[] = []
    const listener = await connect(port, 'service', 'internal')
    t.teardown(() => listener.end(true))
    listener.on('message', (_topic, payload) => heard.push(JSON.parse(payload.toString())))
    await listener.subscribeAsync('milepost/log/hardware/#', { qos: 1 })
    const kinds = () => heard.map(({ event, part }) => `${event} ${part}`)

    sender.look('power', { psu1: well, psu2: well, bmc: well })
    sender.start()
    await until('it is connected', () => sender.figures().includes('milepost_hardware_bus_up 1'), 60_000)
    sender.look('power', { psu1: lost(), psu2: well, bmc: well })
    await until('it is told', () => heard.length > 0, 30_000)
    const [first] = heard
    t.is(first?.where, 'outlet 4 of pdu-a, feed A (the first circuit)')
    t.deepEqual(first?.place, {
      ...{ site: 'lab', rack: 'rack1', unit: 4, position: 'inside one Linux machine' },
      ...{ pdu: 'pdu-a', outlet: 4, feed: 'A' },
    })
    const line =
      'raised: srv1 (rack rack1, unit 4): psu1 has no input; look at outlet 4 of pdu-a, feed A (the first circuit)\n'
    await until('the journal has it', () => sender.journal.includes(`<2>${line}`))
    const figure = /milepost_hardware_alert\{part="psu1",.*rack="rack1",unit="4",where="outlet 4 of pdu-a.*"\} 1/
    await until('the figures have it', () => figure.test(sender.figures()))

    // The sender dies; meanwhile it ends, another begins, and a look that could not be made says nothing.
    await sender.kill()
    sender.look('power', { psu1: well, psu2: lost('psu2 has no input'), bmc: well })
    sender.start()
    await until('both are told', () => heard.length === 3, 60_000)
    t.deepEqual(kinds().toSorted(), ['cleared psu1', 'raised psu1', 'raised psu2'])
    t.is(heard.find(({ event }) => event === 'cleared')?.since, first?.since)
    sender.look('power', { bmc: well })

    // MBUS dies, and the sender with it: what happens then is told when both are back.
    await bus.stop()
    sender.look('power', { psu1: lost(), psu2: well, bmc: well })
    await until('it waits', () => sender.figures().includes('milepost_hardware_events_waiting 2'), 60_000)
    await sender.kill()
    sender.start()
    bus = await startBus(port, ws_port)
    await until('they are told', () => heard.length === 5, 90_000)
    t.deepEqual(kinds().slice(3).toSorted(), ['cleared psu2', 'raised psu1'])

    // Nothing is repeated, and who comes late is given what is open, by a broker that had forgotten it.
    await sender.kill()
    sender.start()
    const late = await connect(port, 'service', 'internal')
    t.teardown(() => late.end(true))
    let state: { alerts: Event[] } | undefined
    late.on('message', (_topic, payload) => (state = JSON.parse(payload.toString())))
    await late.subscribeAsync('milepost/state/hardware/servers/+/alerts', { qos: 1 })
    await until('the state comes', () => state !== undefined, 60_000)
    t.deepEqual(
      state?.alerts.map(({ part, fault }) => [part, fault]),
      [['psu1', 'no-input']],
    )
    await until('it is connected', () => sender.figures().includes('milepost_hardware_bus_up 1'), 60_000)
    t.is(heard.length, 5)
    t.is(new Set(heard.map(({ id }) => id)).size, 5)
    const shown = run('alerts', ['show', ...sender.args])
    t.is(shown.status, 1)
    t.regex(shown.said, /^psu1 +psu1 has no input$/m)
    t.regex(shown.said, /^eth0 +not looked at yet$/m)
  },
)

test.serial('a wrong password is said, once', async (t) => {
  t.timeout(120_000)
  const [port, ws_port] = [await freePort(), await freePort()]
  const bus = await startBus(port, ws_port)
  t.teardown(() => bus.stop())
  const sender = new Sender('refused', port, 'wrong')
  t.teardown(() => sender.kill())
  sender.start()
  await until('it has tried twice', () => bus.output().split('wrong password').length > 2, 60_000)
  t.is(sender.journal.split('wrong password for server/srv1').length, 2)
})

/** As ipmitool 1.8.19 prints them: `sel elist` of a simulated controller (the first five lines), and of servers. */
const log = `   1 |  Pre-Init  |0000032485| Memory #0x01 | Correctable ECC | Asserted
   2 |  Pre-Init  |0000032485| Watchdog2 #0x02 | Hard reset | Asserted
   3 |  Pre-Init  |0000032485| System Event #0x01 | OEM System boot event | Asserted
   4 |  Pre-Init  |0000032485| Power Supply #0x01 | Power Supply AC lost | Asserted
   5 |  Pre-Init  |0000032485| Power Supply #0x01 | Power Supply AC lost | Deasserted
   6 | 12/03/2024 | 11:27:10 | Module / Board PWR_GB1_TOT_HSC | Upper Critical going high | Asserted | Reading 9 > Threshold 8 Watts
   7 | 12/03/2024 | 11:28:00 | Memory #0x01 | Correctable ECC | Asserted
   8 | 12/03/2024 | 11:29:10 | Module / Board PWR_GB1_TOT_HSC | Upper Critical going high | Deasserted | Reading 7 > Threshold 8 Watts
   9 | 12/03/2024 | 11:30:00 | Event Logging Disabled SEL | Log area reset/cleared | Asserted
   a | OEM record dd | 0002f8 | 010203040506
`
const sel_config = () =>
  write('power.json', { supplies: [], bmc: { user: 'admin', password_file: '/nonexistent', paths: [] } })

test('event log: what has begun and not ended is a fault; what is no fault is passed over', (t) => {
  const look = (text: string) =>
    run('sel', [
      sel_config(),
      '--from',
      write('sel.txt', text),
      '--faults',
      join(work, 'sel.json'),
      '--metrics',
      join(work, 'sel.prom'),
    ])
  t.is(look(log).status, 1)
  const faults = () => JSON.parse(readFileSync(join(work, 'sel.json'), 'utf8')).parts.system.faults
  t.deepEqual(
    faults().map(({ severity, words, mark }: Record<string, string>) => [severity, words, mark]),
    [
      ['warning', 'Memory #0x01: Correctable ECC, 2 times, the last at 12/03/2024 11:28:00', '7 12/03/2024 11:28:00'],
      ['critical', 'Watchdog2 #0x02: Hard reset at Pre-Init 0000032485', '2 Pre-Init 0000032485'],
      ['warning', 'System Event #0x01: OEM System boot event at Pre-Init 0000032485', '3 Pre-Init 0000032485'],
    ],
  )
  t.true(readFileSync(join(work, 'sel.prom'), 'utf8').includes('milepost_sel_entries 9\n'))
  t.is(look('').status, 0)
  t.deepEqual(faults(), [])
})

test.serial(
  'event log: what was there before is not told of; what comes is, until somebody has seen it; again when it comes again',
  async (t) => {
    t.timeout(120_000)
    const sender = new Sender('sel', await freePort())
    t.teardown(() => sender.kill())
    const fault = (fault: string, mark: string) => ({ fault, severity: 'warning', words: fault, mark })
    const look = (...faults: object[]) => sender.look('sel', { system: { is: '', faults } })
    const lines = () => sender.journal.split('\n').filter((line) => /raised|cleared/.test(line))
    sender.look('sel', {})
    sender.start()
    await until('it runs', () => sender.journal.includes('MBUS is away'), 60_000)
    look(fault('event-old', '1'))
    await until(
      'it has looked',
      () => readFileSync(join(work, 'sel/state/told.json'), 'utf8').includes('event-old'),
      60_000,
    )
    look(fault('event-old', '1'), fault('event-new', '2'))
    await until('the new one is told', () => lines().length === 1, 30_000)
    t.regex(lines()[0]!, /raised: .*event-new/)
    t.is(run('alerts', ['seen', ...sender.args, 'psu1']).said, '')
    t.is(run('alerts', ['seen', ...sender.args, 'system']).said, 'seen: event-old\nseen: event-new')
    await until('it is over', () => lines().length === 2, 30_000)
    look(fault('event-old', '1'), fault('event-new', '3'))
    await until('it is told again', () => lines().length === 3, 30_000)
    t.regex(lines()[2]!, /raised: .*event-new/)
  },
)

test('event log: a controller is asked, and only when there is something new', async (t) => {
  t.timeout(90_000)
  const port = await freePort()
  const at = join(work, 'bmc')
  for (const path of ['', 'state', 'cache']) mkdirSync(join(at, path), { recursive: true })
  const { controllerConfiguration, inputLost, sensorCommands } = await import('#scripts/lab/ipmi.ts')
  const paths = [{ address: '127.0.0.1', port }]
  write(
    'bmc/lan.conf',
    controllerConfiguration({ server: 'srv1', user: 'admin', password: 'pw', paths, chassis: '/bin/true' }),
  )
  write('bmc/sensors', sensorCommands(['psu1']))
  const bmc = spawn('ipmi_sim', ['-c', join(at, 'lan.conf'), '-f', join(at, 'sensors'), '-s', join(at, 'state')], {
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  t.teardown(() => bmc.kill('SIGKILL'))
  const config = write('bmc/power.json', {
    supplies: [],
    bmc: { user: 'admin', password_file: write('bmc/password', 'pw'), paths: [{ part: 'bmc', ...paths[0]! }] },
  })
  const look = () => run('sel', [config, '--cache', join(at, 'cache')])
  await until('it answers', () => look().status === 0, 60_000)
  t.is(look().said, '0 entries, none of a fault that lasts')
  bmc.stdin?.write(inputLost(0, true))
  await until('it has noted it', () => look().said.startsWith('1 entries'), 30_000)
  t.regex(readFileSync(join(at, 'cache/sel'), 'utf8'), /Power Supply psu1 input \| Power Supply AC lost.*\| Asserted/)
  write('bmc/ecc', '0x04 0x0c 0x01 0x6f 0x01 0xff 0x03\n')
  const ipmi = ['-I', 'lanplus', '-C', '3', '-H', '127.0.0.1', '-p', String(port), '-U', 'admin', '-P', 'pw']
  t.is(spawnSync('ipmitool', [...ipmi, 'sel', 'add', join(at, 'ecc')]).status, 0)
  t.regex(look().said, /^<2>Memory #0x01: Uncorrectable ECC at /)
  write('bmc/cache/sel', '')
  t.is(look().status, 0, 'the head of its log is as it was: it is not read again')
})

/** Cut down from what smartctl 7 prints of an ATA drive that fails, of an NVMe and of an SAS drive. */
const ata = {
  model_name: 'Hitachi HDS721050DLE630',
  smart_status: { passed: false },
  ata_smart_attributes: {
    table: [
      { id: 1, name: 'Raw_Read_Error_Rate', value: 100, thresh: 16, when_failed: '', raw: { value: 0 } },
      { id: 5, name: 'Reallocated_Sector_Ct', value: 1, thresh: 5, when_failed: 'now', raw: { value: 1975 } },
      { id: 197, name: 'Current_Pending_Sector', value: 100, thresh: 0, when_failed: '', raw: { value: 8 } },
      { id: 198, name: 'Offline_Uncorrectable', value: 100, thresh: 0, when_failed: '', raw: { value: 0 } },
    ],
  },
  temperature: { current: 25 },
  power_on_time: { hours: 65_592 },
}
const nvme = (critical_warning: number, media_errors: number, percentage_used: number) => ({
  model_name: 'Samsung SSD 970 EVO 500GB',
  smart_status: { passed: critical_warning === 0, nvme: { value: critical_warning } },
  nvme_smart_health_information_log: { critical_warning, media_errors, percentage_used, available_spare: 99 },
  temperature: { current: 35 },
})
const sas = (grown: number, uncorrected: number) => ({
  model_name: 'SEAGATE ST1200MM0088',
  smart_status: { passed: true },
  scsi_grown_defect_list: grown,
  scsi_error_counter_log: { read: { total_uncorrected_errors: uncorrected }, write: { total_uncorrected_errors: 0 } },
})

test('SMART: each kind of drive says in its own words that it is not well', (t) => {
  mkdirSync(join(work, 'smart'))
  const config = write('mirror.json', { name: 'md0', drives: [{ bay: 0, serial: 'A' }] })
  const look = (told: object) => {
    write('smart/A.json', told)
    return run('smart', [config, '--from', join(work, 'smart'), '--metrics', join(work, 'smart.prom')]).said
  }
  t.deepEqual(look(ata).split('\n'), [
    '<2>drive A: says of itself that it fails',
    '<2>drive A: Reallocated_Sector_Ct is beyond its limit',
    '<4>drive A: 8 sectors cannot be read and wait to be replaced',
  ])
  const figures = readFileSync(join(work, 'smart.prom'), 'utf8')
  t.true(figures.includes('milepost_smart_passed{serial="A"} 0\n'))
  t.true(figures.includes('milepost_smart_power_on_hours{serial="A"} 65592\n'))
  t.is(look(nvme(0, 0, 3)), 'A: Samsung SSD 970 EVO 500GB, well, 35 °C')
  t.is(look(nvme(0, 7, 3)), '<4>drive A: 7 blocks could not be read')
  t.deepEqual(look(nvme(0x0c, 0, 95)).split('\n'), [
    '<2>drive A: says of itself that it fails',
    '<2>drive A: its reliability is degraded',
    '<2>drive A: it can only be read',
    '<4>drive A: 95 % of its life are used',
  ])
  t.is(look(sas(0, 0)), 'A: SEAGATE ST1200MM0088, well')
  t.deepEqual(look(sas(3, 2)).split('\n'), [
    '<4>drive A: 3 blocks were replaced by spare ones',
    '<4>drive A: 2 reads or writes could not be corrected',
  ])
  t.is(look({ model_name: 'QEMU QEMU HARDDISK' }), 'A: QEMU QEMU HARDDISK, says nothing of its health')
})

test('watchdog: whether it is armed, and whether it was why the machine started', (t) => {
  const sys = join(work, 'watchdogs')
  const look = (files: Record<string, string>) => {
    rmSync(sys, { recursive: true, force: true })
    if (Object.keys(files).length > 0) mkdirSync(join(sys, 'watchdog0'), { recursive: true })
    for (const [name, text] of Object.entries(files)) write(`watchdogs/watchdog0/${name}`, `${text}\n`)
    return run('watchdog', ['--sys', sys, '--metrics', join(work, 'dog.prom')])
  }
  const dog = { identity: 'iTCO_wdt', state: 'active', timeout: '60', bootstatus: '0' }
  t.deepEqual(look(dog), { status: 0, said: 'armed, 60 s (iTCO_wdt)' })
  t.true(readFileSync(join(work, 'dog.prom'), 'utf8').includes('milepost_watchdog_armed 1\n'))
  t.regex(look({ ...dog, state: 'inactive' }).said, /^<4>the watchdog \(iTCO_wdt\) is not armed/)
  t.is(look({ ...dog, bootstatus: '32' }).said, '<2>the last start was a reset by the watchdog: the kernel hung')
  t.is(look({ ...dog, bootstatus: '1' }).said, '<2>before the last start it was too hot')
  t.regex(look({}).said, /^<4>it has no watchdog/)
  t.true(existsSync(join(work, 'dog.prom')))
})
