/** All sites with racks, by name. `home`, the one machine, has a plan of its own kind: see home.ts. */
import type { Site } from '../constructs/site.ts'

/** A site is a file of its name that exports a `Site` under this name. */
const names = ['lab', 'metal']

export const sites: Record<string, Site> = {}
/** Sites that cannot be at all, and why: one that is being written must not stand in the way of the others. */
export const refused: Record<string, string> = {}

for (const name of names) {
  try {
    sites[name] = ((await import(`./${name}.ts`)) as Record<string, Site>)[name]!
  } catch (error) {
    refused[name] = (error as Error).message
  }
}
