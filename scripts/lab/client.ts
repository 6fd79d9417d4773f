/** How a command speaks to the running laboratory. */
import { existsSync } from 'node:fs'
import { callAt } from './calls.ts'
import { socketFile } from './paths.ts'
import type { RackStatus } from './rack.ts'

/** What the laboratory can be asked; each answers when it is done. */
export interface Hardware {
  status(): Promise<RackStatus>
  /** Switches a server's power, as its BMC would. */
  power(server: string, action: 'on' | 'off' | 'reset' | 'soft-off'): Promise<void>
  /** Holds all processes of a server; its kernel goes on. */
  freeze(server: string): Promise<void>
  thaw(server: string): Promise<void>
  /** Takes a part out (`gw1:eth0`, `gw1:bmc`, `gw1:psu1`, `sw-a`, `feed:A`, `outside:up0`) or puts it in. */
  pull(part: string): Promise<void>
  push(part: string): Promise<void>
  /** A cable's port in the switch passes nothing while its light stays on. */
  silence(part: string): Promise<void>
  unsilence(part: string): Promise<void>
  /** Servers whose kernel answers for an IPv4 address at this moment. */
  holders(address: string): Promise<string[]>
  /** A new machine in the place of a server, of the same make, with an empty system; resolves when it lets people in. */
  replace(server: string): Promise<void>
  /** Everything as new, every server up. */
  restore(): Promise<void>
}

export type Method = keyof Hardware | 'up' | 'stop'

export const isRunning = () => existsSync(socketFile)

/** Calls the laboratory; `said` gets its progress. Rejects with its own words, or with what to do when there is none. */
export const callLab = (method: Method, args: readonly string[] = [], said?: (text: string) => void) =>
  callAt(socketFile, 'no laboratory runs: start it with "npm run lab -- up"', method, args, said)

export const hardware: Hardware = {
  status: () => callLab('status') as Promise<RackStatus>,
  power: async (server, action) => void (await callLab('power', [server, action])),
  freeze: async (server) => void (await callLab('freeze', [server])),
  thaw: async (server) => void (await callLab('thaw', [server])),
  pull: async (part) => void (await callLab('pull', [part])),
  push: async (part) => void (await callLab('push', [part])),
  silence: async (part) => void (await callLab('silence', [part])),
  unsilence: async (part) => void (await callLab('unsilence', [part])),
  holders: (address) => callLab('holders', [address]) as Promise<string[]>,
  replace: async (server) => void (await callLab('replace', [server])),
  restore: async () => void (await callLab('restore')),
}
