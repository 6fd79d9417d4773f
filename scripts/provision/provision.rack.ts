/** What needs the tools of Debian: the configuration of dnsmasq is read by dnsmasq, the image is made and its programs run. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { planOf } from '#infra/site/plan-of.ts'
import { metal } from '#infra/sites/metal.ts'
import { image_programs, network_drivers, storage_drivers } from './packages.ts'
import { dnsmasqConfiguration } from './render.ts'
import { makeArchive } from './root.ts'

const plan = planOf(metal)
/** Where nothing is cached yet, the root is made first. */
const make_time_max_ms = 20 * 60_000

test('dnsmasq understands its configuration', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'milepost-dnsmasq-'))
  try {
    const file = join(folder, 'dnsmasq.conf')
    const at = { device: 'lo', tftp: folder, url: 'http://10.20.10.250:8069' }
    writeFileSync(file, dnsmasqConfiguration(plan, plan.install!, at))
    const said = spawnSync('dnsmasq', ['--test', `--conf-file=${file}`], { encoding: 'utf8' })
    t.is(said.status, 0, said.stderr)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('the image has its programs with their libraries, and drivers', async (t) => {
  t.timeout(make_time_max_ms)
  const archive = await makeArchive([], (text) => t.log(text))
  const tree = mkdtempSync(join(tmpdir(), 'milepost-image-'))
  try {
    const unpacked = spawnSync('sh', ['-c', 'zstd -dc "$1" | cpio -i --quiet -D "$2"', 'sh', archive.image, tree])
    t.is(unpacked.status, 0)
    t.true(existsSync(join(tree, 'init')))
    for (const program of image_programs) {
      const said = spawnSync('chroot', [tree, program, '--version'], { encoding: 'utf8' })
      t.false(/error while loading shared libraries|No such file/.test(said.stderr), `${program}: ${said.stderr}`)
    }
    t.is(spawnSync('chroot', [tree, '/bin/busybox', 'wget', '--help']).status, 0)
    const drivers = spawnSync('find', [join(tree, 'usr/lib/modules'), '-name', '*.ko'], { encoding: 'utf8' }).stdout
    for (const name of ['virtio_net', 'ixgbe', 'virtio_scsi', 'nvme', 'raid1', 'ext4', 'crc32c_generic'])
      t.true(drivers.includes(`/${name}.ko`), name)
    t.true(drivers.split('\n').length > network_drivers.length + storage_drivers.length)
  } finally {
    rmSync(tree, { recursive: true, force: true })
  }
})

test('the root holds what a server boots from, and no key or name of its own', async (t) => {
  t.timeout(make_time_max_ms)
  const { root } = await makeArchive([], (text) => t.log(text))
  const folder = mkdtempSync(join(tmpdir(), 'milepost-root-'))
  try {
    const file = join(folder, 'root.ext4')
    t.is(spawnSync('zstd', ['-q', '-d', root, '-o', file]).status, 0)
    const checked = spawnSync('e2fsck', ['-fn', file], { encoding: 'utf8' })
    t.is(checked.status, 0, checked.stdout)
    const holds = (path: string) =>
      spawnSync('debugfs', ['-R', `stat ${path}`, file], { encoding: 'utf8' }).stdout.includes('Inode:')
    for (const path of ['/vmlinuz', '/initrd.img', '/usr/sbin/grub-install', '/usr/lib/grub/x86_64-efi/normal.mod'])
      t.true(holds(path), path)
    t.false(holds('/etc/ssh/ssh_host_ed25519_key'))
    // What tar would keep by an option: ping may open its socket without being root.
    const ping = spawnSync('debugfs', ['-R', 'ea_list /usr/bin/ping', file], { encoding: 'utf8' }).stdout
    t.true(ping.includes('security.capability'), ping)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
