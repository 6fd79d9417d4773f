/** What a day's folder holds: `manifest.json`, written last. A file that it does not name is none of the archive. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'

/** Grows when a field changes its meaning. */
export const format = 1
export const manifest_file = 'manifest.json'

/** Records of one container that stand together in a file. */
export interface Run {
  container: number
  /** Row of the first one. */
  first: number
  records: number
  /** Timestamps of the first and the last one, s. */
  from: number
  to: number
  /** Over the records: see `Digest`. */
  sha256: string
}

export interface Part {
  file: string
  /** 0: made with the day; n: came with the n-th addition. */
  addition: number
  bytes: number
  sha256: string
  records: number
  runs: Run[]
}

/** A container as it was when the day was exported or added to. */
export interface ContainerDay {
  id: number
  account_id: number
  name: string
  ttl: number
  /** s since 1970 UTC. */
  created: number
  /** In the archive. */
  records: number
  /** What MDB said it holds of the day when that was last read: another number means that something came or went. */
  seen: number
}

export interface Addition {
  number: number
  /** s since 1970 UTC. */
  time: number
  records: number
  containers: number
}

/** A dump of PostgreSQL beside the day; the fields are those of `milepost-archive`, which restores it. */
export interface Dump {
  name: string
  file: string
  bytes: number
  sha256: string
  /** s since 1970 UTC: what it holds is as of then. */
  time: number
  seconds: number
  /** Rows of each table in the dump's snapshot. */
  rows: Record<string, number>
}

export interface Manifest {
  format: number
  /** `2026-11-24`, UTC. */
  day: string
  /** s since 1970 UTC. */
  created: number
  records: number
  /** Columns of parameters that its files have. */
  columns: string[]
  containers: ContainerDay[]
  parts: Part[]
  additions: Addition[]
  postgres: Dump | { missing: string }
}

const digestOf = (text: string) => createHash('sha256').update(text).digest('hex')

/** Syncs a folder: names in it are on the disk then. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** A file that is there as a whole or not at all. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const handle: FileHandle = await open(`${path}.new`, 'w', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(`${path}.new`, path)
}

/** Puts the manifest into a folder: from then on its files count. */
export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  const check = digestOf(JSON.stringify(manifest))
  await writeWhole(join(folder, manifest_file), `${JSON.stringify({ ...manifest, check }, null, 1)}\n`)
  await syncFolder(folder)
}

/** The manifest of a folder. Throws with the file's name when it is damaged, undefined when there is none. */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const file = join(folder, manifest_file)
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const { check, ...manifest } = JSON.parse(text) as Manifest & { check: string }
    if (digestOf(JSON.stringify(manifest)) !== check) throw new Error('its SHA-256 is another one')
    if (manifest.format !== format) throw new Error(`its format is ${manifest.format}, this program reads ${format}`)
    return manifest
  } catch (error) {
    throw new Error(`${file} is damaged: ${(error as Error).message}`)
  }
}

/** SHA-256 of a file's bytes. */
export async function fileDigest(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const block of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(block as Buffer)
  return hash.digest('hex')
}
