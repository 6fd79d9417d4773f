import test from 'ava'
import { parseInventory, parseLldp } from './inventory.ts'

const tlv = (type: number, value: Buffer) => {
  const head = Buffer.alloc(2)
  head.writeUInt16BE((type << 9) | value.length)
  return Buffer.concat([head, value])
}
const named = (subtype: number, text: string) => Buffer.concat([Buffer.from([subtype]), Buffer.from(text)])
const frameOf = (...parts: Buffer[]) => Buffer.concat([Buffer.from('0180c200000e02112233445588cc', 'hex'), ...parts])
const chassis = tlv(1, Buffer.from('04021122334455', 'hex'))
const frame = frameOf(
  chassis,
  tlv(2, named(5, 'Ethernet1/7')),
  tlv(3, Buffer.from([0, 120])),
  tlv(5, Buffer.from('r1-sw-a')),
  tlv(0, Buffer.alloc(0)),
)

test('a switch and its port are read from its announcement', (t) => {
  t.deepEqual(parseLldp(frame.toString('hex')), { system: 'r1-sw-a', port: 'Ethernet1/7' })
})

test('a port known by an address is named by its description; a switch without a name by its address', (t) => {
  const other = frameOf(chassis, tlv(2, Buffer.from('03021122334456', 'hex')), tlv(4, Buffer.from('swp7')))
  t.deepEqual(parseLldp(other.toString('hex')), { system: '021122334455', port: 'swp7' })
})

test('what is cut short or of another kind is nobody, and control characters do not get through', (t) => {
  for (let length = 0; length < 20; length++) t.is(parseLldp(frame.subarray(0, length).toString('hex')), undefined)
  t.is(parseLldp(`0180c200000e0211223344550800${'00'.repeat(40)}`), undefined)
  const rude = frameOf(chassis, tlv(5, Buffer.from('sw\x1b[31m-a\n')))
  t.is(parseLldp(rude.toString('hex'))?.system, 'sw[31m-a')
})

test('the report of the image', (t) => {
  const text = [
    'memory_kb 2015000',
    'firmware uefi',
    'nic ens3 3c:ec:ef:00:04:a0 1',
    `lldp ens3 ${frame.toString('hex')}`,
    'nic ens4 3c:ec:ef:00:04:a1 0',
    'drive sda 4294967296 S6KUNX0T100007',
    'holds sda gpt,linux_raid_member,',
    'drive sdb 4294967296 ',
    '',
  ].join('\n')
  t.deepEqual(parseInventory(text), {
    memory_mb: 1_968,
    firmware: 'uefi',
    nics: [
      { name: 'ens3', mac: '3c:ec:ef:00:04:a0', carrier: true, neighbour: { system: 'r1-sw-a', port: 'Ethernet1/7' } },
      { name: 'ens4', mac: '3c:ec:ef:00:04:a1', carrier: false },
    ],
    drives: [
      { name: 'sda', bytes: 4_294_967_296, serial: 'S6KUNX0T100007', holds: ['gpt', 'linux_raid_member'] },
      { name: 'sdb', bytes: 4_294_967_296, serial: '', holds: [] },
    ],
  })
  t.throws(() => parseInventory('nic ens3 nonsense 1'), { message: /line that is not understood: nic ens3/ })
})
