import type { Site } from '../site.ts'

/** One machine, no root needed: a developer's full set, and a small fleet's production. */
export const home: Site = {
  name: 'home',
  base_port: 7_000,
  processes: { mbus: 1, mdb: 1, prod: 1, tgctl: 1, tg: 2 },
  options: {},
  channels: [
    { name: 'teltonika', protocol: 'teltonika', port: 7_100, policy: 'open' },
    { name: 'wialon', protocol: 'wialon', port: 7_101, policy: 'open' },
  ],
}
