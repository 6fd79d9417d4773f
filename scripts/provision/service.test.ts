import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import type { Plan } from '#infra/site/plan.ts'
import { planOf } from '#infra/site/plan-of.ts'
import { metal } from '#infra/sites/metal.ts'
import { type Conductor, serve } from './service.ts'

const whole = planOf(metal)
/** srv1 is this machine, the others are elsewhere. */
const plan: Plan = {
  ...whole,
  servers: whole.servers.map((server) =>
    server.name === 'srv1' ? { ...server, access: { ...server.access, address: '127.0.0.1' } } : server,
  ),
}
const run = 'beef'

interface Heard extends Conductor {
  readonly heard: string[]
}

function listener(wanted: readonly string[]): Heard {
  const heard: string[] = []
  return {
    heard,
    wants: (server) => wanted.includes(server),
    step: (server) => (server === '' ? 'off' : `step of ${server}`),
    booting: (server) => void heard.push(`booting ${server}`),
    inventory: (server, text) => void heard.push(`inventory ${server} ${text}`),
    report: (server, text) => void heard.push(`report ${server} ${text}`),
    sent: (server, bytes) => void heard.push(`sent ${server} ${bytes}`),
    unknown: (mac) => void heard.push(`unknown ${mac}`),
  }
}

async function serving(wanted: readonly string[], body: (url: string, heard: string[]) => Promise<void>) {
  const folder = mkdtempSync(join(tmpdir(), 'milepost-service-'))
  for (const name of ['kernel', 'image', 'root']) writeFileSync(join(folder, name), name.repeat(100))
  const conductor = listener(wanted)
  const files = { kernel: join(folder, 'kernel'), image: join(folder, 'image'), root: join(folder, 'root') }
  const server = await serve({
    plan,
    install: { ...plan.install!, address: '127.0.0.1', port: 0 },
    archive: { ...files, folder, root_bytes: 400, version: 'v' },
    facts: { url: 'http://10.20.10.250:8069', run, mtu: 9_000 },
    conductor,
  })
  try {
    await body(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, conductor.heard)
  } finally {
    server.close()
    server.closeAllConnections()
    rmSync(folder, { recursive: true, force: true })
  }
}
const get = async (url: string, init?: RequestInit) => {
  const response = await fetch(url, init)
  return [response.status, await response.text()] as const
}
const mac = whole.servers.find(({ name }) => name === 'srv1')!.nics[1]!.mac

test('a known card of a server to be installed gets a boot script; a ready one goes on to its drives', async (t) => {
  await serving(['srv1'], async (url, heard) => {
    const [, script] = await get(`${url}/boot?mac=${mac.toUpperCase()}`)
    t.regex(script, /milepost\.server=srv1 milepost\.run=beef/)
    t.deepEqual(heard, ['booting srv1'])
    t.regex((await get(`${url}/boot.ipxe`))[1], /^#!ipxe\nchain /)
    const other = whole.servers.find(({ name }) => name === 'srv2')!.nics[0]!.mac
    t.regex((await get(`${url}/boot?mac=${other}`))[1], /\nexit 0\n$/)
  })
})

test('an unknown card gets nothing, and is named', async (t) => {
  await serving(['srv1'], async (url, heard) => {
    t.regex((await get(`${url}/boot?mac=52:54:00:12:34:56`))[1], /\nexit 0\n$/)
    t.deepEqual(heard, ['unknown 52:54:00:12:34:56'])
  })
})

test('steps, reports and the root are for the server itself, in this run', async (t) => {
  await serving(['srv1', 'srv2'], async (url, heard) => {
    t.deepEqual(await get(`${url}/servers/srv1/step?run=${run}`), [200, 'step of srv1'])
    t.deepEqual(await get(`${url}/servers/srv1/step?run=old`), [200, 'off'])
    t.is((await get(`${url}/servers/srv2/step?run=${run}`))[0], 403)
    t.is((await get(`${url}/servers/srv9/step?run=${run}`))[0], 404)
    t.is((await get(`${url}/servers/srv1/report?run=old`, { method: 'POST', body: 'installed x' }))[0], 410)
    t.is((await get(`${url}/servers/srv1/report?run=${run}`, { method: 'POST', body: 'step root' }))[0], 200)
    t.is((await get(`${url}/servers/srv1/inventory?run=${run}`, { method: 'POST', body: 'memory_kb 1' }))[0], 200)
    t.deepEqual(await get(`${url}/servers/srv1/root?run=${run}`), [200, 'root'.repeat(100)])
    t.deepEqual(heard, ['report srv1 step root', 'inventory srv1 memory_kb 1', 'sent srv1 400'])
  })
})

test('a report that is too long is refused', async (t) => {
  await serving(['srv1'], async (url, heard) => {
    const body = 'x'.repeat(20_000)
    t.is((await get(`${url}/servers/srv1/report?run=${run}`, { method: 'POST', body }))[0], 500)
    t.deepEqual(heard, [])
  })
})
