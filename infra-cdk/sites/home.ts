import { Environment, ProcessGroup, Site } from '../constructs/index.ts'
import { machinePlanOf } from '../site/machine.ts'

/** One machine, no root needed: a developer's full set, and a small fleet's production. */
export const site = new Site('home')
const environment = new Environment(site, 'home', {
  base_port: 7_000,
  channels: [
    { name: 'teltonika', protocol: 'teltonika', port: 7_100, policy: 'open' },
    { name: 'wialon', protocol: 'wialon', port: 7_101, policy: 'open' },
  ],
})
for (const [type, each] of Object.entries({ mbus: 1, mdb: 1, prod: 1, tgctl: 1, tg: 2 }))
  new ProcessGroup(environment, type, { each })

export const home = machinePlanOf(site)
