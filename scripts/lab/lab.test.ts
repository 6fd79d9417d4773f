import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { parse } from 'yaml'
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { stepsOf } from '#infra/stacks/steps.ts'
import { root } from '../state.ts'
import { cached, system } from './packages.ts'
import { pingsOf } from './ping.ts'
import type { RackStatus } from './rack.ts'
import { statusText } from './status.ts'

test('the longest silence of an echo counts up to the end', (t) => {
  const line = (time: number) => `[${time.toFixed(6)}] 64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.1 ms\n`
  const text = `PING\n${line(10)}${line(10.01)}no answer yet for icmp_seq=3\n${line(10.2)}${line(10.21)}`
  t.deepEqual(pingsOf(text, 10.22), { answered: 4, gap_ms: 190, times: [10_000, 10_010, 10_200, 10_210] })
  t.is(pingsOf(text, 10.72).gap_ms, 500)
  t.deepEqual(pingsOf('PING\n', 1), { answered: 0, gap_ms: Number.POSITIVE_INFINITY, times: [] })
})

test('status says of each server what it is, and of each part whether it works', (t) => {
  const server = {
    name: 'gw1',
    role: 'gateway',
    power: 'on',
    frozen: false,
    booted: true,
    uptime_s: 12,
    boots: 1,
    memory_bytes: 2 ** 25,
    pid: 1,
    legs: [
      { name: 'eth0', light: 'pulled', active: false },
      { name: 'eth1', light: 'on', active: true },
    ],
    bmc: { alive: true, light: 'on' },
    supplies: [{ name: 'psu1', feed: 'A', on: false }],
  } as const
  const status: RackStatus = {
    site: 'x',
    servers: [
      { ...server, legs: [...server.legs], supplies: [...server.supplies] },
      { ...server, name: 'gw2', power: 'off', booted: false, pid: undefined, legs: [], supplies: [] },
      { ...server, name: 'gw3', frozen: true, legs: [], supplies: [] },
    ],
    switches: [{ name: 'sw-a', on: false }],
    feeds: [{ name: 'A', on: false }],
    cables: [{ name: 'outside:up0', light: 'on' }],
  }
  const lines = statusText(status, new Map([['gw1', 'online (DC)']])).split('\n')
  t.regex(lines[1]!, /^gw1 +gateway +up +12 s +✕ eth0 +● eth1\* +● +○ psu1\/A +32 MB +online \(DC\)$/)
  t.regex(lines[2]!, /^gw2 +gateway +off/)
  t.regex(lines[3]!, /^gw3 +gateway +frozen/)
  t.is(lines[5], '○ sw-a   ○ feed:A   ● outside:up0')
})

test('every package that a role of site lab installs is in the servers’ root', (t) => {
  const roles = join(root, 'ansible/roles')
  const there = new Set([...system, ...cached])
  // What these two look after is delivered ready-made here: they install nothing.
  const used = new Set(stepsOf(planOf(lab)).flatMap((step) => step.roles))
  for (const role of readdirSync(roles).filter((name) => used.has(name) && name !== 'raid1' && name !== 'bond')) {
    const file = join(roles, role, 'defaults/main.yml')
    if (!existsSync(file)) continue
    const packages = (parse(readFileSync(file, 'utf8')) as Record<string, unknown> | null)?.[`${role}_packages`]
    // `postgresql-15` comes with the package without a version.
    for (const name of Array.isArray(packages) ? (packages as string[]) : [])
      t.true(
        there.has(name.replace(/(-client)?-(\d+|\{\{.*\}\})$/, '')),
        `${role} installs ${name}: add it to packages.ts`,
      )
  }
})
