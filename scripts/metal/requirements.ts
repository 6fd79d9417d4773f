/** Whether this machine can carry an emulated site; every miss is one sentence with its remedy. */
import { accessSync, constants, existsSync } from 'node:fs'
import { installPackages, packagesMissing } from '../lab/apt.ts'
import { missingTools } from '../provision/tools.ts'
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

export const missingPackages = (): string[] => [
  ...new Set([
    ...packagesMissing(tools),
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

/** What the emulator needs, and what deploys servers on it. */
export const install = (say: (text: string) => void): void =>
  installPackages([...new Set([...missingPackages(), ...missingTools()])], 'npm run metal -- install', say)
