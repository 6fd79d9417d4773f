/** The image that runs in a server's memory: busybox, a few programs of Debian with their libraries, drivers, and init.sh. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { attempt, run } from '../lab/shell.ts'
import { image_programs, network_drivers, other_modules, storage_drivers } from './packages.ts'

/** Makes the image `file` of a Debian root. */
export async function makeImage(root: string, file: string): Promise<void> {
  const tree = `${file}.${process.pid}.tree`
  rmSync(tree, { recursive: true, force: true })
  try {
    for (const folder of ['usr/bin', 'usr/sbin', 'usr/lib', 'usr/lib64', 'proc', 'sys', 'dev', 'etc'])
      mkdirSync(join(tree, folder), { recursive: true })
    // As in Debian, but for /bin: busybox fills it with links to itself, which must not cover the programs.
    for (const name of ['lib', 'lib64', 'sbin']) symlinkSync(`usr/${name}`, join(tree, name))
    mkdirSync(join(tree, 'bin'))
    const take = (path: string) => {
      mkdirSync(join(tree, dirname(path)), { recursive: true })
      copyFileSync(join(root, path), join(tree, path))
    }
    copyFileSync(join(root, 'usr/bin/busybox'), join(tree, 'bin/busybox'))
    // Where the kernel itself looks for it.
    symlinkSync('/bin/busybox', join(tree, 'usr/sbin/modprobe'))
    for (const program of image_programs) take(program)
    for (const library of await librariesOf(root)) take(library)
    await modules(root, tree)
    // Programs look their user up.
    writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n')
    writeFileSync(join(tree, 'etc/group'), 'root:x:0:\n')
    copyFileSync(join(import.meta.dirname, 'init.sh'), join(tree, 'init'))
    await run('chmod', ['755', join(tree, 'init')])
    await run('sh', [
      '-c',
      'cd "$1" && find . | LC_ALL=C sort | cpio --quiet --reproducible -o -H newc -R 0:0 | zstd -q -T0 -12 -f -o "$2"',
      'sh',
      tree,
      `${file}.${process.pid}`,
    ])
    renameSync(`${file}.${process.pid}`, file)
  } finally {
    rmSync(tree, { recursive: true, force: true })
  }
}

/** Shared libraries of the image's programs, the loader among them. */
async function librariesOf(root: string): Promise<string[]> {
  const said = await run('chroot', [root, 'ldd', ...image_programs])
  const paths = [...said.matchAll(/(\/\S+\.so\S*) \(/g)].map(([, path]) => path!)
  return [...new Set(paths)]
}

/** The drivers and what they need, where modprobe finds them. */
async function modules(root: string, tree: string): Promise<void> {
  const [version] = readdirSync(join(root, 'lib/modules'))
  if (version === undefined) throw new Error('the root has no kernel modules')
  const files = new Set<string>()
  for (const name of [...network_drivers, ...storage_drivers, ...other_modules]) {
    // What is built in, or gone in another kernel, is no file.
    const said = await attempt('modprobe', ['-d', root, '-S', version, '--show-depends', name])
    for (const [, path] of (said ?? '').matchAll(/^insmod (\S+)/gm)) files.add(path!.slice(root.length))
  }
  for (const path of files) {
    const at = join(tree, 'usr', path.replace(/^\/(usr\/)?/, ''))
    mkdirSync(dirname(at), { recursive: true })
    copyFileSync(join(root, path), at)
  }
  for (const name of ['modules.order', 'modules.builtin', 'modules.builtin.modinfo']) {
    const from = join(root, 'lib/modules', version, name)
    if (existsSync(from)) copyFileSync(from, join(tree, 'usr/lib/modules', version, name))
  }
  await run('depmod', ['-b', join(tree, 'usr'), version])
  if (readFileSync(join(tree, 'usr/lib/modules', version, 'modules.dep')).length === 0)
    throw new Error(`kernel ${version}: none of the drivers was found`)
}
