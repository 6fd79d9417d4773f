/**
 * The switches and cables: Open vSwitch with its datapath in user space, so that tags, edge ports and the spanning tree are those of a
 * real switch on every kernel. One process runs them all, in a namespace of their own; a port is a tap (a server) or a veth (all else).
 */
import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { at_once } from '../lab/namespaces.ts'
import { run, until } from '../lab/shell.ts'
import { networkOf } from '../lab/wiring.ts'
import { bmcMachine, type Ground, racks } from './ground.ts'
import { type Learned, learnedOf, placeLeg, placePort, switchCommands } from './ovs.ts'
import { type Device, type Port, portsOf, type Topology } from './topology.ts'

const schema = '/usr/share/openvswitch/vswitch.ovsschema'
const start_time_max_ms = 60_000
/** An 802.1Q tag on the longest frame. */
const tag_bytes = 4
/** Routing tables of devices that stand beside each other. */
const first_table = 100

export class Switches {
  readonly #ground: Ground
  readonly #topology: Topology
  readonly #say: (text: string) => void

  constructor(ground: Ground, topology: Topology, say: (text: string) => void) {
    this.#ground = ground
    this.#topology = topology
    this.#say = say
  }

  async build(): Promise<void> {
    const { ip, addNamespace } = this.#ground.net
    const { servers, trunks, places } = this.#topology
    const mtu = this.#topology.mtu + tag_bytes
    await addNamespace(racks)
    await ip(
      racks,
      servers.flatMap(({ nics }) =>
        nics.flatMap(({ device }) => [`tuntap add dev ${device} mode tap`, `link set ${device} mtu ${mtu}`]),
      ),
    )
    await ip(
      racks,
      trunks.map(([one, other]) => `link add ${one.device} mtu ${mtu} type veth peer name ${other.device} mtu ${mtu}`),
    )
    for (const { plan, bmc } of servers) {
      await addNamespace(bmcMachine(plan.name))
      for (const [i, { port, device }] of bmc.entries()) {
        await this.#lead(port.device, bmcMachine(plan.name), device)
        await this.#apart(bmcMachine(plan.name), device, i)
      }
    }
    for (const name of new Set(places.map((one) => one.name))) await addNamespace(name)
    for (const { name, bridge, legs, devices, routes } of places) {
      const cables = legs.map(({ device }, i) => {
        const near = placeLeg(bridge, i)
        return `link add ${near} mtu ${mtu} type veth peer name ${device} mtu ${mtu}`
      })
      await ip(racks, cables)
      await ip(
        racks,
        legs.map((_, i) => `link set ${placeLeg(bridge, i)} up`),
      )
      for (const device of devices) {
        await this.#lead(placePort(bridge, device.name), name, device)
        await ip(racks, [`link set ${placePort(bridge, device.name)} up`])
      }
      await ip(
        name,
        routes.map((route) => `route add ${route}`),
      )
    }
    await this.#start()
    const last = portsOf(this.#topology)
    await ip(
      racks,
      last.map(({ device }) => `link set ${device} up`),
    )
    this.#tellNeighbours()
  }

  /** Each switch tells its name and port at every cable: what a server's installer compares the cabling by. */
  #tellNeighbours(): void {
    const script = join(import.meta.dirname, 'lldp.py')
    if (!existsSync(script)) return
    for (const { name } of this.#topology.plan.racks.flatMap(({ switches }) => switches)) {
      const ports = portsOf(this.#topology).filter(({ at }) => at.switch === name)
      this.#spawn('python3', [script, name, ...ports.map(({ device, at }) => `${device}=${at.port}`)])
    }
  }

  /** A cable from the switches' namespace to a machine's device. */
  async #lead(near: string, machine: string, { name, mac, mtu, addresses }: Device): Promise<void> {
    const { ip, inside } = this.#ground.net
    const far = `peer name ${name} address ${mac} mtu ${mtu} netns ${this.#ground.namespaceOf(machine)}`
    await ip(racks, [`link add ${near} mtu ${this.#topology.mtu + tag_bytes} type veth ${far}`])
    // What goes through a switch has its checksum in it.
    await inside(machine, 'ethtool', ['-K', name, 'tx', 'off'])
    await ip(machine, [`link set ${name} up`, ...addresses.map((one) => `addr add ${one} dev ${name}`)])
  }

