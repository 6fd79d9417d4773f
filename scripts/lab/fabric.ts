/**
 * The switches and all cables. A switch is a namespace with one bridge a network; a cable is one veth pair a network, so that
 * every kernel can do it. A bond of two legs is a bridge in the machine with both legs as ports; the switch's end of the leg that
 * is not active is out of the switch's bridge: what the bonding driver does in mode active-backup, seen from the cable.
 */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { grouped } from './cgroup.ts'
import { addNamespace, at_once, ip, removeNamespace, tryIp } from './net.ts'
import { namespaceOf } from './paths.ts'
import { type Device, type Leg, type Machine, memberName, portName, type Trunk, type Wiring } from './wiring.ts'

const bridgeOf = (vlan: number) => `v${vlan}`

/** One end of a cable in a machine that is plugged in. */
interface Plugged {
  readonly machine: Machine
  readonly leg: Leg
  readonly devices: readonly Device[]
}

interface Port {
  /** The cable is out. */
  pulled: boolean
  /** Its light is on, but nothing passes. */
  silent: boolean
  /** Both ends are up. */
  carrier: boolean
  plugged: Plugged | undefined
  /** Names of its devices in the switch. */
  trunk: Trunk | undefined
}

/** What a bond does at the moment. */
interface Bond {
  active: string | undefined
  flips: number
  /** When the driver looks next. */
  timer: NodeJS.Timeout | undefined
}

const portKey = (port: { switch: string; port: number }) => `${port.switch}:${port.port}`

/** The driver's clock: it looks at its legs every `monitoring_ms`, and finds a silent one after this many looks. */
const arp_misses = 3

export class Fabric {
  readonly #wiring: Wiring
  readonly #say: (text: string) => void
  readonly #ports = new Map<string, Port>()
  readonly #dark = new Set<string>()
  readonly #bonds = new Map<string, Bond>()
  readonly #monitors: ReturnType<typeof spawn>[] = []
  // The switches are worked on by one hand: what a port should be is computed and set in one go.
  #work: Promise<unknown> = Promise.resolve()

  constructor(wiring: Wiring, say: (text: string) => void) {
    this.#wiring = wiring
    this.#say = say
  }

