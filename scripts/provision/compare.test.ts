import test from 'ava'
import { planOf } from '#infra/site/plan-of.ts'
import { metal } from '#infra/sites/metal.ts'
import { compare } from './compare.ts'
import type { Inventory } from './inventory.ts'

const plan = planOf(metal)
const srv1 = plan.servers.find(({ name }) => name === 'srv1')!
const srv2 = plan.servers.find(({ name }) => name === 'srv2')!
const GiB = 1_024

/** What is found when everything is as the site says. */
const right: Inventory = {
  memory_mb: Math.round(srv1.memory_gb! * GiB * 0.985),
  firmware: 'bios',
  nics: srv1.nics.map(({ mac, link }, n) => ({
    name: `ens${n}`,
    mac,
    carrier: true,
    neighbour: { system: `${link.switch}.example.net`, port: `Ethernet1/${link.port}` },
  })),
  drives: srv1.drives.map(({ serial, size_gb }, n) => ({
    name: `sd${'ba'[n]}`,
    bytes: size_gb * 1e9,
    serial,
    holds: [],
  })),
}
const found = (change: Partial<Inventory>, overwritable: readonly string[] = []) =>
  compare(plan, srv1, { ...right, ...change }, new Set(overwritable))
/** One finding, and nothing else. */
const only = (change: Partial<Inventory>) => found(change).findings.join('\n')

test('a server as the site says has no finding', (t) => {
  t.deepEqual(found({}), { findings: [], hints: [] })
})

test('swapped cables are named with switch, port and place', (t) => {
  const [one, two] = right.nics
  const { findings } = found({
    nics: [
      { ...one!, neighbour: two!.neighbour! },
      { ...two!, neighbour: one!.neighbour! },
    ],
  })
  t.deepEqual(findings, [
    'srv1 (rack r1, unit 20): eth0 is on switch r1-sw-b (port 3), the site says r1-sw-a; are the cables of eth0 and eth1 swapped?',
    'srv1 (rack r1, unit 20): eth1 is on switch r1-sw-a (port 3), the site says r1-sw-b; are the cables of eth1 and eth0 swapped?',
  ])
})

test('a cable in another port, on a strange switch, or without a link', (t) => {
  const [one, two] = right.nics
  const second = (change: object) => only({ nics: [one!, { ...two!, ...change }] })
  t.is(
    second({ neighbour: { system: 'r1-sw-b', port: '7' } }),
    'srv1 (rack r1, unit 20): eth1 is in port 7 of switch r1-sw-b, the site says port 3',
  )
  t.is(
    second({ neighbour: { system: 'core1', port: '7' } }),
    'srv1 (rack r1, unit 20): eth1 is on a switch that calls itself "core1", the site says r1-sw-b',
  )
  t.is(
    second({ carrier: false }),
    'srv1 (rack r1, unit 20): eth1 has no link; look at the cable to port 3 of switch r1-sw-b',
  )
})

test('a switch that does not say who it is is a hint, not a finding', (t) => {
  const { findings, hints } = found({ nics: right.nics.map(({ neighbour: _, ...nic }) => nic) })
  t.deepEqual(findings, [])
  t.is(hints.length, 2)
  t.regex(hints[0]!, /^srv1 \(rack r1, unit 20\): eth0: its switch does not say who it is/)
})

test('an unknown card is named beside the one that is missing; one of another server with that server', (t) => {
  const [one, two] = right.nics
  t.is(
    only({ nics: [one!, { ...two!, mac: '52:54:00:12:34:56' }] }),
    'srv1 (rack r1, unit 20): eth1 (3c:ec:ef:00:04:a1) is not there; cards that the site does not know: 52:54:00:12:34:56',
  )
  t.true(
    found({ nics: [one!, two!, { ...two!, mac: srv2.nics[0]!.mac }] }).findings.includes(
      'srv1 (rack r1, unit 20): it has the card 3c:ec:ef:00:05:a0, which is eth0 of srv2 (rack r2, unit 20) in the site; the two are mixed up',
    ),
  )
})

test('a drive that is missing, too small, not blank, or of another server', (t) => {
  const [one, two] = right.drives
  const size = srv1.drives[1]!.size_gb
  t.is(only({ drives: [one!] }), 'srv1 (rack r1, unit 20): drive S6KUNX0T100008 of bay 1 is not there')
  t.is(
    only({ drives: [one!, { ...two!, serial: 'NEW1' }] }),
    `srv1 (rack r1, unit 20): drive S6KUNX0T100008 of bay 1 is not there; drives that the site does not know: NEW1, ${size} GB`,
  )
  t.regex(only({ drives: [one!, { ...two!, bytes: (size * 1e9) / 2 }] }), /bay 1 has \d+ GB, the site says \d+ GB$/)
  t.is(
    only({ drives: [one!, { ...two!, holds: ['gpt', 'linux_raid_member'] }] }),
    'srv1 (rack r1, unit 20): drive S6KUNX0T100008 of bay 1 is not blank (gpt, linux_raid_member); look what is on it, then --reinstall srv1 overwrites both drives',
  )
  t.deepEqual(found({ drives: [one!, { ...two!, holds: ['gpt'] }] }, [two!.serial]).findings, [])
  t.deepEqual(found({ drives: [...right.drives, { ...two!, serial: srv2.drives[0]!.serial }] }).findings, [
    'srv1 (rack r1, unit 20): it has drive S6KUNX0T100009, which is one of srv2 (rack r2, unit 20) in the site',
  ])
})

test('memory: one module of sixteen less is found, what the kernel keeps is not', (t) => {
  const wanted = srv1.memory_gb! * GiB
  t.is(only({ memory_mb: Math.ceil(wanted * 0.98 - 192) }), '')
  t.regex(
    only({ memory_mb: Math.floor(wanted * (15 / 16) * 0.985) }),
    /GiB of memory are seen, the site says \d+ GiB; look/,
  )
  t.regex(only({ memory_mb: wanted * 2 }), /correct memory_gb/)
})

test('firmware of the other kind', (t) => {
  t.is(
    only({ firmware: 'uefi' }),
    'srv1 (rack r1, unit 20): it was started by UEFI, the site says BIOS; set its firmware to BIOS, or correct firmware',
  )
})
