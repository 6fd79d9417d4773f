/** A whole site on this machine, up and down, with one server that is switched on: needs root and what requirements.ts lists. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'

// Before anything asks where the state is: beside a site that may be up.
process.env.MILEPOST_STATE = mkdtempSync(join(tmpdir(), 'milepost-metal-'))
process.env.MILEPOST_METAL = `rack${process.pid}`

const { run, until } = await import('../lab/shell.ts')
const { readSecret } = await import('../secrets.ts')
const { metalAt } = await import('./client.ts')
const { groundOf, operator } = await import('./ground.ts')
const { down, leftovers, up } = await import('./lifecycle.ts')
const { defaults } = await import('./options.ts')
const { emulated } = await import('./site.ts')

const ground = groundOf('metal')
const metal = metalAt(ground)
const { plan } = emulated('metal')
const srv1 = plan.servers.find(({ name }) => name === 'srv1')!
const boot_time_max_ms = 90_000

const at = (command: readonly string[]) => run('ip', ['netns', 'exec', ground.namespaceOf(operator), ...command])
const ipmi = (...words: string[]) =>
  at([
    ...['ipmitool', '-I', 'lanplus', '-C', '3', '-R', '1', '-N', '2', '-H', srv1.bmc.paths[0]!.address],
    ...['-U', srv1.bmc.user, '-P', readSecret('metal', srv1.bmc.secret), ...words],
  ])
const answers = (address: string) =>
  at(['ping', '-c', '1', '-W', '1', address]).then(
    () => true,
    () => false,
  )
const server = async () => (await metal.status()).servers.find(({ name }) => name === 'srv1')!

test.after.always(async () => {
  await down(ground, false, () => {})
  rmSync(process.env.MILEPOST_STATE!, { recursive: true, force: true })
})

test.serial('a site is built; its servers are off, and their BMCs answer on both addresses', async (t) => {
  await up(ground, { ...defaults, memory_mb: 256, cpus: 1, drive_gb: 1 }, (text) => t.log(text))
  t.true((await metal.status()).servers.every(({ power, bmc }) => power === 'off' && bmc.light === 'on'))
  for (const { address } of srv1.bmc.paths) t.true(await answers(address), address)
  t.regex(await ipmi('chassis', 'power', 'status'), /is off/)
})

test.serial('a cable that is out or silent passes nothing; the other path goes on', async (t) => {
  const [a, b] = srv1.bmc.paths.map(({ address }) => address) as [string, string]
  await metal.pull('srv1/bmc-a')
  t.false(await answers(a))
  t.true(await answers(b))
  await metal.push('srv1/bmc-a')
  await until('the cable is back', 10_000, () => answers(a))
  await metal.silence('srv1/bmc-b')
  t.false(await answers(b))
  t.is((await metal.status()).servers.find(({ name }) => name === 'srv1')!.bmc.light, 'on')
  await metal.unsilence('srv1/bmc-b')
  await until('the port speaks again', 10_000, () => answers(b))
})

test.serial('a switch that is out takes its cables along; the ring of switches closes around it', async (t) => {
  await metal.pull('r2-sw-a')
  const status = await metal.status()
  t.deepEqual(
    status.cables.filter(({ light }) => light === 'off').map(({ name }) => name),
    ['r1-sw-a/r2-sw-a', 'r2-sw-a/r2-sw-b'],
  )
  const second = plan.servers.find(({ rack }) => rack === 'r2')!
  await until('the other way round is open', 20_000, () => answers(second.bmc.paths[1]!.address))
  t.false(await answers(second.bmc.paths[0]!.address))
  await metal.push('r2-sw-a')
  await until('it is back', 20_000, () => answers(second.bmc.paths[0]!.address))
})

test.serial('a blank server starts from the network, as its BMC was told', async (t) => {
  await ipmi('chassis', 'bootdev', 'pxe')
  t.is((await server()).boot, 'pxe')
  await ipmi('chassis', 'power', 'on')
  await until('it asks for an address', boot_time_max_ms, async () =>
    (await server()).console.startsWith('Configuring'),
  )
  const now = await server()
  t.deepEqual([now.power, now.boot, now.boots], ['on', 'default', 1])
})

test.serial('a drive leaves and comes back live; a blank one has a serial of its own', async (t) => {
  await metal.pull('srv1/disk1')
  t.false((await server()).drives[0]!.in)
  await t.throwsAsync(metal.pull('srv1/disk1'), { message: 'srv1/disk1 is out already' })
  await metal.push('srv1/disk1')
  t.deepEqual((await server()).drives[0], { name: 'disk1', serial: srv1.drives[0]!.serial, in: true })
  await metal.pull('srv1/disk2')
  await metal.pushBlank('srv1/disk2', 'NEW1')
  t.deepEqual((await server()).drives[1], { name: 'disk2', serial: 'NEW1', in: true })
})

test.serial(
  'one feed gone is an alert; both gone, server and BMC are dead; with the current the server is back',
  async (t) => {
    await metal.pull('feed/A')
    t.is((await server()).power, 'on')
    await until('the sensor tells', 5_000, async () => /AC lost/.test(await ipmi('sdr', 'type', 'Power Supply')))
    t.regex(await ipmi('sel', 'elist'), /Power Supply AC lost/)
    await metal.pull('feed/B')
    const dead = await server()
    t.deepEqual([dead.power, dead.bmc.alive], ['off', false])
    await metal.push('feed/A')
    await metal.push('feed/B')
    await until('it starts', 20_000, async () => (await server()).boots === 2)
    await until('its BMC answers', 20_000, () =>
      ipmi('chassis', 'power', 'status').then(
        (text) => /is on/.test(text),
        () => false,
      ),
    )
  },
)

test.serial('its BMC switches it off; nothing is left after the end', async (t) => {
  await ipmi('chassis', 'power', 'off')
  t.is((await server()).power, 'off')
  await down(ground, false, () => {})
  t.deepEqual(await leftovers(ground), [])
})
