/**
 * How far each server of a site is from blank to ready. One file a server, `.milepost/sites/SITE/servers/NAME.json`, so that a
 * deploy that was interrupted goes on, and a server that is ready is never installed again by itself.
 *
 *   waiting → inventory → checked → installing → booted → ready
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { serversFolder } from '#infra/site/machines.ts'
import { state as stateFolder } from '../state.ts'

export const stages = ['waiting', 'inventory', 'checked', 'installing', 'booted', 'ready'] as const
export type Stage = (typeof stages)[number]

export interface ServerState {
  readonly stage: Stage
  /** What it does at this moment, for people. */
  readonly doing: string
  /** Part of the root archive that it has, %. */
  readonly percent: number
  /** Milliseconds since 1970. */
  readonly since: number
  /** Why it stopped; absent: it did not. */
  readonly fault?: string
  /** Serials of drives that may be written to though they are not blank: an installation began on them. */
  readonly overwritable: readonly string[]
  /** Made anew for each installation; the server carries it in /etc/milepost-installation. */
  readonly installation?: string
  /** The installed system's own. */
  readonly machine_id?: string
  readonly host_key?: string
  /** How often the operator asked for it to be installed again. */
  readonly reinstalled: number
}

export type Event =
  /** A deploy begins with a server that is not ready. */
  | { readonly kind: 'begin' }
  /** It answers SSH with the site's key: somebody installed it. */
  | { readonly kind: 'found' }
  | { readonly kind: 'doing'; readonly what: string }
  | { readonly kind: 'inventory' }
  /** It is as the site says. */
  | { readonly kind: 'agreed' }
  | { readonly kind: 'install'; readonly installation: string; readonly serials: readonly string[] }
  | { readonly kind: 'progress'; readonly percent: number }
  | { readonly kind: 'installed'; readonly machine_id: string; readonly host_key: string }
  /** A deploy begins with a server that is installed and has not answered yet. */
  | { readonly kind: 'resume' }
  | { readonly kind: 'booted' }
  /** It did not start from its drives: the next deploy installs it again. */
  | { readonly kind: 'unbooted'; readonly why: string }
  | { readonly kind: 'ready' }
  | { readonly kind: 'fault'; readonly why: string }
  /** The operator's word: what is on its drives is to go. */
  | { readonly kind: 'reinstall'; readonly serials: readonly string[] }

export const fresh: ServerState = {
  stage: 'waiting',
  doing: 'not looked at yet',
  percent: 0,
  since: 0,
  overwritable: [],
  reinstalled: 0,
}

/** Stages from which an event may come. */
const from: Readonly<Partial<Record<Event['kind'], readonly Stage[]>>> = {
  begin: ['waiting', 'inventory', 'checked', 'installing', 'booted'],
  // The image asks again after a report that got lost.
  inventory: ['waiting', 'inventory'],
  agreed: ['inventory'],
  install: ['checked'],
  progress: ['installing'],
  installed: ['installing'],
  resume: ['installing', 'booted'],
  unbooted: ['installing', 'booted'],
  booted: ['installing', 'booted'],
  ready: ['installing', 'booted'],
}

/** The state after an event. Throws when the event cannot be in this state. */
export function next(state: ServerState, event: Event, now: number): ServerState {
  const allowed = from[event.kind]
  if (allowed && !allowed.includes(state.stage))
    throw new Error(`a server that is ${state.stage} cannot have "${event.kind}"`)
  const { fault: _, ...rest } = state
  const at = (stage: Stage, doing: string): ServerState => ({ ...rest, stage, doing, since: now })
  switch (event.kind) {
    case 'begin':
      return { ...at('waiting', 'being switched on'), percent: 0 }
    case 'found':
      return at('ready', 'it was installed before')
    case 'doing':
      return { ...rest, doing: event.what, since: now }
    case 'inventory':
      return at('inventory', 'looked at')
    case 'agreed':
      return at('checked', 'as the site says, nothing written yet')
    case 'install': {
      const { machine_id: _id, host_key: _key, ...without } = at('installing', 'begins')
      const overwritable = [...new Set([...state.overwritable, ...event.serials])].sort()
      return { ...without, percent: 0, installation: event.installation, overwritable }
    }
    case 'progress':
      return { ...rest, percent: Math.max(0, Math.min(100, Math.floor(event.percent))), since: now }
    case 'installed':
      return {
        ...at('installing', 'starts from its drives'),
        percent: 100,
        machine_id: event.machine_id,
        host_key: event.host_key,
      }
    case 'resume':
      return at('installing', 'starts from its drives')
    case 'unbooted': {
      const { machine_id: _id, host_key: _key, ...without } = rest
      return { ...without, fault: event.why, since: now }
    }
    case 'booted':
      return at('booted', 'its system is up')
    case 'ready':
      // Its drives are a system's from now on.
      return { ...at('ready', 'installed'), overwritable: [] }
    case 'fault':
      return { ...rest, fault: event.why, since: now }
    case 'reinstall': {
      const { installation: _old, machine_id: _id, host_key: _key, ...without } = at('waiting', 'to be installed again')
      return { ...without, percent: 0, overwritable: [...event.serials].sort(), reinstalled: state.reinstalled + 1 }
    }
  }
}

export function readState(site: string, server: string, folder = stateFolder): ServerState {
  try {
    const text = readFileSync(join(serversFolder(folder, site), `${server}.json`), 'utf8')
    return { ...fresh, ...(JSON.parse(text) as ServerState) }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return fresh
    throw new Error(`the state of ${server} cannot be read: ${(error as Error).message}`)
  }
}

export function writeState(site: string, server: string, state: ServerState, folder = stateFolder): void {
  const file = join(serversFolder(folder, site), `${server}.json`)
  mkdirSync(serversFolder(folder, site), { recursive: true })
  writeFileSync(`${file}.new`, `${JSON.stringify(state, null, 2)}\n`)
  renameSync(`${file}.new`, file)
}
