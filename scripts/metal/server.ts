/** One server: a QEMU while it is on. Its drives and its firmware's settings are files that outlive it. */
import { type ChildProcess, spawn } from 'node:child_process'
import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { until } from '../lab/shell.ts'
import { type Ground, racks } from './ground.ts'
import type { Options } from './options.ts'
import {
  type BootFrom,
  bootIndexes,
  type Drive,
  driveDevices,
  driveName,
  nicId,
  ovmf,
  qemu,
  qemuArguments,
} from './qemu.ts'
import { Qmp, type QmpEvent } from './qmp.ts'
import type { WiredServer } from './topology.ts'

/** What lies in a bay, or beside it. */
export interface Bay extends Drive {
  /** False: it is out. */
  readonly in: boolean
}

const start_time_max_ms = 60_000
const death_time_max_ms = 20_000
const eject_time_max_ms = 10_000
const tail_bytes = 4_096
const console_line_max = 44

export class Server {
  readonly name: string
  readonly wired: WiredServer
  readonly #ground: Ground
  readonly #options: Options
  /** Whether the cable of the n-th NIC has light. */
  readonly #lit: (nic: number) => boolean
  readonly #say: (text: string) => void
  #child: ChildProcess | undefined
  #qmp: Qmp | undefined
  #wanted: 'on' | 'off' = 'off'
  #frozen = false
  #since = 0
  #boots = 0
  #bays: Bay[] = []
  /** For the next start alone. */
  #bootOnce: BootFrom | undefined
  #lastReason = ''
  /** Layers of drives in QEMU: a name is used once. */
  #keys = new Map<number, string>()
  #plugged = 0
  readonly #ejected = new Set<string>()
  // Its power and its bays are worked on by one hand.
  #work: Promise<unknown> = Promise.resolve()

  constructor(
    ground: Ground,
    wired: WiredServer,
    options: Options,
    lit: (nic: number) => boolean,
    say: (text: string) => void,
  ) {
    this.name = wired.plan.name
    this.wired = wired
    this.#ground = ground
    this.#options = options
    this.#lit = lit
    this.#say = say
  }

  get power(): 'on' | 'off' {
    return this.#child ? 'on' : 'off'
  }
  get frozen(): boolean {
    return this.#frozen
  }
  get boots(): number {
    return this.#boots
  }
  get bays(): readonly Bay[] {
    return this.#bays
  }
  get boot(): BootFrom {
    return this.#bootOnce ?? 'default'
  }
  /** s since it was switched on; 0: off. */
  get uptime_s(): number {
    return this.#child ? (performance.now() - this.#since) / 1000 : 0
  }
  get memory_bytes(): number | undefined {
    return this.#child ? this.#ground.groups.memory_bytes(this.name) : undefined
  }

  get #baysFile() {
    return join(this.#ground.drivesFolder, `${this.name}.json`)
  }
  get #uefi() {
    return (this.#options.firmware ?? this.wired.plan.firmware) === 'uefi'
  }
  get #firmwareFile() {
    return join(this.#ground.drivesFolder, `${this.name}.uefi`)
  }

