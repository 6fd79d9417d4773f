/** DHCP and TFTP for servers that start over the network, with dnsmasq; says which unknown cards ask. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { InstallPlan, Plan } from '#infra/site/plan.ts'
import { dnsmasqConfiguration } from './render.ts'

/** Boot loaders of Debian's package ipxe, for BIOS and UEFI. */
const loaders = ['/usr/lib/ipxe/undionly.kpxe', '/usr/lib/ipxe/ipxe.efi']
const start_time_ms = 600

export interface Heard {
  /** A card that the site does not know asks for an address. */
  unknown(mac: string): void
  /** A known card asked, or got, an address. */
  known(mac: string): void
}

/** The network device that has an address; throws when none has. */
export function deviceOf(address: string): string {
  // Node's own list leaves out a device whose cable is not plugged in yet.
  const said = spawnSync('ip', ['-json', '-4', 'address', 'show'], { encoding: 'utf8' })
  const devices = JSON.parse(said.stdout || '[]') as { ifname: string; addr_info: { local: string }[] }[]
  const found = devices.find(({ addr_info }) => addr_info.some(({ local }) => local === address))
  if (found) return found.ifname
  throw new Error(
    `this machine has no address ${address}, which the site says the machine that deploys has on lan: deploy from there, or correct install.address`,
  )
}

/** What a line of the log of dnsmasq says of a card. Pure. */
export function cardIn(line: string): { mac: string; known: boolean } | undefined {
  const [, kind, mac, rest] =
    /DHCP(DISCOVER|REQUEST|OFFER|ACK)\(\S+\) (?:\d+\.\d+\.\d+\.\d+ )*([0-9a-f:]{17})(.*)$/i.exec(line) ?? []
  if (kind === undefined || mac === undefined) return undefined
  if (/ignored|no address available/.test(rest ?? '')) return { mac: mac.toLowerCase(), known: false }
  return kind === 'OFFER' || kind === 'ACK' ? { mac: mac.toLowerCase(), known: true } : undefined
}

/** Starts it; resolves with what ends it. */
export async function startDnsmasq(
  plan: Plan,
  install: InstallPlan,
  url: string,
  heard: Heard,
  log: (line: string) => void,
): Promise<() => void> {
  const missing = loaders.filter((file) => !existsSync(file))
  if (missing.length > 0) throw new Error(`${missing.join(' and ')} are missing: apt-get install ipxe`)
  const device = deviceOf(install.address)
  const folder = mkdtempSync(join(tmpdir(), 'milepost-tftp-'))
  const tftp = join(folder, 'tftp')
  mkdirSync(tftp)
  for (const file of loaders) copyFileSync(file, join(tftp, file.split('/').at(-1)!))
  writeFileSync(join(folder, 'dnsmasq.conf'), dnsmasqConfiguration(plan, install, { device, tftp, url }))
  // It reads boot loaders that everybody may read, and its folder is open for that alone.
  const child: ChildProcess = spawn(
    'setpriv',
    // It ends with this process, however that ends: a second one could not serve.
    [
      ...['--pdeathsig', 'TERM', 'dnsmasq'],
      `--conf-file=${join(folder, 'dnsmasq.conf')}`,
      '--log-facility=-',
      '--user=root',
      `--pid-file=${join(folder, 'pid')}`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const stop = () => {
    child.kill('SIGTERM')
    rmSync(folder, { recursive: true, force: true })
  }
  const last: string[] = []
  createInterface({ input: child.stderr! }).on('line', (line) => {
    log(line)
    last.push(line)
    if (last.length > 10) last.shift()
    const card = cardIn(line)
    if (card) heard[card.known ? 'known' : 'unknown'](card.mac)
  })
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, start_time_ms)
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(
        (error as NodeJS.ErrnoException).code === 'ENOENT'
          ? new Error('dnsmasq is missing: apt-get install dnsmasq-base')
          : error,
      )
    })
    child.on('close', (code) => {
      clearTimeout(timer)
      reject(new Error(`dnsmasq ended with ${code}: ${last.slice(-3).join('; ')}`))
    })
  }).catch((error: Error) => {
    stop()
    throw error
  })
  return stop
}
