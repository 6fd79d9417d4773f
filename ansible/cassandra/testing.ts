import { Environment, ProcessGroup, Server, type Site } from '#infra/constructs/index.ts'
import { all } from '#infra/constructs/site.ts'
import { siteWith } from '#infra/site/testing.ts'

/** A site whose pages are in Cassandra, on these servers. */
export function siteOn(names: readonly string[]): Site {
  const site = siteWith()
  const on = all(site, Server).filter(({ name }) => names.includes(name))
  new ProcessGroup(all(site, Environment)[0]!, 'cassandra', {
    on,
    each: 1,
    limits: { memory_mb: 1_024, open_files: 100_000 },
  })
  return site
}
