/** What the in-memory image found in a server. Pure. */

export interface FoundNic {
  /** The kernel's own name: `eth0` of the site may be `ens3` here. */
  readonly name: string
  readonly mac: string
  readonly carrier: boolean
  /** What the switch at the other end said of itself; absent: it said nothing. */
  readonly neighbour?: Neighbour
}

export interface FoundDrive {
  readonly name: string
  readonly bytes: number
  readonly serial: string
  /** Kinds of what is on it: `gpt`, `linux_raid_member`; empty: blank. */
  readonly holds: readonly string[]
}

export interface Inventory {
  readonly memory_mb: number
  readonly firmware: 'bios' | 'uefi'
  readonly nics: readonly FoundNic[]
  readonly drives: readonly FoundDrive[]
}

/** An announcement of LLDP (IEEE 802.1AB). */
export interface Neighbour {
  readonly system: string
  readonly port: string
}

/** Reads the image's report, a line a fact. Throws with the line that it does not understand. */
export function parseInventory(text: string): Inventory {
  const nics: FoundNic[] = []
  const drives: FoundDrive[] = []
  let memory_mb = 0
  let firmware: Inventory['firmware'] = 'bios'
  for (const line of text.split('\n').filter((other) => other.trim() !== '')) {
    const [kind, name = '', one = '', two = ''] = line.trim().split(/\s+/)
    if (kind === 'memory_kb' && /^\d+$/.test(name)) memory_mb = Math.round(Number(name) / 1_024)
    else if (kind === 'firmware' && (name === 'bios' || name === 'uefi')) firmware = name
    else if (kind === 'nic' && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(one))
      nics.push({ name, mac: one, carrier: two === '1' })
    else if (kind === 'lldp') {
      const at = nics.findIndex((nic) => nic.name === name)
      const neighbour = parseLldp(one)
      if (at >= 0 && neighbour) nics[at] = { ...nics[at]!, neighbour }
    } else if (kind === 'drive' && /^\d+$/.test(one)) drives.push({ name, bytes: Number(one), serial: two, holds: [] })
    else if (kind === 'holds') {
      const at = drives.findIndex((drive) => drive.name === name)
      if (at >= 0) drives[at] = { ...drives[at]!, holds: one.split(',').filter((type) => type !== '') }
    } else throw new Error(`the report of the inventory has a line that is not understood: ${line.slice(0, 120)}`)
  }
  return { memory_mb, firmware, nics, drives }
}

const ethertype_lldp = 0x88cc
const tlv = { end: 0, chassis: 1, port: 2, port_description: 4, system: 5 } as const
/** Subtypes of a port that are names; an address says nothing of the number on the front. */
const port_names = [1, 5, 7]

/** The switch and port of a captured frame (hexadecimal); undefined when it is no whole announcement. */
export function parseLldp(hex: string): Neighbour | undefined {
  const frame = Buffer.from(hex, 'hex')
  if (frame.length < 14 || frame.readUInt16BE(12) !== ethertype_lldp) return undefined
  let [system, port, description, chassis] = ['', '', '', '']
  for (let at = 14; at + 2 <= frame.length; ) {
    const head = frame.readUInt16BE(at)
    const [type, length] = [head >> 9, head & 0x1ff]
    const value = frame.subarray(at + 2, at + 2 + length)
    if (type === tlv.end || value.length < length) break
    if (type === tlv.chassis) chassis = value.subarray(1).toString(value[0] === 4 ? 'hex' : 'utf8')
    if (type === tlv.port && port_names.includes(value[0]!)) port = text(value.subarray(1))
    if (type === tlv.port_description) description = text(value)
    if (type === tlv.system) system = text(value)
    at += 2 + length
  }
  if (system === '' && chassis === '') return undefined
  return { system: system || chassis, port: port || description }
}

/** Nothing that a neighbour says reaches a terminal but printable characters. */
const text = (bytes: Buffer) =>
  bytes
    .toString('utf8')
    .replace(/[^\x20-\x7e]/g, '')
    .trim()
    .slice(0, 80)
