import { spawnSync } from 'node:child_process'
import test from 'ava'
import { planOf } from '#infra/site/plan-of.ts'
import { metal } from '#infra/sites/metal.ts'
import { parseSupplies, supplyFindings, whyNot } from './bmc.ts'
import { cardIn } from './dnsmasq.ts'
import { installStep, systemFiles } from './install.ts'
import { bootScript, chainScript, dnsmasqConfiguration, inventoryStep, offStep, waitStep } from './render.ts'

const plan = planOf(metal)
const install = plan.install!
const srv1 = plan.servers.find(({ name }) => name === 'srv1')!
const url = 'http://10.20.10.250:8069'
const key = 'ssh-ed25519 AAAAC3 milepost metal'
const files = systemFiles(plan, srv1, key, 'f00d')
const textOf = (path: string) => files.find((file) => file.path === path)?.text

/** Whether a shell understands it. */
const sound = (script: string) => spawnSync('sh', ['-n'], { input: script, encoding: 'utf8' }).stderr

test('the boot script names the server, its card, this run, and where to ask', (t) => {
  t.is(
    bootScript({ url, run: 'beef', mtu: 9_000 }, 'srv1', '3c:ec:ef:00:04:a0', 'console=ttyS0'),
    `#!ipxe
echo Milepost: srv1 is looked at; nothing is written to its drives yet
kernel ${url}/vmlinuz initrd=image milepost.url=${url} milepost.server=srv1 milepost.run=beef milepost.mac=3c:ec:ef:00:04:a0 milepost.mtu=9000 console=ttyS0 || exit 1
initrd --name image ${url}/image || exit 1
boot
`,
  )
  t.is(chainScript(url), `#!ipxe\nchain ${url}/boot?mac=\${netX/mac}\n`)
})

test('DHCP: known cards alone, each server its own address, no DNS, no way out', (t) => {
  const lines = dnsmasqConfiguration(plan, install, { device: 'lan0', tftp: '/tmp/t', url }).split('\n')
  t.true(lines.includes('dhcp-host=3c:ec:ef:00:04:a0,3c:ec:ef:00:04:a1,set:known,10.20.10.31,srv1'))
  t.is(lines.filter((line) => line.startsWith('dhcp-host=')).length, plan.servers.length)
  for (const line of [
    'port=0',
    'interface=lan0',
    'bind-interfaces',
    'dhcp-range=10.20.10.0,static,255.255.255.0,10m',
    'dhcp-ignore=tag:!known',
    `dhcp-boot=tag:ipxe,${url}/boot.ipxe`,
  ])
    t.true(lines.includes(line), line)
})

test('cards in the log of DHCP', (t) => {
  t.deepEqual(cardIn('dnsmasq-dhcp[7]: 12 DHCPDISCOVER(lan0) 52:54:00:12:34:56 ignored'), {
    mac: '52:54:00:12:34:56',
    known: false,
  })
  t.deepEqual(cardIn('dnsmasq-dhcp[7]: 12 DHCPDISCOVER(lan0) 52:54:00:12:34:56 no address available'), {
    mac: '52:54:00:12:34:56',
    known: false,
  })
  t.deepEqual(cardIn('dnsmasq-dhcp[7]: 12 DHCPACK(lan0) 10.20.10.31 3c:ec:ef:00:04:a0 srv1'), {
    mac: '3c:ec:ef:00:04:a0',
    known: true,
  })
  t.is(cardIn('dnsmasq-dhcp[7]: 12 DHCPDISCOVER(lan0) 3c:ec:ef:00:04:a0 '), undefined)
})

test('every step is understood by a shell', (t) => {
  for (const script of [inventoryStep, waitStep, offStep, installStep(plan, srv1, files)]) t.is(sound(script), '')
  t.is(sound(installStep(plan, { ...srv1, firmware: 'uefi' }, files)), '')
  const inner = /<<'END_OF_STEP'\n([\s\S]*?)\nEND_OF_STEP\n/.exec(installStep(plan, srv1, files))![1]!
  t.is(sound(inner), '')
})

