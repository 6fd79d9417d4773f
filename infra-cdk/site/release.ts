import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')

/** SHA-256 (16 hex digits) over files below folders of the tree, their names included; folders that are absent count for nothing. */
export function contentHash(
  folders: readonly string[],
  keep: (name: string) => boolean,
  files: readonly string[] = [],
): string {
  const hash = createHash('sha256')
  const found = folders.flatMap((folder) => {
    try {
      return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && keep(entry.name))
        .map((entry) => join(entry.parentPath, entry.name))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
  })
  for (const file of [...found, ...files.map((name) => join(root, name))].sort())
    hash.update(file.slice(root.length)).update('\0').update(readFileSync(file)).update('\0')
  return hash.digest('hex').slice(0, 16)
}

/** What a release is made of: the code and the exact versions of its libraries. */
export function releaseHash(): string {
  const code = (name: string) => /\.(ts|pvm)$/.test(name) && !name.endsWith('.test.ts')
  return contentHash(['services', 'pvm'], code, ['package-lock.json'])
}