  /** Puts blank drives in, unless it has drives from before. */
  install(): void {
    mkdirSync(this.#ground.serverFolder(this.name), { recursive: true })
    if (existsSync(this.#baysFile)) {
      this.#bays = JSON.parse(readFileSync(this.#baysFile, 'utf8')) as Bay[]
      return
    }
    this.#bays = this.wired.plan.drives.map(({ bay, serial }) => ({ ...this.#blank(bay, serial), in: true }))
    if (this.#uefi) copyFileSync(ovmf.variables, this.#firmwareFile)
    this.#note()
  }

  #blank(bay: number, serial: string): Drive {
    const file = join(this.#ground.drivesFolder, `${this.name}-${serial}.raw`)
    if (existsSync(file))
      throw new Error(`there is a drive with serial ${serial} in ${this.name} already: choose another`)
    const handle = openSync(file, 'w', 0o600)
    ftruncateSync(handle, this.#options.drive_gb * 1e9)
    closeSync(handle)
    return { bay, serial, file }
  }

  #note(): void {
    writeFileSync(this.#baysFile, JSON.stringify(this.#bays))
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#work.then(work, work)
    this.#work = next.catch(() => {})
    return next
  }

  on(): Promise<void> {
    this.#wanted = 'on'
    return this.#serial(() => this.#start())
  }

  async #start(): Promise<void> {
    if (this.#child || this.#wanted !== 'on') return
    const ground = this.#ground
    const boot = this.#bootOnce ?? 'default'
    this.#bootOnce = undefined
    this.#keys = new Map(this.#bays.map(({ bay }) => [bay, 'boot']))
    const machine = {
      site: ground.site,
      name: this.name,
      nics: this.wired.plan.nics.map(({ name, mac }, i) => ({ name, mac, tap: this.wired.nics[i]!.device })),
      drives: this.#bays.filter((bay) => bay.in),
      qmp: ground.qmpSocket(this.name),
      console: ground.consoleSocket(this.name),
      consoleLog: ground.consoleLog(this.name),
      system: ground.systemSocket(this.name),
      uefi: this.#uefi ? { code: ovmf.code, variables: this.#firmwareFile } : undefined,
      boot,
    }
    for (const file of [machine.qmp, machine.console]) rmSync(file, { force: true })
    const [program, args] = ground.inside(this.name, racks, [qemu, ...qemuArguments(machine, this.#options)])
    const log = openSync(join(ground.serverFolder(this.name), 'qemu.log'), 'a')
    const child = spawn(program, args, { stdio: ['ignore', log, log] })
    closeSync(log)
    this.#child = child
    this.#since = performance.now()
    this.#boots++
    this.#lastReason = ''
    child.on('error', (error) => this.#say(`${this.name}: ${error.message}`))
    child.on('close', (code, signal) => this.#ended(child, code ?? signal))
    await until(
      `${this.name}: QEMU starts`,
      start_time_max_ms,
      async () => {
        if (this.#child !== child)
          throw new Error(`${this.name} does not start: see ${ground.serverFolder(this.name)}/qemu.log`)
        if (!existsSync(machine.qmp)) return false
        this.#qmp = await Qmp.connect(machine.qmp, (event) => this.#heard(event)).catch(() => undefined)
        return this.#qmp !== undefined
      },
      20,
    )
    await Promise.all(this.wired.plan.nics.map((_, i) => this.setLink(i, this.#lit(i))))
    await this.#qmp!.do('cont')
    this.#say(`${this.name}: starts (${boot === 'default' ? 'its drives, then the network' : boot})`)
  }

  #heard({ event, data }: QmpEvent): void {
    if (event === 'SHUTDOWN') this.#lastReason = String(data?.reason)
    if (event === 'WATCHDOG') this.#say(`${this.name}: its watchdog fires`)
    if (event === 'DEVICE_DELETED' && data?.device !== undefined) this.#ejected.add(String(data.device))
  }

  /** QEMU ended: by a cut, by the guest's own shutdown, or because it boots again. */
  #ended(child: ChildProcess, code: number | string | null): void {
    if (this.#child !== child) return
    this.#child = undefined
    this.#qmp?.close()
    this.#qmp = undefined
    this.#frozen = false
    if (this.#wanted === 'off') return
    if (this.#lastReason === 'guest-reset') {
      this.#say(`${this.name}: boots again`)
      void this.#serial(() => this.#start()).catch((error) => this.#say((error as Error).message))
      return
    }
    this.#wanted = 'off'
    this.#say(`${this.name}: off (${this.#lastReason || `QEMU ended with ${code}; see its qemu.log`})`)
  }

  /** Power gone at once. What was written to the drives stays. */
  off(): Promise<void> {
    this.#wanted = 'off'
    // Not in line with other work: a cord does not wait.
    this.#child?.kill('SIGKILL')
    this.#qmp?.close()
    this.#qmp = undefined
    return until(`${this.name} dies`, death_time_max_ms, () => this.#child === undefined, 5)
  }

  /** The power button: the system shuts itself down. */
  async softOff(): Promise<void> {
    await this.#qmp?.do('system_powerdown')
  }

  async reset(): Promise<void> {
    await this.off()
    await this.on()
  }

  /** Where the next start is from. */
  setBoot(from: BootFrom): void {
    this.#bootOnce = from === 'default' ? undefined : from
  }

  async freeze(frozen: boolean): Promise<void> {
    if (!this.#qmp) throw new Error(`${this.name} is off`)
    await this.#qmp.do(frozen ? 'stop' : 'cont')
    this.#frozen = frozen
  }

  /** Light of the n-th NIC. */
  async setLink(nic: number, up: boolean): Promise<void> {
    const qmp = this.#qmp
    await qmp?.do('set_link', { name: nicId(this.wired.plan.nics[nic]!.name), up }).catch((error) => {
      // A server that dies at this moment has no lights.
      if (this.#qmp === qmp) throw error
    })
  }

  /** A drive out of its bay, live or not. */
  pullDrive(bay: number): Promise<void> {
    return this.#serial(async () => {
      const found = this.#bays.find((one) => one.bay === bay && one.in)
      if (!found) throw new Error(`${this.name}/${driveName(bay)} is out already`)
      if (this.#qmp) await this.#eject(found)
      this.#bays = this.#bays.map((one) => (one === found ? { ...one, in: false } : one))
      this.#note()
    })
  }

  async #eject({ bay }: Drive): Promise<void> {
    const id = driveName(bay)
    const qmp = this.#qmp!
    this.#ejected.delete(id)
    await qmp.do('device_del', { id })
    await until(`${this.name}/${id} leaves`, eject_time_max_ms, () => this.#ejected.has(id), 2)
    const node = `${id}-${this.#keys.get(bay)}`
    for (const name of [node, `${node}-file`]) await qmp.do('blockdev-del', { 'node-name': name })
  }

  /** A drive into its bay: the one that was pulled, or with `blank` a new one of this serial. */
  pushDrive(bay: number, blank?: { readonly serial: string }): Promise<void> {
    return this.#serial(async () => {
      const old = this.#bays.find((one) => one.bay === bay)
      if (old?.in) throw new Error(`${this.name}/${driveName(bay)} is in: pull it first`)
      // The old one leaves the house.
      if (blank && old) rmSync(old.file, { force: true })
      const drive = blank ? this.#blank(bay, blank.serial) : old!
      if (this.#qmp) await this.#insert(drive)
      this.#bays = this.#bays.map((one) => (one.bay === bay ? { ...drive, in: true } : one))
      this.#note()
    })
  }

  async #insert(drive: Drive): Promise<void> {
    const key = `plug${++this.#plugged}`
    const order = bootIndexes({ nics: [], drives: this.#bays, boot: 'disk' })
    const { file, format, device } = driveDevices(drive, key, order.drive(100 + drive.bay))
    await this.#qmp!.do('blockdev-add', file)
    await this.#qmp!.do('blockdev-add', format)
    await this.#qmp!.do('device_add', device)
    this.#keys.set(drive.bay, key)
  }

  /** The last thing that its console said. */
  get consoleLine(): string {
    const file = this.#ground.consoleLog(this.name)
    if (!this.#child || !existsSync(file)) return ''
    const handle = openSync(file, 'r')
    try {
      const { size } = fstatSync(handle)
      const tail = Buffer.alloc(Math.min(size, tail_bytes))
      readSync(handle, tail, 0, tail.length, size - tail.length)
      return lastLine(tail.toString('latin1'))
    } finally {
      closeSync(handle)
    }
  }
}

/** The last line of a terminal's output, without what moves the cursor. */
export function lastLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: terminals speak in them
  const plain = text.replace(/\x1b(\[[0-9;?=]*[a-zA-Z]|\([A-Z0-9]|[=>c78])/g, '').replace(/[^\x20-\x7e\n]/g, '')
  const lines = plain.split('\n').map((line) => line.trim())
  return (lines.filter((line) => line !== '').at(-1) ?? '').slice(0, console_line_max)
}
