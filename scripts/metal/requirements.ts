/** Whether this machine can carry an emulated site; every miss is one sentence with its remedy. */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import type { Options } from './options.ts'
import { ovmf, qemu } from './qemu.ts'

/** What the emulator runs, and Debian's package that has it. */
const tools: Readonly<Record<string, string>> = {
  [qemu]: 'qemu-system-x86',
  'ovs-vsctl': 'openvswitch-switch',
  ipmi_sim: 'openipmi',
  ipmitool: 'ipmitool',
  socat: 'socat',
  ip: 'iproute2',
  ethtool: 'ethtool',
  curl: 'curl',
  sysctl: 'procps',
}
/** Files that must be there: firmware that QEMU starts from the network with, and that of UEFI. */
const files: Readonly<Record<string, string>> = {
  '/usr/share/seabios/bios-256k.bin': 'seabios',
  '/usr/lib/ipxe/qemu/pxe-virtio.rom': 'ipxe-qemu',
  [ovmf.code]: 'ovmf',
}

const exists = (command: string) =>
  spawnSync('sh', ['-c', `command -v ${command}`], {
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  }).status === 0

export const missingPackages = (): string[] => [
  ...new Set([
    ...Object.entries(tools)
      .filter(([command]) => !exists(command))
      .map(([, name]) => name),
    ...Object.entries(files)
      .filter(([file]) => !existsSync(file))
      .map(([, name]) => name),
  ]),
]

const usable = (file: string) => {
  try {
    accessSync(file, constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Throws the one sentence that says what is missing and what to do. */
export function requireMachine(options: Options): void {
  if (process.platform !== 'linux') throw new Error('the emulator needs Linux: its switches are network namespaces')
  if (process.getuid?.() !== 0)
    throw new Error('the emulator makes network namespaces and taps: run it as root (sudo npm run metal -- …)')
  if (!usable('/dev/net/tun')) throw new Error('/dev/net/tun is missing: run "modprobe tun"')
  if (options.accel === 'kvm' && !usable('/dev/kvm'))
    throw new Error('/dev/kvm is missing: switch on virtualization in the firmware, or leave --accel kvm out')
  const missing = missingPackages()
  if (missing.length > 0)
    throw new Error(
      `packages are missing: run "npm run metal -- install", or apt-get install --no-install-recommends ${missing.join(' ')}`,
    )
}

export function install(say: (text: string) => void): void {
  const missing = missingPackages()
  if (missing.length === 0) return say('nothing is missing')
  if (process.getuid?.() !== 0) throw new Error('installing packages needs root: sudo npm run metal -- install')
  say(`apt-get install ${missing.join(' ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (...args: string[]) => spawnSync('apt-get', ['-qq', ...args], { env, encoding: 'utf8' })
  apt('update')
  const done = apt('install', '-y', '--no-install-recommends', ...missing)
  if (done.status !== 0)
    throw new Error(
      `apt-get could not install ${missing.join(' ')}: ${(done.stderr ?? '').trim().split('\n').slice(-3).join(' ')}`,
    )
}
