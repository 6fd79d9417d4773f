/** A server as a command line of QEMU. Pure. */
import { createHash } from 'node:crypto'
import type { Options } from './options.ts'

/** What the firmware starts from: the network first, the drives alone, or the drives and then the network. */
export type BootFrom = 'pxe' | 'disk' | 'default'

export interface Nic {
  /** `eth0` */
  readonly name: string
  readonly mac: string
  /** The switch's port. */
  readonly tap: string
}

export interface Drive {
  /** Bay, from 0. */
  readonly bay: number
  readonly serial: string
  readonly file: string
}

export interface Machine {
  readonly site: string
  readonly name: string
  readonly nics: readonly Nic[]
  /** Drives that are in their bays. */
  readonly drives: readonly Drive[]
  readonly qmp: string
  readonly console: string
  readonly consoleLog: string
  /** Way to its BMC. */
  readonly system: string
  readonly uefi: { readonly code: string; readonly variables: string } | undefined
  readonly boot: BootFrom
}

export const qemu = 'qemu-system-x86_64'
/** What `apt-get install ovmf` brings. */
export const ovmf = { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', variables: '/usr/share/OVMF/OVMF_VARS_4M.fd' }

/** Name of a drive in QEMU and of the part: bays are numbered from 1 for people. */
export const driveName = (bay: number) => `disk${bay + 1}`
export const nicId = (name: string) => `nic-${name}`

/** Slots, so that a device is the same one to the guest whatever else is plugged in. */
const slot = { scsi: 3, nic: 4, watchdog: 8, random: 9 } as const
/** Nothing to start from: the firmware tries again after this. */
const retry_ms = 10_000
/** Translated code that TCG keeps; its own default grows to a gigabyte a server. */
const tcg_cache_mb = 256

/** The cheapest to emulate. Without virtualization of its own, whose drivers a guest would load for nothing. */
const cpu = 'qemu64,-svm'
const cache = { 'no-flush': true }

/** Place of each device in the firmware's order; undefined: it is not tried. */
export function bootIndexes(machine: Pick<Machine, 'nics' | 'drives' | 'boot'>) {
  const { nics, drives, boot } = machine
  const first = boot === 'pxe' ? nics.length : 0
  return {
    nic: (i: number) => (boot === 'disk' ? undefined : boot === 'pxe' ? i : drives.length + i),
    drive: (i: number) => first + i,
  }
}

const list = (name: string, options: Readonly<Record<string, string | number | undefined>>) =>
  [
    name,
    ...Object.entries(options)
      .filter(([, value]) => value !== undefined)
      // A comma in a value is doubled.
      .map(([key, value]) => `${key}=${String(value).replaceAll(',', ',,')}`),
  ].join(',')

/** The layers below a drive, and the drive: as QMP's blockdev-add and device_add take them. */
export function driveDevices({ bay, serial, file }: Drive, key: string, bootindex?: number) {
  const node = `${driveName(bay)}-${key}`
  return {
    // What a guest frees becomes a hole again: the files stay small. They outlive QEMU in the machine's page cache, which is
    // not written out for a guest: a power cut is the end of QEMU, not of the machine.
    file: { driver: 'file', 'node-name': `${node}-file`, filename: file, discard: 'unmap', cache },
    format: {
      driver: 'raw',
      'node-name': node,
      file: `${node}-file`,
      discard: 'unmap',
      'detect-zeroes': 'unmap',
      cache,
    },
    device: {
      driver: 'scsi-hd',
      id: driveName(bay),
      bus: 'scsi.0',
      'scsi-id': bay,
      drive: node,
      serial,
      ...(bootindex === undefined ? {} : { bootindex }),
    },
  }
}

export function qemuArguments(machine: Machine, options: Options): string[] {
  const { site, name, nics, drives } = machine
  const order = bootIndexes(machine)
  const uuid = createHash('md5').update(`${site}/${name}`).digest('hex')
  const accel = options.accel === 'kvm' ? ['kvm'] : [list('tcg', { thread: 'multi', 'tb-size': tcg_cache_mb })]
  return [
    ...['-name', name, '-nodefaults', '-no-user-config', '-display', 'none', '-vga', 'none'],
    ...['-machine', 'q35,graphics=off', '-accel', accel[0]!, '-cpu', options.accel === 'kvm' ? 'host' : cpu],
    ...['-smp', String(options.cpus), '-m', String(options.memory_mb), '-rtc', 'base=utc'],
    ...['-uuid', uuid.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')],
    ...['-smbios', list('type=1', { manufacturer: 'Milepost', product: 'emulated server', serial: `${site}-${name}` })],
    ...(machine.uefi
      ? [
          '-drive',
          list('if=pflash', { format: 'raw', readonly: 'on', file: machine.uefi.code }),
          '-drive',
          list('if=pflash', { format: 'raw', file: machine.uefi.variables }),
        ]
      : []),
    // Waits until its links are as they should be. A reboot ends it: the firmware's order may be another then.
    ...['-S', '-action', 'reboot=shutdown,shutdown=poweroff,panic=none,watchdog=reset'],
    ...['-boot', list('strict=on', { 'reboot-timeout': retry_ms })],
    ...['-chardev', list('socket', { id: 'qmp', path: machine.qmp, server: 'on', wait: 'off' })],
    ...['-mon', 'chardev=qmp,mode=control'],
    ...[
      '-chardev',
      list('socket', {
        id: 'console',
        path: machine.console,
        server: 'on',
        wait: 'off',
        logfile: machine.consoleLog,
        logappend: 'on',
      }),
    ],
    ...['-serial', 'chardev:console'],
    ...['-device', list('virtio-scsi-pci', { id: 'scsi', addr: slot.scsi })],
    ...drives.flatMap((drive, i) => {
      const { file, format, device } = driveDevices(drive, 'boot', order.drive(i))
      const { driver, ...rest } = device
      return ['-blockdev', JSON.stringify(file), '-blockdev', JSON.stringify(format), '-device', list(driver, rest)]
    }),
    ...nics.flatMap(({ name: nic, mac, tap }, i) => [
      '-netdev',
      // The switch takes frames as they are on a wire: whole, with their checksums.
      list('tap', { id: nic, ifname: tap, script: 'no', downscript: 'no', vnet_hdr: 'off' }),
      '-device',
      list('virtio-net-pci', { id: nicId(nic), netdev: nic, mac, addr: slot.nic + i, bootindex: order.nic(i) }),
    ]),
    ...['-chardev', list('socket', { id: 'bmc', path: machine.system, reconnect: 1 })],
    ...['-device', 'ipmi-bmc-extern,id=bmc0,chardev=bmc', '-device', 'isa-ipmi-kcs,bmc=bmc0'],
    ...['-device', list('i6300esb', { addr: slot.watchdog }), '-device', list('virtio-rng-pci', { addr: slot.random })],
  ]
}
