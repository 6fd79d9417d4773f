/** How a command speaks to the emulated site that is up. */
import { callAt } from '../lab/calls.ts'
import type { Ground } from './ground.ts'
import type { SiteStatus } from './hardware.ts'

export type Metal = ReturnType<typeof metalAt>

/** What it can be asked; each answers when it is done. */
export function metalAt(ground: Ground) {
  const none = 'the site is not up: start it with "npm run metal -- up"'
  const call = (method: string, args: readonly string[] = [], said?: (text: string) => void) =>
    callAt(ground.controlSocket, none, method, args, said)
  return {
    call,
    status: () => call('status') as Promise<SiteStatus>,
    /** Switches a server's power, as its BMC would. */
    power: async (server: string, action: 'on' | 'off' | 'reset' | 'soft-off') =>
      void (await call('power', [server, action])),
    /** Takes a part out: `srv1/disk1`, `srv1/eth0`, `srv1/psu1`, `r1-sw-a`, `r1-pdu-a`, `feed/A`, `outside/up0`. */
    pull: async (part: string) => void (await call('pull', [part])),
    /** In again; gives a word on what is in now. */
    push: (part: string) => call('push', [part]) as Promise<string>,
    /** A new drive in the place of one that was pulled; with an empty serial it gets one of its own. */
    pushBlank: (part: string, serial = '') => call('push', [part, 'blank', serial]) as Promise<string>,
    /** A cable's port passes nothing while its light stays on. */
    silence: async (part: string) => void (await call('silence', [part])),
    unsilence: async (part: string) => void (await call('unsilence', [part])),
    /** Stops a server's processors; its lights stay on. */
    freeze: async (server: string) => void (await call('freeze', [server])),
    thaw: async (server: string) => void (await call('thaw', [server])),
    /** Where the next start is from, as `ipmitool chassis bootdev`. */
    bootFrom: async (server: string, from: 'pxe' | 'disk' | 'default') => void (await call('boot', [server, from])),
    restore: async () => void (await call('restore')),
  }
}