  /** Two devices in one network: each speaks for its own address alone, as two ports of a controller do. */
  async #apart(machine: string, { name, addresses }: Device, index: number): Promise<void> {
    const { ip, inside } = this.#ground.net
    const own = { arp_ignore: 1, arp_announce: 2, rp_filter: 0 }
    const words = Object.entries(own).map(([key, value]) => `net.ipv4.conf.${name}.${key}=${value}`)
    await inside(machine, 'sysctl', ['-qw', ...words])
    const table = first_table + index
    await ip(
      machine,
      addresses.flatMap((address) => [
        `rule add from ${address.split('/')[0]} lookup ${table}`,
        `route add ${networkOf(address)} dev ${name} table ${table}`,
      ]),
    )
  }

  get #database() {
    return `unix:${join(this.#ground.switchFolder, 'db.sock')}`
  }

  async #start(): Promise<void> {
    const folder = this.#ground.switchFolder
    mkdirSync(folder, { recursive: true })
    const file = join(folder, 'conf.db')
    await run('ovsdb-tool', ['create', file, schema])
    this.#spawn('ovsdb-server', [file, `--remote=p${this.#database}`, `--unixctl=${join(folder, 'db.ctl')}`])
    await until('the database of the switches starts', start_time_max_ms, () => existsSync(join(folder, 'db.sock')))
    await this.#vsctl(['--no-wait', 'init'])
    this.#spawn('ovs-vswitchd', [this.#database, `--unixctl=${join(folder, 'vswitchd.ctl')}`], at_once)
    await this.#vsctl(switchCommands(this.#topology))
  }

  #vsctl(words: readonly string[]): Promise<string> {
    return run('ovs-vsctl', [`--db=${this.#database}`, '--timeout=60', ...words])
  }

  #spawn(command: string, args: readonly string[], first: readonly string[] = []): void {
    const folder = this.#ground.switchFolder
    const [program, rest] = this.#ground.inside('switches', racks, [...first, command, ...args])
    const log = openSync(join(folder, `${command}.log`), 'a')
    const env = { ...process.env, OVS_RUNDIR: folder, OVS_LOGDIR: folder, OVS_DBDIR: folder }
    const child = spawn(program, rest, { env, stdio: ['ignore', log, log] })
    closeSync(log)
    child.on('error', (error) => this.#say(`${command}: ${error.message}`))
    child.on('close', (code, signal) => this.#say(`${command} ended with ${code ?? signal}`))
  }

  /** Lights of ports on or out; all at the same moment. */
  async light(ports: readonly { readonly port: Port; readonly on: boolean }[]): Promise<void> {
    await this.#ground.net.ip(
      racks,
      ports.map(({ port, on }) => `link set ${port.device} ${on ? 'up' : 'down'}`),
    )
  }

  /** A port that passes nothing while its light stays on. */
  async silence(port: Port, silent: boolean): Promise<void> {
    const bridge = `unix:${join(this.#ground.switchFolder, `${port.at.switch}.mgmt`)}`
    for (const way of ['receive', 'forward'])
      await run('ovs-ofctl', ['mod-port', bridge, port.device, silent ? `no-${way}` : way])
  }

  /** Addresses that a switch has heard lately. */
  async learned(name: string): Promise<Learned[]> {
    const control = join(this.#ground.switchFolder, 'vswitchd.ctl')
    return learnedOf(await run('ovs-appctl', ['-t', control, 'fdb/show', name]))
  }
}
