/** What servers, DHCP and the in-memory image are told: boot scripts, steps and settings as text. Pure. */
import type { InstallPlan, Plan } from '#infra/site/plan.ts'

/** One run of the installer: images of an earlier one are told to go. */
export interface RunFacts {
  readonly url: string
  readonly run: string
  /** Of the network `lan`. */
  readonly mtu: number
}

/** What iPXE is told; a server that is not to be looked at goes on to its next boot device: its drives. */
export function bootScript({ url, run, mtu }: RunFacts, server: string, mac: string, kernel_args: string): string {
  const facts = `milepost.url=${url} milepost.server=${server} milepost.run=${run} milepost.mac=${mac} milepost.mtu=${mtu}`
  return [
    '#!ipxe',
    `echo Milepost: ${server} is looked at; nothing is written to its drives yet`,
    `kernel ${url}/vmlinuz initrd=image ${facts} ${kernel_args} || exit 1`,
    `initrd --name image ${url}/image || exit 1`,
    'boot',
    '',
  ].join('\n')
}

export const fromDrives = ['#!ipxe', 'echo Milepost: nothing to do here, starting from the drives', 'exit 0', ''].join(
  '\n',
)

/** Configuration of dnsmasq: DHCP for known cards alone, their server's own address; boot loaders over TFTP. */
export function dnsmasqConfiguration(
  plan: Plan,
  install: InstallPlan,
  at: { readonly device: string; readonly tftp: string; readonly url: string },
): string {
  const lan = plan.networks.find(({ name }) => name === 'lan')!
  const hosts = plan.servers.map(
    ({ name, nics, access }) => `dhcp-host=${nics.map(({ mac }) => mac).join(',')},set:known,${access.address},${name}`,
  )
  return [
    '# DNS is off: this serves servers that start, and for as long as a deploy looks at them or installs them.',
    'port=0',
    'keep-in-foreground',
    'no-resolv',
    'no-hosts',
    'no-ping',
    'leasefile-ro',
    'log-dhcp',
    `interface=${at.device}`,
    'except-interface=lo',
    'bind-interfaces',
    `listen-address=${install.address}`,
    `dhcp-range=${lan.cidr.split('/')[0]},static,${netmask(lan.cidr)},10m`,
    'dhcp-ignore=tag:!known',
    ...hosts,
    // No way to elsewhere and no name server: nothing beyond this machine is needed.
    'dhcp-option=option:router',
    'dhcp-option=option:dns-server',
    'dhcp-match=set:ipxe,175',
    'dhcp-match=set:efi,option:client-arch,7',
    'dhcp-match=set:efi,option:client-arch,9',
    'dhcp-boot=tag:!ipxe,tag:!efi,undionly.kpxe',
    'dhcp-boot=tag:!ipxe,tag:efi,ipxe.efi',
    `dhcp-boot=tag:ipxe,${at.url}/boot.ipxe`,
    'enable-tftp',
    `tftp-root=${at.tftp}`,
    'tftp-no-fail',
    '',
  ].join('\n')
}

/** What iPXE fetches first: it says which of its cards it was started over. */
export const chainScript = (url: string) => ['#!ipxe', `chain ${url}/boot?mac=\${netX/mac}`, ''].join('\n')

const netmask = (cidr: string) => {
  const bits = Number(cidr.split('/')[1])
  return [24, 16, 8, 0].map((shift) => ((0xffffffff << (32 - bits)) >>> shift) & 255).join('.')
}

/** Functions of every step: how it reports, and drives by their serials. */
export const stepCommon = `set -u
report() { timeout 15 wget -q -O /dev/null --post-data "$1" "$url/servers/$server/report?run=$run" || true; }
serial_of() {
  # SCSI and SATA drives tell it in a page of their own after four bytes, NVMe in a file.
  if [ -e "/sys/block/$1/device/vpd_pg80" ]; then tail -c +5 "/sys/block/$1/device/vpd_pg80" | tr -d ' \\0\\n'
  elif [ -e "/sys/block/$1/device/serial" ]; then tr -d ' \\0\\n' < "/sys/block/$1/device/serial"
  elif [ -e "/sys/block/$1/serial" ]; then tr -d ' \\0\\n' < "/sys/block/$1/serial"
  fi
}
drives() {
  for drive in /sys/block/sd* /sys/block/nvme* /sys/block/vd*; do
    [ -e "$drive/size" ] && [ "$(cat "$drive/size")" != 0 ] && [ "$(cat "$drive/removable")" = 0 ] && echo "\${drive##*/}"
  done
}
`

export const waitStep = 'sleep 2\n'
export const offStep = `${stepCommon}echo "milepost: switching off" > /dev/console
sync
sleep 1
poweroff -f
`

/** Longest wait for a switch to name itself, s: they do so every 30 s. */
const lldp_time_max_s = 35

/** Looks at the server and reports; writes nothing. */
export const inventoryStep = `${stepCommon}echo "milepost: looking at the server" > /dev/console
report "step looking at cards and drives"
cards=
for card in /sys/class/net/*; do
  [ -e "$card/device" ] || continue
  name=\${card##*/}
  cards="$cards $name"
  # Some cards keep what switches say to themselves.
  ethtool --set-priv-flags "$name" disable-fw-lldp on > /dev/null 2>&1
  (timeout ${lldp_time_max_s} tcpdump -Z root -i "$name" -Q in -c 1 -s 0 -xx ether proto 0x88cc > "/tmp/lldp.$name" 2> /dev/null) &
done
for second in 1 2 3 4 5 6 7 8 9 10; do
  dark=0
  for name in $cards; do [ "$(cat "/sys/class/net/$name/carrier" 2> /dev/null)" = 1 ] || dark=1; done
  [ $dark = 0 ] && break
  sleep 1
done
for second in $(seq 1 ${lldp_time_max_s}); do
  deaf=0
  for name in $cards; do
    [ "$(cat "/sys/class/net/$name/carrier" 2> /dev/null)" = 1 ] && [ ! -s "/tmp/lldp.$name" ] && deaf=1
  done
  [ $deaf = 0 ] && break
  sleep 1
done
{
  echo "memory_kb $(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)"
  if [ -d /sys/firmware/efi ]; then echo "firmware uefi"; else echo "firmware bios"; fi
  for name in $cards; do
    echo "nic $name $(cat "/sys/class/net/$name/address") $(cat "/sys/class/net/$name/carrier" 2> /dev/null || echo 0)"
    frame=$(sed -n 's/^.*0x[0-9a-f]*: *//p' "/tmp/lldp.$name" | tr -d ' \\n')
    [ -n "$frame" ] && echo "lldp $name $frame"
  done
  for drive in $(drives); do
    echo "drive $drive $(($(cat "/sys/block/$drive/size") * 512)) $(serial_of "$drive")"
    found=$(wipefs --no-act --noheadings --output TYPE "/dev/$drive" 2> /dev/null | sort -u | tr '\\n' ',')
    [ -n "$found" ] && echo "holds $drive $found"
  done
} > /tmp/inventory
timeout 15 wget -q -O /dev/null --post-file /tmp/inventory "$url/servers/$server/inventory?run=$run" || sleep 2
`
