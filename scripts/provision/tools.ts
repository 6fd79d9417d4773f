/** What the machine that deploys needs to install servers. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** A file that its Debian package brings. */
const tools: Readonly<Record<string, string>> = {
  'usr/bin/mmdebstrap': 'mmdebstrap',
  'usr/bin/ipmitool': 'ipmitool',
  'usr/sbin/dnsmasq': 'dnsmasq-base',
  'usr/lib/ipxe/undionly.kpxe': 'ipxe',
  'usr/bin/cpio': 'cpio',
  'usr/bin/zstd': 'zstd',
  'usr/sbin/depmod': 'kmod',
}

/** Debian packages that are missing. */
export const missingTools = (root = '/'): string[] =>
  Object.entries(tools)
    .filter(([file]) => !existsSync(join(root, file)) && !existsSync(join(root, file.replace(/^usr\//, ''))))
    .map(([, name]) => name)
