/** The step that makes a blank server a server that SSH reaches: partitions, mirror, root, boot loader on each drive. Pure. */
import type { InstallPlan, Plan, ServerPlan } from '#infra/site/plan.ts'
import { stepCommon } from './render.ts'

/** A file of the installed system. */
export interface SystemFile {
  readonly path: string
  readonly text: string
  readonly mode?: string
}

/**
 * What the root lacks: names, one device of both cards, its address on `lan`, the key of the site. Network files are named
 * like those of the roles `bond` and `network`, which take them over.
 */
export function systemFiles(plan: Plan, server: ServerPlan, publicKey: string, installation: string): SystemFile[] {
  const { bond, nics, name, fqdn, access } = server
  const lan = server.interfaces.find(({ network }) => network === 'lan')!
  const members = nics.filter((nic) => bond.members.includes(nic.name))
  const mac = nics.find((nic) => nic.name === bond.primary)!.mac
  const home = access.user === 'root' ? '/root' : `/home/${access.user}`
  const unit = (file: string, lines: readonly string[]): SystemFile => ({
    path: `/etc/systemd/network/${file}`,
    text: `${lines.join('\n')}\n`,
  })
  return [
    { path: '/etc/hostname', text: `${name}\n` },
    { path: '/etc/hosts', text: `127.0.0.1 localhost\n::1 localhost ip6-localhost\n${lan.address} ${fqdn} ${name}\n` },
    { path: '/etc/milepost-installation', text: `${installation}\n` },
    // Before the bond is made: a kernel that is busy finding its hardware takes too long to fetch it in between.
    { path: '/etc/modules-load.d/milepost.conf', text: 'bonding\n8021q\n' },
    { path: '/etc/default/grub.d/milepost.cfg', text: grubSettings(plan.install!) },
    ...members.flatMap((nic) => [
      unit(`10-milepost-${nic.name}.link`, [
        '[Match]',
        `PermanentMACAddress=${nic.mac}`,
        '',
        '[Link]',
        `Name=${nic.name}`,
      ]),
      unit(`10-milepost-${nic.name}.network`, [
        '[Match]',
        `PermanentMACAddress=${nic.mac}`,
        'Kind=!*',
        '',
        '[Link]',
        `MTUBytes=${lan.mtu}`,
        '',
        '[Network]',
        `Bond=${bond.name}`,
        ...(bond.mode === 'active-backup' && nic.name === bond.primary ? ['PrimarySlave=yes'] : []),
        'LinkLocalAddressing=no',
        'LLDP=yes',
      ]),
    ]),
    unit(`10-milepost-${bond.name}.netdev`, [
      '[NetDev]',
      `Name=${bond.name}`,
      'Kind=bond',
      `MTUBytes=${lan.mtu}`,
      `MACAddress=${mac}`,
      '',
      '[Bond]',
      `Mode=${bond.mode}`,
      ...(bond.monitoring.kind === 'mii'
        ? [`MIIMonitorSec=${bond.monitoring.interval_ms}ms`]
        : [
            `ARPIntervalSec=${bond.monitoring.interval_ms}ms`,
            `ARPIPTargets=${bond.monitoring.targets.join(' ')}`,
            'ARPValidate=all',
            'ARPAllTargets=any',
          ]),
      ...(bond.mode === 'active-backup'
        ? ['PrimaryReselectPolicy=better', 'GratuitousARP=3', 'FailOverMACPolicy=none']
        : ['LACPTransmitRate=fast', 'TransmitHashPolicy=layer3+4', 'MinLinks=1']),
    ]),
    unit(`20-milepost-${bond.name}.network`, [
      '[Match]',
      `Name=${bond.name}`,
      '',
      '[Network]',
      'LinkLocalAddressing=no',
      'IPv6AcceptRA=no',
      'ConfigureWithoutCarrier=yes',
      'KeepConfiguration=static',
      `Address=${lan.address}/${lan.prefix}`,
      '',
      '[Link]',
      `MTUBytes=${lan.mtu}`,
    ]),
    { path: `${home}/.ssh/authorized_keys`, text: `${publicKey.trim()}\n`, mode: '600' },
  ]
}

