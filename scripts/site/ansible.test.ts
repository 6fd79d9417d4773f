import test from 'ava'
import { Reader } from './ansible.ts'

/** What Ansible's default callback prints, shortened. */
const output = `
PLAY [Server] ******************************************************************

TASK [preflight : Observe the host] ********************************************

TASK [network : Install the devices' files] ************************************
changed: [gw1]

RUNNING HANDLER [network : Apply the devices' files] ***************************
changed: [gw1 -> localhost]
[ERROR]: Task failed: Module failed: there is no folder /etc/milepost
Origin: /somewhere/ansible/roles/gateway/tasks/main.yml:10:3

TASK [gateway : Install rules] *************************************************
fatal: [gw2]: FAILED! =>
    changed: false
    msg: there is no folder /etc/milepost

PLAY RECAP *********************************************************************
gw1                        : ok=12   changed=2    unreachable=0    failed=0    skipped=3    rescued=0    ignored=0
gw2                        : ok=4    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0
`

function read(nameHosts: boolean) {
  const said: string[] = []
  const reader = new Reader(nameHosts, false, (line) => void said.push(line))
  for (const line of output.split('\n')) reader.line(line)
  return { said, reader }
}

test('a line a change, with the host where there are several', (t) => {
  t.deepEqual(read(true).said, ["gw1: network: Install the devices' files", "gw1: network: Apply the devices' files"])
  t.deepEqual(read(false).said, ["network: Install the devices' files", "network: Apply the devices' files"])
})

test('a failure is told in its own words, with host and task', (t) => {
  const { failures } = read(true).reader
  t.is(failures[0], 'Task failed: Module failed: there is no folder /etc/milepost')
  t.true(failures.includes('gw2: gateway: Install rules: FAILED! =>'))
  t.true(failures.some((line) => line.includes('msg: there is no folder /etc/milepost')))
  t.false(failures.some((line) => line.includes('PLAY RECAP')))
})

test('the recap is counted', (t) => {
  t.deepEqual(read(true).reader.recap, [
    { host: 'gw1', ok: 12, changed: 2, unreachable: 0, failed: 0 },
    { host: 'gw2', ok: 4, changed: 0, unreachable: 0, failed: 1 },
  ])
})
