/** What is generated, judged by the tools it is generated for. Needs Debian's pacemaker, corosync, resource-agents, nftables; root. */
import { execFile } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { cibXml, corosyncConf } from './index.ts'
import { smallest } from './testing.ts'

/** A development dependency brings a command `nft` of its own. */
const systemPath = '/usr/sbin:/usr/bin:/sbin:/bin'
const run = promisify(execFile)
const folder = mkdtempSync(join(tmpdir(), 'milepost-cluster-'))
const here = import.meta.dirname
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

/** A cluster that was just started: Pacemaker's own properties, an operator's standby, nothing configured. */
const fresh = `<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.9" epoch="5" num_updates="3" admin_epoch="0">
<configuration><crm_config><cluster_property_set id="cib-bootstrap-options">
<nvpair id="cib-bootstrap-options-dc-version" name="dc-version" value="2.1.5"/></cluster_property_set></crm_config>
<nodes><node id="1" uname="gw1"/><node id="2" uname="gw2"><instance_attributes id="nodes-2">
<nvpair id="nodes-2-standby" name="standby" value="on"/></instance_attributes></node><node id="3" uname="arc1"/></nodes>
<resources/><constraints/></configuration><status/></cib>`

/** milepost-cib-push against a CIB in a file: exit code and what it says. */
async function push(live: string, ...options: string[]): Promise<{ code: number; said: string }> {
  try {
    const { stdout } = await run(join(here, 'push'), options, { env: { ...process.env, CIB_file: live } })
    return { code: 0, said: stdout }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { code, said: `${stdout}${stderr}` }
  }
}

test('Corosync takes corosync.conf', async (t) => {
  // It looks for the key, which is a secret and no part of what is rendered.
  const text = corosyncConf(smallest).replace('totem {', `totem {\n  keyfile: ${file('authkey', 'k'.repeat(256))}`)
  const path = file('corosync.conf', text)
  await t.notThrowsAsync(run('unshare', ['-u', 'sh', '-c', `hostname gw1; corosync -t -c ${path}`]))
  const wrong = file('wrong.conf', text.replace('version: 2', 'version: 7'))
  await t.throwsAsync(run('unshare', ['-u', 'sh', '-c', `hostname gw1; corosync -t -c ${wrong}`]))
})

test('a difference is told, applied, and then there is none', async (t) => {
  const live = file('live.xml', fresh)
  const wanted = file('cib.xml', cibXml(smallest))
  const told = await push(live, '--check', wanted)
  t.is(told.code, 3)
  t.regex(told.said, /\+ resources: clone connections-clone/)
  t.is(readFileSync(live, 'utf8'), fresh, '--check changes nothing')
  t.regex((await push(live, wanted)).said, /applied/)
  t.deepEqual(await push(live, '--check', wanted), { code: 0, said: 'unchanged\n' })
  t.deepEqual(await push(live, wanted), { code: 0, said: 'unchanged\n' })
  const after = readFileSync(live, 'utf8')
  t.regex(after, /dc-version/, "Pacemaker's own properties stay")
  t.regex(after, /name="standby" value="on"/, 'a node in standby stays so')
})

test('what was changed by hand is told and undone', async (t) => {
  const live = file('drifted.xml', fresh)
  const wanted = file('wanted.xml', cibXml(smallest))
  await push(live, wanted)
  writeFileSync(
    live,
    readFileSync(live, 'utf8').replace('name="stonith-enabled" value="true"', 'name="stonith-enabled" value="false"'),
  )
  const told = await push(live, '--check', wanted)
  t.is(told.code, 3)
  t.is(
    told.said,
    '1 change to make:\n  ~ crm_config/cluster_property_set cib-bootstrap-options/nvpair cib-bootstrap-options-stonith-enabled: value = true\n',
  )
  await push(live, wanted)
  t.is((await push(live, '--check', wanted)).code, 0)
})

test('a configuration that Pacemaker refuses is not applied', async (t) => {
  const live = file('kept.xml', fresh)
  const wrong = file('refused.xml', cibXml(smallest).replaceAll('rsc="rules-clone"', 'rsc="nothing"'))
  const told = await push(live, wrong)
  t.is(told.code, 1)
  t.regex(told.said, /unknown ID "nothing"/)
  t.is(readFileSync(live, 'utf8'), fresh)
})

