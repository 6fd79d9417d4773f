/**
 * Brings the servers of a site from blank to ready: their BMCs are asked, they start over the network and are looked at; when all
 * are as the site says, Debian goes on their drives. Nothing is written before that. What is ready stays as it is.
 */
import { randomBytes } from 'node:crypto'
import { appendFileSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { InstallPlan, Plan, ServerPlan } from '#infra/site/plan.ts'
import { secretFile } from '../secrets.ts'
import { knownHostsFile, noteHostKey, siteFolder } from '../site/folders.ts'
import { BmcClient, supplyFindings } from './bmc.ts'
import { placeOf } from './compare.ts'
import { startDnsmasq } from './dnsmasq.ts'
import { reach } from './reach.ts'
import { makeArchive } from './root.ts'
import { Run } from './run.ts'
import { serve } from './service.ts'
import { next, readState, type ServerState, writeState } from './state.ts'
import { missingTools } from './tools.ts'

type Say = (line: string) => void

/** Throws with everything that is wrong, each with its place in the rack. */
export async function provision(plan: Plan, say: Say): Promise<void> {
  const { site, install } = plan
  if (!install) throw new Error(`site ${site}: its servers come installed; there is nothing to provision`)
  const clients = new Map(plan.servers.map((server) => [server.name, new BmcClient(site, server)]))
  await askBmcs(plan, clients, say)
  const blank = await notReady(plan)
  if (blank.length === 0) return say('all servers are installed')
  say(`${blank.map(({ name }) => name).join(', ')}: not installed yet`)
  const missing = missingTools()
  if (missing.length > 0) throw new Error(`packages are missing on this machine: apt-get install ${missing.join(' ')}`)
  if (process.getuid?.() !== 0) throw new Error('DHCP and TFTP need root: run the deploy as root')
  const archive = await makeArchive(install.packages, say)
  await started(plan, install, blank, clients, archive, say)
  say(`${blank.map(({ name }) => name).join(', ')}: installed`)
}

/** Every BMC answers on every path, and every supply has its feed. */
async function askBmcs(plan: Plan, clients: ReadonlyMap<string, BmcClient>, say: Say): Promise<void> {
  const findings = await Promise.all(
    plan.servers.map(async (server) => {
      const client = clients.get(server.name)!
      const found = await client.findings()
      // A second port that is not plugged in is a finding, but supplies are asked over the first.
      if (found.length === server.bmc.paths.length) return found
      return [...found, ...supplyFindings(plan, server, await client.supplies())]
    }),
  )
  const all = findings.flat()
  if (all.length > 0) throw new Error(all.join('\n'))
  say(`${plan.servers.length} BMCs answer, every power supply has its feed`)
}

/** Servers that are not known to be installed. One that somebody installed, or that came up after an interrupted deploy, is. */
async function notReady(plan: Plan): Promise<ServerPlan[]> {
  const { site } = plan
  const findings: string[] = []
  const blank: ServerPlan[] = []
  await Promise.all(
    plan.servers.map(async (server) => {
      const state = readState(site, server.name)
      if (state.stage === 'ready') return
      // The operator's word: whatever answers there is to go.
      const again = state.reinstalled > 0 && state.machine_id === undefined
      const answer = again ? { kind: 'closed' as const } : await reach(site, server)
      if (answer.kind === 'open' && state.machine_id !== undefined && answer.installation === state.installation)
        writeState(site, server.name, next(next(state, { kind: 'booted' }, Date.now()), { kind: 'ready' }, Date.now()))
      else if (answer.kind === 'open' && state.overwritable.length === 0)
        writeState(site, server.name, next(state, { kind: 'found' }, Date.now()))
      else if (answer.kind === 'refused' && state.overwritable.length === 0)
        findings.push(
          `${placeOf(server)}: a system runs there that does not know the site's key (${secretFile(site, server.access.secret)}.pub); put the key in, or --reinstall ${server.name} overwrites it`,
        )
      else blank.push(server)
    }),
  )
  if (findings.length > 0) throw new Error(findings.join('\n'))
  return plan.servers.filter((server) => blank.includes(server))
}

async function started(
  plan: Plan,
  install: InstallPlan,
  blank: readonly ServerPlan[],
  clients: ReadonlyMap<string, BmcClient>,
  archive: Awaited<ReturnType<typeof makeArchive>>,
  say: Say,
): Promise<void> {
  const { site } = plan
  const { mtu } = plan.networks.find(({ name }) => name === 'lan')!
  const facts = { url: `http://${install.address}:${install.port}`, run: randomBytes(8).toString('hex'), mtu }
  mkdirSync(siteFolder(site), { recursive: true })
  const logFile = join(siteFolder(site), 'provision.log')
  const log = (line: string) => appendFileSync(logFile, `${new Date().toISOString()} ${line}\n`)
  log(`run ${facts.run}: ${blank.map(({ name }) => name).join(', ')}`)
  const run = new Run({
    plan,
    servers: blank,
    clients,
    archive,
    publicKey: readFileSync(`${secretFile(site, blank[0]!.access.secret)}.pub`, 'utf8'),
    say: (line) => {
      log(line)
      say(line)
    },
    pin: ({ access }, key) => noteHostKey(knownHostsFile(site), [access.address], access.port, key),
  })
  const http = await serve({ plan, install, archive, facts, conductor: run })
  let stop = () => {}
  try {
    stop = await startDnsmasq(plan, install, facts.url, run, log)
    await run.whole()
  } finally {
    stop()
    http.close()
    http.closeAllConnections()
  }
}

/** The operator's word that a server's drives are to be overwritten at the next deploy. */
export function orderReinstall(plan: Plan, name: string): ServerState {
  const server = plan.servers.find((other) => other.name === name)
  if (!server)
    throw new Error(
      `site ${plan.site} has no server "${name}"; it has ${plan.servers.map((one) => one.name).join(', ')}`,
    )
  const state = next(
    readState(plan.site, name),
    { kind: 'reinstall', serials: server.drives.map(({ serial }) => serial) },
    Date.now(),
  )
  writeState(plan.site, name, state)
  return state
}
