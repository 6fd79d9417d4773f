/** Archives for the servers: the same content gives the same bytes. */
import { spawnSync } from 'node:child_process'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { constants, zstdCompressSync } from 'node:zlib'

/** Made once, unpacked on every server: quick to unpack, and worth some seconds here. */
const params = { [constants.ZSTD_c_compressionLevel]: 12 }

/** Packs `names` of a folder into a .tar.zst that is there as a whole or not at all. */
export function pack(archive: string, folder: string, names: readonly string[]): void {
  // Order, time and owner are fixed.
  const how = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=u+rwX,go+rX,go-w']
  // A name of its own: steps of a deploy that run at the same time make the same archive.
  const packed = `${archive}.${process.pid}`
  try {
    const tar = spawnSync('tar', [...how, '-cf', packed, '-C', folder, ...names], { encoding: 'utf8' })
    if (tar.status !== 0) throw new Error(`${archive}: tar: ${tar.stderr || tar.error?.message}`)
    writeFileSync(packed, zstdCompressSync(readFileSync(packed), { params }))
    renameSync(packed, archive)
  } finally {
    rmSync(packed, { force: true })
  }
}