const grubSettings = ({ kernel_args }: InstallPlan) =>
  [
    'GRUB_TIMEOUT=2',
    // A server whose power came back is not to wait for somebody at its console.
    'GRUB_RECORDFAIL_TIMEOUT=2',
    'GRUB_DISABLE_OS_PROBER=true',
    'GRUB_CMDLINE_LINUX_DEFAULT=""',
    `GRUB_CMDLINE_LINUX="${kernel_args}"`,
    'GRUB_TERMINAL_INPUT="console serial"',
    'GRUB_TERMINAL_OUTPUT="console serial"',
    'GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"',
    '',
  ].join('\n')

/** GRUB's menu of one line until the system writes its own; `identity` is the shell's. */
const menu = ({ kernel_args }: InstallPlan) =>
  [
    'serial --unit=0 --speed=115200',
    'terminal_input console serial',
    'terminal_output console serial',
    'set timeout=2',
    'menuentry Debian {',
    '  search --no-floppy --fs-uuid --set=root $identity',
    `  linux /vmlinuz root=UUID=$identity ro ${kernel_args}`,
    '  initrd /initrd.img',
    '}',
  ].join('\n')

/** Types of partitions: room for GRUB's second stage (BIOS), the EFI system partition, a member of a mirror. */
const bios_boot = '21686148-6449-6E6F-744E-656564454649'
const efi_system = 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B'
const linux_raid = 'A19D880F-05FC-4D3B-A006-743F0F84911E'
/** Left free at the end: a replacement drive may be a little smaller. */
const spare_mib = 128
/** A drive that has not said that it is all zero by then would be written through. */
const zero_time_max_s = 60

/** The table of either drive: the same for both kinds of firmware. `size_mib`: of the smaller drive. */
const table = [
  'label: gpt',
  `start=1MiB, size=1MiB, type=${bios_boot}, name=bios`,
  `size=254MiB, type=${efi_system}, name=efi`,
  `size=\${room}MiB, type=${linux_raid}, name=system`,
].join('\n')

const here = (path: string, text: string) => {
  if (/^END_OF_FILE$/m.test(text)) throw new Error(`${path}: it has a line END_OF_FILE`)
  return `mkdir -p "$(dirname "/target${path}")"\ncat > "/target${path}" <<'END_OF_FILE'\n${text}END_OF_FILE\n`
}

