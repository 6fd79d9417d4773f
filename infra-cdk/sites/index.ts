/** All sites with racks, by name. `home`, the one machine, has a plan of its own kind: see home.ts. */
import { readdirSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Site } from '../constructs/site.ts'

/** A site is a file of its name that exports a `Site` under this name. */
const names = ['lab', 'metal']
const files = new Map(names.map((name) => [name, join(import.meta.dirname, `${name}.ts`)]))

// Site files in a folder of one's own: new ones, and others in the place of those here.
const folder = process.env.MILEPOST_SITES
if (folder)
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.ts')))
    files.set(basename(file, '.ts'), resolve(folder, file))

export const sites: Record<string, Site> = {}
/** Sites that cannot be at all, and why: one that is being written must not stand in the way of the others. */
export const refused: Record<string, string> = {}

for (const [name, file] of files) {
  try {
    sites[name] = ((await import(pathToFileURL(file).href)) as Record<string, Site>)[name]!
  } catch (error) {
    refused[name] = (error as Error).message
  }
}
