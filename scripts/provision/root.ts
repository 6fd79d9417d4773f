/**
 * What a blank server is installed from, made once and kept: the root as a file system, the kernel, and the image that runs in memory
 * while a server is looked at and installed. All of it comes from this machine: a server needs no registry.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { services_off, wanted_suite } from '../lab/packages.ts'
import { cacheFolder } from '../lab/paths.ts'
import { bootstrap, settle } from '../lab/root.ts'
import { run } from '../lab/shell.ts'
import { makeImage } from './image.ts'
import * as packages from './packages.ts'

/** Grows when what is done to a fresh root below changes. */
const recipe = 2
/** Free room in the image of the root beyond what its files take: it grows to its drives when it is on them. */
const room_mb = 48

export interface Archive {
  readonly folder: string
  readonly kernel: string
  readonly image: string
  readonly root: string
  readonly root_bytes: number
  /** Changes with anything that a server gets of it. */
  readonly version: string
}

/** Loaded in the first stage of the installed system whatever the hardware is. */
const first_stage = ['raid1', 'ext4']
/** Takes drivers of drives into the first stage, where the devices that there are choose among them. */
const hook = `#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules ${packages.storage_drivers.join(' ')}
`

/** Makes the archive unless it is there. */
export async function makeArchive(extra: readonly string[], say: (text: string) => void): Promise<Archive> {
  const init = readFileSync(join(import.meta.dirname, 'init.sh'))
  const image = readFileSync(join(import.meta.dirname, 'image.ts'))
  const wanted = packages.packagesOf(extra)
  const rootVersion = hash([
    recipe,
    wanted_suite,
    wanted,
    services_off,
    first_stage,
    hook,
    packages.left_out,
    packages.units_masked,
  ])
  const version = hash([
    rootVersion,
    packages.image_programs,
    packages.network_drivers,
    packages.other_modules,
    init,
    image,
  ])
  const folder = join(cacheFolder, `metal-${rootVersion}`)
  const made = {
    folder,
    kernel: join(folder, 'vmlinuz'),
    image: join(folder, `image-${version}`),
    root: join(folder, 'root.ext4.lz4'),
    version,
  }
  if (!existsSync(made.root)) await timed('the system of the servers', say, () => makeRoot(folder, wanted))
  if (!existsSync(made.image))
    await timed('the image that looks at servers', say, () => makeImage(join(folder, 'root'), made.image))
  return { ...made, root_bytes: statSync(made.root).size }
}

const hash = (value: unknown) => createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 12)

async function timed(what: string, say: (text: string) => void, work: () => Promise<void>): Promise<void> {
  const began = performance.now()
  const seconds = () => Math.round((performance.now() - began) / 1_000)
  say(`${what} is being made (once)`)
  const timer = setInterval(() => say(`${what} is being made (once) … ${seconds()} s`), 10_000)
  await work().finally(() => clearInterval(timer))
  say(`${what} is made, ${seconds()} s`)
}

async function makeRoot(folder: string, wanted: readonly string[]): Promise<void> {
  mkdirSync(cacheFolder, { recursive: true })
  const unfinished = `${folder}.${process.pid}`
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished)
  const root = join(unfinished, 'root')
  const settings = join(unfinished, 'settings')
  mkdirSync(settings)
  // Before the kernel comes, so that its first stage is made once. Its size is boot time: it has the drivers of drives alone.
  writeFileSync(join(settings, 'milepost'), 'MODULES=list\nRESUME=none\nCOMPRESS=zstd\n')
  writeFileSync(join(settings, 'modules'), `${first_stage.join('\n')}\n`)
  writeFileSync(join(settings, 'milepost-drives'), hook)
  chmodSync(join(settings, 'milepost-drives'), 0o755)
  try {
    await bootstrap(root, wanted, [
      ...packages.left_out.map((path) => `--dpkgopt=path-exclude=${path}`),
      `--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/etc/initramfs-tools/hooks"`,
      `--essential-hook=copy-in ${settings}/milepost-drives /etc/initramfs-tools/hooks`,
      `--essential-hook=copy-in ${settings}/milepost /etc/initramfs-tools/conf.d`,
      `--essential-hook=copy-in ${settings}/modules /etc/initramfs-tools`,
    ])
    await settle(root)
    for (const unit of packages.units_masked) await run('systemctl', [`--root=${root}`, 'mask', '--quiet', unit])
    const kernel = readdirSync(join(root, 'boot')).find((name) => name.startsWith('vmlinuz-'))
    if (kernel === undefined) throw new Error('the root has no kernel')
    await run('cp', [join(root, 'boot', kernel), join(unfinished, 'vmlinuz')])
    await makeFileSystem(root, join(unfinished, 'root.ext4'))
    rmSync(settings, { recursive: true })
    if (existsSync(folder)) rmSync(unfinished, { recursive: true, force: true })
    else renameSync(unfinished, folder)
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true })
    throw error
  }
}

/**
 * The root as a file system: written to a mirror as it is, in a tenth of the time that its 20 000 files take one by one.
 * Its journal and its size are made to measure on the server.
 */
async function makeFileSystem(root: string, file: string): Promise<void> {
  const files_mb = Number((await run('du', ['-sm', root])).split('\t')[0])
  // Descriptors for as many groups as fit are set aside, so that growing moves nothing.
  const features = ['-O', '^has_journal', '-E', 'lazy_itable_init=0,resize=2147483648']
  const geometry = ['-b', '4096', '-i', '16384', '-I', '256']
  const size_mb = Math.ceil(files_mb * 1.05) + room_mb
  await run('mke2fs', ['-q', '-t', 'ext4', ...features, ...geometry, '-L', 'system', '-d', root, file, `${size_mb}M`])
  await run('zstd', ['-q', '-T0', '-9', '--format=lz4', '--rm', file, '-o', `${file}.lz4`])
}