test('the gateway agent passes ocf-tester and finds rules that were changed', async (t) => {
  const rules = file(
    'rules.nft',
    'table inet milepost_t {\n  set s { type ipv4_addr; }\n  chain c { type filter hook forward priority 0; policy drop; }\n}\nflush table inet milepost_t\ntable inet milepost_t {\n  chain c { ip saddr @s drop; }\n}\n',
  )
  const agent = join(here, 'agents/gateway')
  // In a network of its own: neither rules nor forwarding of this machine are touched. `step` prints what the monitor says.
  const script = `set -eu
    step() { set +e; ${agent} monitor 2>&1; echo "$1 $?"; set -e; }
    echo 0 > /proc/sys/net/ipv4/ip_forward
    ocf-tester -n tested -o "rules=${rules}" ${agent} >&2
    export OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=tested-$$:0 OCF_RESKEY_rules=${rules}
    step before
    ${agent} start
    step started
    nft add element inet milepost_t s '{ 192.0.2.1 }'
    step fed
    nft add rule inet milepost_t c accept
    step by-hand
    ${agent} start 2>&1
    echo 'table inet milepost_t { chain d { }; }' >> ${rules}
    nft -f ${rules}
    step deployed
    nft flush ruleset
    step flushed
    ${agent} stop
    step stopped
    cat /proc/sys/net/ipv4/ip_forward`
  const { stdout, stderr } = await run('unshare', ['-n', 'sh', '-c', script], {
    env: { PATH: systemPath },
    maxBuffer: 1 << 24,
  })
  t.regex(stderr, /passed all tests/)
  t.deepEqual(
    stdout.split('\n').filter((line) => /^(\w|-)+ \d+$/.test(line) || line === '0'),
    ['before 7', 'started 0', 'fed 0', 'by-hand 1', 'deployed 0', 'flushed 1', 'stopped 7', '0'],
  )
  t.regex(stdout, /they were changed by hand/)
  t.regex(stdout, /there is no table inet milepost_t/)
})

test('the connections agent passes ocf-tester, keeps its score, and notices a daemon that was killed', async (t) => {
  const score = file('score', '')
  const bin = dirname(file('crm_master', `#!/bin/sh\necho "$*" >> ${score}\n`))
  chmodSync(join(bin, 'crm_master'), 0o755)
  const socket = file('conntrackd.ctl', '')
  rmSync(socket)
  const config = file(
    'conntrackd.conf',
    `Sync {
      Mode FTFW { DisableExternalCache off }
      Multicast { IPv4_address 225.0.0.50; Group 3780; IPv4_interface 127.0.0.1; Interface lo; Checksum on }
    }
    General { HashSize 1024; HashLimit 8192; LogFile off; Syslog off; LockFile ${socket}.lock
      UNIX { Path ${socket} }
    }`.replaceAll('; ', '\n'),
  )
  const agent = join(here, 'agents/connections')
  const script = `set -eu
    step() { set +e; ${agent} monitor 2>&1; echo "$1 $?"; set -e; }
    ip link set lo up multicast on
    export HA_SBIN_DIR=${bin}
    ocf-tester -n tested -o "config=${config}" ${agent} >&2
    export OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=tested-$$:0 OCF_RESKEY_config=${config}
    : > ${score}
    step before
    ${agent} start; step started
    ${agent} promote; step promoted
    ${agent} promote
    ${agent} demote; step demoted
    ${agent} promote
    pkill -KILL -f "[c]onntrackd -C ${config} -d"; sleep 0.2
    step killed
    ${agent} start; step again
    ${agent} stop; step stopped
    ${agent} stop`
  const { stdout, stderr } = await run('unshare', ['-n', 'sh', '-c', script], {
    env: { PATH: systemPath },
    maxBuffer: 1 << 24,
  })
  t.regex(stderr, /passed all tests/)
  t.deepEqual(
    stdout.split('\n').filter((line) => /^\w+ \d+$/.test(line)),
    ['before 7', 'started 0', 'promoted 8', 'demoted 0', 'killed 1', 'again 0', 'stopped 7'],
  )
  const set = readFileSync(score, 'utf8').trim().split('\n')
  t.deepEqual(new Set(set), new Set(['-Q -l reboot -v 100', '-Q -l reboot -D']))
})