  #port(port: { switch: string; port: number }): Port {
    const key = portKey(port)
    const known = this.#ports.get(key)
    if (known) return known
    const made: Port = { pulled: false, silent: false, carrier: false, plugged: undefined, trunk: undefined }
    this.#ports.set(key, made)
    return made
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#work.then(work, work)
    this.#work = next.catch(() => {})
    return next
  }

  /** Puts the switches up and the cables between them. */
  async build(): Promise<void> {
    const { switches, vlans, trunks } = this.#wiring
    for (const { name } of switches) {
      await addNamespace(name)
      await ip(
        name,
        [...vlans].flatMap(([vlan, mtu]) => [
          `link add ${bridgeOf(vlan)} mtu ${mtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
          `link set ${bridgeOf(vlan)} up`,
        ]),
      )
      this.#watch(name)
    }
    for (const trunk of trunks) {
      const [one, other] = trunk.ends
      const commands = [...vlans].map(([vlan, mtu]) => {
        const [near, far] = [portName(one.port, vlan), portName(other.port, vlan)]
        return `link add ${near} mtu ${mtu} type veth peer name ${far} mtu ${mtu} netns ${namespaceOf(other.switch)}`
      })
      await ip(one.switch, commands)
      for (const end of trunk.ends) this.#port(end).trunk = trunk
      await this.#apply(trunk.ends)
    }
  }

  /** Follows the lights of a switch's ports. */
  #watch(name: string): void {
    const [command, args] = grouped('fabric', at_once[0], [
      ...at_once.slice(1),
      ...['ip', '-o', '-n', namespaceOf(name), 'monitor', 'link'],
    ])
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] })
    this.#monitors.push(child)
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const match = /^(Deleted )?\d+: p(\d+)(\.\d+)?[@:][^<]*<([^>]*)>/.exec(line)
      if (!match) return
      const at = { switch: name, port: Number(match[2]) }
      const port = this.#port(at)
      // One of the cable's pairs shows its light; the others follow it.
      if (`p${match[2]}${match[3] ?? ''}` !== this.#namesAt(at)[0]) return
      const carrier = match[1] === undefined && match[4]!.split(',').includes('LOWER_UP')
      if (port.carrier === carrier) return
      port.carrier = carrier
      if (port.plugged) this.#look(port.plugged.machine)
    })
  }

  /** Lays a machine's cables and makes its devices. */
  async plug(machine: Machine): Promise<void> {
    await addNamespace(machine.name)
    for (const leg of machine.legs) {
      const devices = machine.devices.filter((device) => device.legs.includes(leg.name))
      const commands = devices.map(({ vlan, mtu }) => {
        const device = devices.find((one) => one.vlan === vlan)!
        const far = `peer name ${portName(leg.port.port, vlan)} mtu ${mtu} netns ${namespaceOf(leg.port.switch)}`
        return `link add ${memberName(device, leg.name)} address ${leg.mac} mtu ${mtu} type veth ${far}`
      })
      await ip(machine.name, commands)
      this.#port(leg.port).plugged = { machine, leg, devices }
    }
    const commands: string[] = []
    for (const device of machine.devices) {
      const members = device.legs.map((leg) => memberName(device, leg))
      if (members.length > 1) {
        const kind = 'type bridge stp_state 0 forward_delay 0 mcast_snooping 0'
        commands.push(`link add ${device.name} address ${device.mac} mtu ${device.mtu} ${kind}`)
        // No learning: what leaves goes down both legs, and the switch whose leg is not active does not take it.
        for (const member of members)
          commands.push(`link set ${member} master ${device.name}`, `link set ${member} type bridge_slave learning off`)
      }
      for (const name of new Set([...members, device.name])) commands.push(`link set ${name} up`)
      for (const address of device.addresses) commands.push(`addr add ${address} dev ${device.name}`)
    }
    await ip(machine.name, commands)
    if (machine.devices.some(({ legs }) => legs.length > 1)) {
      this.#bonds.set(machine.name, { active: this.#usable(machine)[0], flips: 0, timer: undefined })
    }
    await this.#apply(machine.legs.map(({ port }) => port))
    await ip(
      machine.name,
      machine.routes.map((route) => `route add ${route}`),
    )
    this.#look(machine)
  }

  /** The machine's lights go out at once; its devices vanish with all that they held. */
  async unplug(machine: Machine): Promise<void> {
    const bond = this.#bonds.get(machine.name)
    if (bond) clearTimeout(bond.timer)
    this.#bonds.delete(machine.name)
    const ports = machine.legs.map(({ port }) => port)
    await this.#serial(async () => {
      for (const port of ports) {
        const names = this.#namesAt(port)
        await tryIp(
          port.switch,
          names.map((name) => `link del ${name}`),
        )
        const state = this.#port(port)
        state.plugged = undefined
        state.carrier = false
      }
    })
    await removeNamespace(machine.name)
  }

  #namesAt(port: { switch: string; port: number }): string[] {
    const { plugged, trunk } = this.#port(port)
    if (trunk) return [...this.#wiring.vlans.keys()].map((vlan) => portName(port.port, vlan))
    return (plugged?.devices ?? []).map(({ vlan }) => portName(port.port, vlan))
  }

  /** Sets ports to what they should be: up or down, in the switch's bridge or out of it. */
  #apply(ports: readonly { switch: string; port: number }[]): Promise<void> {
    return this.#serial(async () => {
      const out = new Map<string, string[]>()
      const into = new Map<string, string[]>()
      const add = (list: Map<string, string[]>, name: string, command: string) =>
        list.set(name, [...(list.get(name) ?? []), command])
      const state = (port: { switch: string; port: number }, vlan: number, joined: boolean) => {
        const { pulled, silent } = this.#port(port)
        const name = portName(port.port, vlan)
        if (joined && !silent) add(into, port.switch, `link set ${name} master ${bridgeOf(vlan)}`)
        else add(out, port.switch, `link set ${name} nomaster`)
        const down = pulled || this.#dark.has(port.switch)
        add(down ? out : into, port.switch, `link set ${name} ${down ? 'down' : 'up'}`)
      }
      for (const port of ports) {
        const { plugged, trunk } = this.#port(port)
        if (trunk) for (const vlan of this.#wiring.vlans.keys()) state(port, vlan, true)
        for (const { vlan, legs } of plugged?.devices ?? []) {
          const active = this.#bonds.get(plugged!.machine.name)?.active
          state(port, vlan, legs.length === 1 || active === plugged!.leg.name)
        }
      }
      // All that goes out first: two active legs of one bond would be a loop.
      await Promise.all([...out].map(([name, list]) => ip(name, list)))
      await Promise.all([...into].map(([name, list]) => ip(name, list)))
    })
  }

  /** Legs that the bond's driver would use, the preferred one first. */
  #usable(machine: Machine): string[] {
    return machine.legs
      .filter(({ port }) => {
        const { pulled, silent, plugged, carrier } = this.#port(port)
        if (machine.arp_targets.length > 0 && silent) return false
        const lit = !pulled && !this.#dark.has(port.switch)
        // Before the first light is seen, the cable is believed.
        return lit && (plugged === undefined || carrier || !this.#bonds.has(machine.name))
      })
      .map(({ name }) => name)
  }

  /** Something changed at a machine's legs: its driver sees it at its next look. */
  #look(machine: Machine, looks = 1): void {
    const bond = this.#bonds.get(machine.name)
    if (!bond || bond.timer) return
    const rest = machine.monitoring_ms - (performance.now() % machine.monitoring_ms)
    const wait = rest + (looks - 1) * machine.monitoring_ms
    bond.timer = setTimeout(() => {
      bond.timer = undefined
      this.#choose(machine).catch((error) => this.#say(`${machine.name}: ${(error as Error).message}`))
    }, wait)
  }

  async #choose(machine: Machine): Promise<void> {
    const bond = this.#bonds.get(machine.name)
    if (!bond) return
    const [best] = this.#usable(machine)
    // With no leg left the driver keeps the last one.
    if (best === undefined || best === bond.active) return
    this.#say(`${machine.name}: the bond goes over to ${best}`)
    bond.active = best
    bond.flips++
    await this.#apply(machine.legs.map(({ port }) => port))
    if (this.#bonds.get(machine.name) !== bond) return
    // Setting the address, even to what it is, makes the kernel announce every address of the device.
    await tryIp(
      machine.name,
      machine.devices.filter(({ legs }) => legs.length > 1).map(({ name, mac }) => `link set ${name} address ${mac}`),
    )
  }

  /** The active leg of a machine's bond. */
  active(machine: string): string | undefined {
    return this.#bonds.get(machine)?.active
  }

  flips(machine: string): number {
    return this.#bonds.get(machine)?.flips ?? 0
  }

  light(port: { switch: string; port: number }): 'on' | 'off' | 'pulled' | 'silent' {
    const { pulled, silent, carrier } = this.#port(port)
    if (pulled) return 'pulled'
    if (!carrier || this.#dark.has(port.switch)) return 'off'
    return silent ? 'silent' : 'on'
  }

  isSilent(port: { switch: string; port: number }): boolean {
    return this.#port(port).silent
  }

  isDark(name: string): boolean {
    return this.#dark.has(name)
  }

  /** A cable out of its port, or into it again: both ends lose or get their light. */
  async setPulled(port: { switch: string; port: number }, pulled: boolean): Promise<void> {
    this.#port(port).pulled = pulled
    await this.#apply([port])
  }

  /** A port that fails while its light stays on. */
  async setSilent(port: { switch: string; port: number }, silent: boolean): Promise<void> {
    const state = this.#port(port)
    state.silent = silent
    await this.#apply([port])
    if (state.plugged) this.#look(state.plugged.machine, silent ? arp_misses : 1)
  }

  /** A switch without power: all its lights go out. */
  async setDark(name: string, dark: boolean): Promise<void> {
    if (dark) this.#dark.add(name)
    else this.#dark.delete(name)
    const ports = [...this.#ports.keys()]
      .map((key) => ({ switch: key.slice(0, key.lastIndexOf(':')), port: Number(key.slice(key.lastIndexOf(':') + 1)) }))
      .filter((port) => port.switch === name)
    await this.#apply(ports)
  }

  stop(): void {
    for (const bond of this.#bonds.values()) clearTimeout(bond.timer)
    for (const child of this.#monitors) child.kill('SIGKILL')
  }
}