/** The install step. What went wrong is reported with the last lines that were said. */
export function installStep(plan: Plan, server: ServerPlan, files: readonly SystemFile[]): string {
  const [first, second] = server.drives.map(({ serial }) => serial)
  const { name: mirror } = server.raid
  const user = server.access.user
  const loaders =
    server.firmware === 'uefi'
      ? `for part in "$efi_a" "$efi_b"; do
  /usr/sbin/mkfs.vfat -F 32 -n EFI "$part"
  mkdir -p /target/boot/efi
  mount -t vfat "$part" /target/boot/efi
  # Where every firmware looks by itself: no entry of its own is needed, and either drive starts the server alone.
  chroot /target grub-install --target=x86_64-efi --efi-directory=/boot/efi --removable --no-nvram --no-uefi-secure-boot
  umount /target/boot/efi
done`
      : `chroot /target grub-install --target=i386-pc "/dev/$a"
# Its second stage lies at the same place of both drives and finds the mirror by its identity: the other drive's is a copy.
dd if="$(part "$a" 1)" of="$(part "$b" 1)" bs=1M conv=fsync 2> /dev/null
dd if="/dev/$a" of="/dev/$b" bs=440 count=1 conv=notrunc,fsync 2> /dev/null`
  return `${stepCommon}echo "milepost: installing $server" > /dev/console
cat > /tmp/install <<'END_OF_STEP'
${stepCommon}set -e -o pipefail
step() { echo "milepost: $1" > /dev/console; echo "+ $1"; report "step $1"; }
part() { case $1 in nvme*) echo "/dev/$1p$2" ;; *) echo "/dev/$1$2" ;; esac; }
a= b=
for drive in $(drives); do
  case $(serial_of "$drive") in
    '${first}') a=$drive ;;
    '${second}') b=$drive ;;
  esac
done
[ -n "$a" ] && [ -n "$b" ] || { echo 'a drive is gone since it was looked at'; exit 1; }

step 'partitions'
mdadm --stop --scan 2> /dev/null || true
for drive in "$a" "$b"; do
  for old in "/dev/$drive"?*; do
    [ -b "$old" ] || continue
    mdadm --zero-superblock "$old" 2> /dev/null || true
    wipefs --all --quiet "$old" || true
  done
  wipefs --all --quiet "/dev/$drive"
done
size_a=$(cat "/sys/block/$a/size") size_b=$(cat "/sys/block/$b/size")
least=$size_a
[ "$size_b" -ge "$size_a" ] || least=$size_b
room=$((least / 2048 - 256 - ${spare_mib}))
for drive in "$a" "$b"; do
  sfdisk --quiet --wipe always "/dev/$drive" <<END_OF_TABLE
${table}
END_OF_TABLE
done
for again in 1 2 3 4 5 6 7 8 9 10; do
  [ -b "$(part "$a" 3)" ] && [ -b "$(part "$b" 3)" ] && break
  sleep 1
done
efi_a=$(part "$a" 2) efi_b=$(part "$b" 2)

step 'mirror'
# Drives that are told to be zero, and are at once, are equal. Others are made equal when the system runs: until then it is in the way.
equal=--assume-clean
for drive in "$a" "$b"; do timeout ${zero_time_max_s} /usr/sbin/blkdiscard --zeroout "$(part "$drive" 3)" || equal=; done
echo 1000 > /proc/sys/dev/raid/speed_limit_max 2> /dev/null || true
mdadm --create /dev/md0 --run $equal --level=1 --raid-devices=2 --metadata=1.2 --bitmap=internal --homehost=any --name=${mirror} "$(part "$a" 3)" "$(part "$b" 3)"
identity=$(cat /proc/sys/kernel/random/uuid)

step 'root'
# By their full names: busybox has small ones of its own, and prefers them.
wget -q -O - "$url/servers/$server/root?run=$run" | zstd -q -d -c | /usr/bin/dd of=/dev/md0 bs=1M iflag=fullblock oflag=direct \${equal:+conv=sparse} 2> /dev/null
/usr/sbin/tune2fs -U "$identity" /dev/md0 > /dev/null
/usr/sbin/resize2fs /dev/md0 > /dev/null 2>&1
/usr/sbin/tune2fs -j /dev/md0 > /dev/null
mount -t ext4 /dev/md0 /target

step 'settings'
${files.map(({ path, text, mode }) => here(path, text) + (mode === undefined ? '' : `chmod ${mode} "/target${path}"\n`)).join('')}tr -d '-' < /proc/sys/kernel/random/uuid > /target/etc/machine-id
echo "UUID=$identity / ext4 errors=remount-ro 0 1" > /target/etc/fstab
for name in proc sys dev; do mount --bind "/$name" "/target/$name"; done
mount -t tmpfs run /target/run
${
  user === 'root'
    ? 'chmod 700 /target/root/.ssh'
    : `chroot /target useradd --create-home --shell /bin/bash --groups sudo ${user}
echo '${user} ALL=(ALL) NOPASSWD: ALL' > /target/etc/sudoers.d/installer
chmod 440 /target/etc/sudoers.d/installer
chroot /target chown -R ${user}: /home/${user}
chmod 700 /target/home/${user}/.ssh`
}
chroot /target ssh-keygen -q -t ed25519 -N '' -C '${server.name}' -f /etc/ssh/ssh_host_ed25519_key

step 'boot loader on both drives'
${loaders}
# What the system itself writes there anew with its next kernel.
cat > /target/boot/grub/grub.cfg <<END_OF_MENU
${menu(plan.install!)}
END_OF_MENU

step 'end'
for name in run dev sys proc; do umount "/target/$name"; done
id=$(cat /target/etc/machine-id) key=$(cat /target/etc/ssh/ssh_host_ed25519_key.pub)
umount /target
sync
# Without this one the next deploy would install it again.
for again in 1 2 3 4 5 6 7 8 9 10; do
  timeout 15 wget -q -O /dev/null --post-data "installed $id $key" "$url/servers/$server/report?run=$run" && break
  sleep 3
done
END_OF_STEP
# A sign of life, whatever takes long.
(while sleep 20; do report alive; done) &
if sh /tmp/install > /tmp/said 2>&1; then
  echo "milepost: installed, starting from the drives" > /dev/console
  mdadm --wait-clean --scan > /dev/null 2>&1
  sleep 1
  reboot -f
fi
cat /tmp/said > /dev/console
report "failed $(tail -n 6 /tmp/said)"
kill $!
sleep 5
`
}
