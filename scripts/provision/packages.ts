/** What the system of a server of metal has beyond the laboratory's root, and which drivers its images carry. */
import { cached, system } from '../lab/packages.ts'

/** Kernel, boot loaders for both kinds of firmware, and what makes mirrors, partitions and file systems. */
export const metal: readonly string[] = [
  'busybox-static',
  'dosfstools',
  'e2fsprogs',
  'fdisk',
  'gdisk',
  'grub-efi-amd64-bin',
  'grub-pc-bin',
  'grub2-common',
  'initramfs-tools',
  'kmod',
  'linux-image-amd64',
]

/** Units of those packages that have nothing to do on these servers: no LVM with snapshots to check. */
export const units_masked: readonly string[] = ['e2scrub_reap.service', 'e2scrub_all.timer']

export const packagesOf = (extra: readonly string[]) => [...new Set([...system, ...cached, ...metal, ...extra])].sort()

/** Parts of packages that no server in a rack has a use for; they would be a third of what is copied to each. */
export const left_out: readonly string[] = [
  ...[
    'drivers/bluetooth',
    'drivers/comedi',
    'drivers/gpu/drm/amd',
    'drivers/gpu/drm/i915',
    'drivers/gpu/drm/nouveau',
    'drivers/gpu/drm/radeon',
    'drivers/iio',
    'drivers/infiniband',
    'drivers/isdn',
    'drivers/media',
    'drivers/net/wireless',
    'drivers/staging',
    'fs/ceph',
    'fs/gfs2',
    'fs/ocfs2',
    'net/bluetooth',
    'net/mac80211',
    'net/wireless',
    'sound',
  ].map((part) => `/lib/modules/*/kernel/${part}/*`),
  // Arrays other than mirrors: where they are, the first stage loads them all and has them measure themselves.
  ...['linear', 'multipath', 'raid0', 'raid10', 'raid456'].map((name) => `/lib/modules/*/kernel/drivers/md/${name}.ko`),
  // Fencing by clouds' interfaces: their descriptions of services.
  '/usr/lib/python3/dist-packages/botocore/data/*',
  // PostgreSQL's compiler of long queries, of which there are none here; without it they are interpreted.
  '/usr/lib/postgresql/*/lib/llvmjit*',
  '/usr/lib/postgresql/*/lib/bitcode/*',
  '/usr/lib/x86_64-linux-gnu/libLLVM*',
  '/usr/lib/x86_64-linux-gnu/libz3*',
]

/** Controllers of drives that both the in-memory image and the installed system's first stage know. */
export const storage_drivers: readonly string[] = [
  'aacraid',
  'ahci',
  'ata_piix',
  'hpsa',
  'megaraid_sas',
  'mpt3sas',
  'nvme',
  'sd_mod',
  'smartpqi',
  'virtio_blk',
  'virtio_pci',
  'virtio_scsi',
  'xhci_pci',
]

/** Network cards that the in-memory image knows; the installed system has all that Debian's kernel has. */
export const network_drivers: readonly string[] = [
  'atlantic',
  'bnx2x',
  'bnxt_en',
  'e1000',
  'e1000e',
  'ena',
  'i40e',
  'ice',
  'igb',
  'igc',
  'ixgbe',
  'mlx4_en',
  'mlx5_core',
  'qede',
  'r8169',
  'tg3',
  'virtio_net',
  'vmxnet3',
]

/** What the image needs of the kernel besides: mirror, file systems, packet capture. */
export const other_modules: readonly string[] = [
  'crc32c_generic',
  'af_packet',
  'ext4',
  'md_mod',
  'nls_ascii',
  'nls_cp437',
  'raid1',
  'vfat',
]

/** Programs of the image, with the libraries they need; all else is busybox. */
export const image_programs: readonly string[] = [
  '/usr/sbin/mdadm',
  '/usr/sbin/blkdiscard',
  '/usr/sbin/mkfs.vfat',
  '/usr/sbin/resize2fs',
  '/usr/sbin/sfdisk',
  '/usr/sbin/wipefs',
  '/usr/sbin/tune2fs',
  '/usr/sbin/ethtool',
  '/usr/bin/dd',
  '/usr/bin/tcpdump',
  '/usr/bin/zstd',
]