test('the install step: both drives by serial, a loader on each, as the firmware wants it', (t) => {
  const bios = installStep(plan, srv1, files)
  for (const { serial } of srv1.drives) t.true(bios.includes(`'${serial}')`))
  t.true(bios.includes('chroot /target grub-install --target=i386-pc "/dev/$a"'))
  t.true(bios.includes('dd if="$(part "$a" 1)" of="$(part "$b" 1)"'))
  t.true(bios.includes(`linux /vmlinuz root=UUID=$identity ro ${install.kernel_args}`))
  t.false(bios.includes('x86_64-efi'))
  const uefi = installStep(plan, { ...srv1, firmware: 'uefi' }, files)
  t.true(uefi.includes('for part in "$efi_a" "$efi_b"; do'))
  t.true(uefi.includes('--removable --no-nvram'))
  t.false(uefi.includes('i386-pc'))
})

test('the system: name, key, and a bond of both cards with its monitoring', (t) => {
  t.is(textOf('/etc/hostname'), 'srv1\n')
  t.is(textOf('/root/.ssh/authorized_keys'), `${key}\n`)
  t.is(textOf('/etc/milepost-installation'), 'f00d\n')
  const bond = textOf('/etc/systemd/network/10-milepost-bond0.netdev')!
  for (const line of ['Mode=active-backup', 'ARPIntervalSec=100ms', 'ARPValidate=all', 'MACAddress=3c:ec:ef:00:04:a0'])
    t.true(bond.includes(`${line}\n`), line)
  t.true(textOf('/etc/systemd/network/10-milepost-eth1.link')!.includes('PermanentMACAddress=3c:ec:ef:00:04:a1\n'))
  t.true(textOf('/etc/systemd/network/20-milepost-bond0.network')!.includes('Address=10.20.10.31/24\n'))
  const lacp = systemFiles(
    plan,
    { ...srv1, bond: { ...srv1.bond, mode: '802.3ad', monitoring: { kind: 'mii', interval_ms: 100 } } },
    key,
    'f00d',
  ).find(({ path }) => path.endsWith('.netdev'))!.text
  for (const line of ['Mode=802.3ad', 'MIIMonitorSec=100ms', 'LACPTransmitRate=fast'])
    t.true(lacp.includes(`${line}\n`), line)
})

const [path] = srv1.bmc.paths
test('what a BMC refuses is named with its place', (t) => {
  const at = 'srv1 (rack r1, unit 20): BMC 10.20.40.131'
  t.is(
    whyNot('> RAKP 2 HMAC is invalid\nError: Unable to establish IPMI v2 / RMCP+ session', srv1, path!),
    `${at}: wrong password for user milepost; the deploy uses the one in secrets/bmc/srv1`,
  )
  t.is(
    whyNot('RAKP 2 message indicates an error : unauthorized name\nError: Unable to establish', srv1, path!),
    `${at}: it has no user milepost; make it, or correct user in the site file`,
  )
  t.is(
    whyNot('Error: Unable to establish IPMI v2 / RMCP+ session', srv1, path!),
    `${at}: no answer; look at its address, the cable to port 23 of switch r1-sw-a, IPMI over LAN, and the mains`,
  )
})

test('power supplies: whole, without input, failed, absent', (t) => {
  const said = (one: string, two: string) =>
    parseSupplies(
      `PSU1 Status      | 01h | ok  | 10.1 | ${one}\nPSU2 Status      | 02h | ok  | 10.2 | ${two}\nPSU1 Power       | 03h | ok  | 10.1 | 120 Watts\n`,
    )
  const place = 'srv1 (rack r1, unit 20)'
  const ok = 'Presence detected'
  t.deepEqual(supplyFindings(plan, srv1, said(ok, ok)), [])
  t.deepEqual(supplyFindings(plan, srv1, said(ok, `${ok}, Power Supply AC lost`)), [
    `${place}: psu2 has no input; look at outlet 3 of r1-pdu-b, feed B (breaker 22, UPS 2)`,
  ])
  t.deepEqual(supplyFindings(plan, srv1, said(`${ok}, Failure detected`, ok)), [
    `${place}: psu1 has failed; replace it (outlet 3 of r1-pdu-a, feed A (breaker 14, UPS 1))`,
  ])
  t.deepEqual(supplyFindings(plan, srv1, said(ok, '')), [
    `${place}: psu2 is not in its bay (outlet 3 of r1-pdu-b, feed B (breaker 22, UPS 2))`,
  ])
  t.deepEqual(supplyFindings(plan, srv1, []), [])
})
