/**
 * What a blank server is installed from, made once and kept: the root archive, the kernel, and the image that runs in memory
 * while a server is looked at and installed. All of it comes from this machine: a server needs no registry.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { services_off, wanted_suite } from '../lab/packages.ts'
import { cacheFolder } from '../lab/paths.ts'
import { bootstrap, settle } from '../lab/root.ts'
import { run } from '../lab/shell.ts'
import { makeImage } from './image.ts'
import * as packages from './packages.ts'

/** Grows when what is done to a fresh root below changes. */
const recipe = 1

export interface Archive {
  readonly folder: string
  readonly kernel: string
  readonly image: string
  readonly root: string
  readonly root_bytes: number
  /** Changes with anything that a server gets of it. */
  readonly version: string
}

/** The root's own modules in the first stage: what it cannot find itself while there is no file system. */
const first_stage = ['raid1', 'ext4', ...packages.storage_drivers]

/** Makes the archive unless it is there. */
export async function makeArchive(extra: readonly string[], say: (text: string) => void): Promise<Archive> {
  const init = readFileSync(join(import.meta.dirname, 'init.sh'))
  const image = readFileSync(join(import.meta.dirname, 'image.ts'))
  const wanted = packages.packagesOf(extra)
  const rootVersion = hash([recipe, wanted_suite, wanted, services_off, first_stage, packages.left_out])
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
    root: join(folder, 'root.tar.zst'),
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
  try {
    await bootstrap(root, wanted, [
      ...packages.left_out.map((path) => `--dpkgopt=path-exclude=${path}`),
      `--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d"`,
      `--essential-hook=copy-in ${settings}/milepost /etc/initramfs-tools/conf.d`,
      `--essential-hook=copy-in ${settings}/modules /etc/initramfs-tools`,
    ])
    await settle(root)
    const kernel = readdirSync(join(root, 'boot')).find((name) => name.startsWith('vmlinuz-'))
    if (kernel === undefined) throw new Error('the root has no kernel')
    await run('cp', [join(root, 'boot', kernel), join(unfinished, 'vmlinuz')])
    // File capabilities (ping has one) are extended attributes.
    await run('sh', [
      '-c',
      'tar -C "$1" --numeric-owner --xattrs --xattrs-include="*" -c . | zstd -q -T0 -6 -o "$2"',
      'sh',
      root,
      join(unfinished, 'root.tar.zst'),
    ])
    rmSync(settings, { recursive: true })
    if (existsSync(folder)) rmSync(unfinished, { recursive: true, force: true })
    else renameSync(unfinished, folder)
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true })
    throw error
  }
}
