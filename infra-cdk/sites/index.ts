/** All sites with racks, by name. `home`, the one machine, has a plan of its own kind: see home.ts. */
import type { Site } from '../constructs/site.ts'
import { lab } from './lab.ts'
import { metal } from './metal.ts'

export const sites: Readonly<Record<string, Site>> = { lab, metal }
