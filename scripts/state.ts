import { join, resolve } from 'node:path'

/** Top of the tree. */
export const root = resolve(import.meta.dirname, '..')

/** Folder of all that a deploy makes. */
export const state = resolve(process.env.MILEPOST_STATE ?? join(root, '.milepost'))

/** File with the token of an environment's root account. */
export const tokenFile = (environment: string) => join(state, 'environments', environment, 'admin-token')
