/** One run of the installer: follows each server from being switched on to its own system, and tells it what to do next. */
import { randomBytes } from 'node:crypto'
import type { Plan, ServerPlan } from '#infra/site/plan.ts'
import type { BmcClient } from './bmc.ts'
import { type Comparison, compare, placeOf } from './compare.ts'
import type { Heard } from './dnsmasq.ts'
import { installStep, systemFiles } from './install.ts'
import { parseInventory } from './inventory.ts'
import { reach } from './reach.ts'
import { inventoryStep, offStep, waitStep } from './render.ts'
import type { Archive } from './root.ts'
import type { Conductor } from './service.ts'
import { type Event, next, readState, type ServerState, writeState } from './state.ts'

/** From being switched on to the inventory: large servers train their memory for minutes. */
const inventory_time_max_ms = 20 * 60_000
/** A server that is installed gives a sign of life within. */
const silence_max_ms = 4 * 60_000
const mains_silence_max_ms = 60_000
const boot_time_max_ms = 25 * 60_000
/** An unknown card that asks so often, for so long, stands for the server that is missing. */
const unknown_times_min = 3
const unknown_time_min_ms = 45_000
const said_percent = 20

/** How often a run looks, and how long images have to fetch their last step, ms. */
const usual_pace = { look_ms: 1_000, power_ms: 10_000, farewell_ms: 6_000 }

export interface RunProps {
  readonly plan: Plan
  readonly servers: readonly ServerPlan[]
  readonly clients: ReadonlyMap<string, Pick<BmcClient, 'startOverNetwork' | 'on' | 'off' | 'isOn'>>
  readonly archive: Archive
  readonly publicKey: string
  readonly say: (line: string) => void
  readonly pin: (server: ServerPlan, hostKey: string) => void
  /** Folder of the states; absent: that of all sites. */
  readonly folder?: string
  readonly pace?: typeof usual_pace
  /** Asks a server's own system. */
  readonly reach?: typeof reach
}

export class Run implements Conductor, Heard {
  readonly #props: RunProps
  readonly #states = new Map<string, ServerState>()
  readonly #comparisons = new Map<string, Comparison>()
  /** Steps that replace what a server is told by its stage. */
  readonly #orders = new Map<string, string>()
  readonly #unknown = new Map<string, { since: number; times: number }>()
  readonly #signs = new Map<string, number>()
  readonly #asked = new Set<string>()
  readonly #percentSaid = new Map<string, number>()
  readonly #pace: typeof usual_pace
  #over = false

  constructor(props: RunProps) {
    this.#props = props
    this.#pace = props.pace ?? usual_pace
    for (const { name } of props.servers) this.#states.set(name, readState(props.plan.site, name, props.folder))
  }

  /** The whole of it. Throws with all that went wrong. */
  async whole(): Promise<void> {
    const { servers, clients } = this.#props
    await Promise.all(
      servers.map((server) => {
        const client = clients.get(server.name)!
        // One that was installed when the last deploy ended has only to start.
        const installed = this.#states.get(server.name)!.machine_id !== undefined
        this.#event(server.name, { kind: installed ? 'resume' : 'begin' })
        return (installed ? client.on() : client.startOverNetwork()).catch((error: Error) =>
          this.#fault(server, error.message),
        )
      }),
    )
    const blank = this.#going().filter(({ name }) => this.#states.get(name)!.stage === 'waiting')
    if (blank.length > 0)
      this.#props.say(`${blank.map(({ name }) => name).join(', ')}: switched on, to start over the network`)
    try {
      await this.#looks(() => this.#awaitInventories())
      this.#agree()
      await this.#looks(() => this.#awaitSystems())
    } finally {
      await this.#farewell()
    }
    this.#throwFaults()
  }

  /** Looks again and again, at power too, until it is so. */
  async #looks(done: () => boolean | Promise<boolean>): Promise<void> {
    let power = Date.now()
    while (!(await done())) {
      await new Promise((resolve) => setTimeout(resolve, this.#pace.look_ms))
      if (Date.now() - power < this.#pace.power_ms) continue
      power = Date.now()
      await this.#lookAtPower()
    }
  }

  #awaitInventories(): boolean {
    const waiting = this.#going().filter(({ name }) => this.#states.get(name)!.stage === 'waiting')
    if (waiting.length === 0) return true
    const now = Date.now()
    const strangers = [...this.#unknown].filter(
      ([, { since, times }]) => times >= unknown_times_min && now - since >= unknown_time_min_ms,
    )
    // Nobody else is missing: the cards that ask in vain are theirs.
    const silent = waiting.filter(({ name }) => !this.#signs.has(name))
    const clear = strangers.length >= silent.length && silent.length === waiting.length
    for (const server of waiting) {
      const since = this.#states.get(server.name)!.since
      if (!clear && now - since < inventory_time_max_ms) continue
      const cards = server.nics.map(({ name, mac }) => `${name} ${mac}`).join(', ')
      const asked =
        strangers.length > 0
          ? `; cards that the site does not know ask for an address: ${strangers.map(([mac]) => mac).join(', ')}; if they are its own, enter them`
          : ''
      this.#fault(
        server,
        this.#signs.has(server.name)
          ? 'it started over the network, but its inventory did not come; look at its console'
          : `none of its cards (${cards}) asked for an address${asked || '; is starting over the network (PXE) switched off in its firmware, or a cable missing?'}`,
      )
    }
    return this.#going().every(({ name }) => this.#states.get(name)!.stage !== 'waiting')
  }

  /** All that was found, compared with the site; nothing is installed while anything differs. */
  #agree(): void {
    const { servers, say } = this.#props
    for (const server of servers) for (const hint of this.#comparisons.get(server.name)?.hints ?? []) say(hint)
    const findings = servers.flatMap(({ name }) => this.#comparisons.get(name)?.findings ?? [])
    if (findings.length > 0)
      for (const server of servers) {
        const own = this.#comparisons.get(server.name)?.findings ?? []
        if (own.length > 0) this.#event(server.name, { kind: 'fault', why: own.join('\n') })
      }
    this.#throwFaults()
    const agreed = servers.filter(({ name }) => this.#states.get(name)!.stage === 'inventory')
    if (agreed.length > 0)
      say(`${agreed.map(({ name }) => name).join(', ')}: as the site says; the system goes on their drives now`)
    for (const server of agreed) {
      this.#event(server.name, { kind: 'agreed' })
      const serials = server.drives.map(({ serial }) => serial)
      this.#event(server.name, { kind: 'install', installation: randomBytes(8).toString('hex'), serials })
      this.#signs.set(server.name, Date.now())
    }
  }

  #awaitSystems(): boolean {
    const now = Date.now()
    for (const server of this.#going()) {
      const state = this.#states.get(server.name)!
      if (state.stage === 'ready') continue
      const installed = state.machine_id !== undefined
      const silent = now - Math.max(state.since, this.#signs.get(server.name) ?? 0)
      if (!installed && silent > silence_max_ms)
        this.#fault(
          server,
          `no sign of life for ${Math.round(silent / 1_000)} s while ${state.doing} (${state.percent} %)`,
        )
      if (!installed) continue
      if (now - state.since > boot_time_max_ms)
        this.#event(server.name, {
          kind: 'unbooted',
          why: `${placeOf(server)}: it is installed, but its system does not answer; does its firmware start from the drives?`,
        })
      else if (state.stage === 'installing') void this.#ask(server)
    }
    return this.#going().every(({ name }) => this.#states.get(name)!.stage === 'ready')
  }

  /** Asks a server's own system, unless it is being asked: one that starts takes its time, and no other waits for it. */
  async #ask(server: ServerPlan): Promise<void> {
    if (this.#asked.has(server.name)) return
    this.#asked.add(server.name)
    const answer = await (this.#props.reach ?? reach)(this.#props.plan.site, server)
    this.#asked.delete(server.name)
    const state = this.#states.get(server.name)!
    if (this.#over || state.fault !== undefined || answer.kind !== 'open') return
    if (state.stage !== 'installing' || answer.installation !== state.installation) return
    this.#event(server.name, { kind: 'booted' })
    this.#event(server.name, { kind: 'ready' })
  }

  async #lookAtPower(): Promise<void> {
    await Promise.all(
      this.#going().map(async (server) => {
        const { stage } = this.#states.get(server.name)!
        if (stage === 'ready') return
        const power = await this.#props.clients
          .get(server.name)!
          .isOn()
          .then((on) => (on ? 'on' : 'off'))
          .catch(() => 'unknown')
        const { doing, percent, stage: now } = this.#states.get(server.name)!
        const silent = Date.now() - (this.#signs.get(server.name) ?? Date.now())
        if (power === 'on' || now === 'ready') return
        const at = `while ${doing}${now === 'installing' ? ` (${percent} %)` : ''}`
        if (power === 'off') this.#fault(server, `its power went ${at}`)
        // Without mains the BMC is silent, too; a BMC alone may have a bad moment.
        else if (silent > mains_silence_max_ms)
          this.#fault(server, `neither it nor its BMC answers, ${at}; are its mains gone?`)
      }),
    )
  }

  /** Servers that wait in memory are switched off; those that are installed go on. */
  async #farewell(): Promise<void> {
    this.#over = true
    const waiting = [...this.#states.values()].some(({ stage }) => stage !== 'ready')
    if (waiting) await new Promise((resolve) => setTimeout(resolve, this.#pace.farewell_ms))
    // One that never asked runs nothing of ours that could switch it off, and would look for a network for ever.
    const deaf = this.#props.servers.filter(
      ({ name }) => this.#states.get(name)!.stage === 'waiting' && !this.#signs.has(name),
    )
    await Promise.all(
      deaf.map(({ name }) =>
        this.#props.clients
          .get(name)!
          .off()
          .catch(() => undefined),
      ),
    )
  }

  #throwFaults(): void {
    const faults = this.#props.servers
      .map(({ name }) => this.#states.get(name)!.fault)
      .filter((fault) => fault !== undefined)
    if (faults.length > 0) throw new Error(faults.join('\n'))
  }

  #going(): ServerPlan[] {
    return this.#props.servers.filter(({ name }) => this.#states.get(name)!.fault === undefined)
  }

  #fault(server: ServerPlan, why: string): void {
    const text = why.startsWith(server.name) ? why : `${placeOf(server)}: ${why}`
    this.#event(server.name, { kind: 'fault', why: text })
  }

  #event(server: string, event: Event): void {
    const { plan, say, folder } = this.#props
    const before = this.#states.get(server)!
    const state = next(before, event, Date.now())
    this.#states.set(server, state)
    writeState(plan.site, server, state, folder)
    if (event.kind === 'fault' || event.kind === 'unbooted') say(event.why)
    else if (event.kind === 'progress') {
      const step = Math.floor(state.percent / said_percent)
      if (step > (this.#percentSaid.get(server) ?? 0)) say(`${server}: installing ${state.percent} %`)
      this.#percentSaid.set(server, step)
    } else if (event.kind !== 'begin' && event.kind !== 'install') say(`${server}: ${state.stage}: ${state.doing}`)
  }

  // What the service asks.

  wants(server: string): boolean {
    const state = this.#states.get(server)
    return !this.#over && state !== undefined && state.fault === undefined && state.machine_id === undefined
  }

  step(server: string): string {
    const state = this.#states.get(server)
    if (this.#over || !state || state.fault !== undefined) return offStep
    this.#signs.set(server, Date.now())
    const plan = this.#props.servers.find(({ name }) => name === server)!
    if (state.stage === 'waiting') return inventoryStep
    if (state.stage !== 'installing' || this.#orders.has(server)) return waitStep
    this.#orders.set(server, 'install')
    const files = systemFiles(this.#props.plan, plan, this.#props.publicKey, state.installation!)
    return installStep(this.#props.plan, plan, files)
  }

  booting(server: string): void {
    this.#signs.set(server, Date.now())
    // It fell out of the installation and came back by itself: the same once more, for it was looked at.
    this.#orders.delete(server)
    this.#event(server, { kind: 'doing', what: 'starting over the network' })
  }

  inventory(server: string, text: string): void {
    const plan = this.#props.servers.find(({ name }) => name === server)!
    const state = this.#states.get(server)!
    if (state.stage !== 'waiting') return
    const found = parseInventory(text)
    this.#comparisons.set(server, compare(this.#props.plan, plan, found, new Set(state.overwritable)))
    this.#event(server, { kind: 'inventory' })
  }

  report(server: string, text: string): void {
    this.#signs.set(server, Date.now())
    const [kind, ...rest] = text.split(' ')
    const words = rest.join(' ').trim()
    const plan = this.#props.servers.find(({ name }) => name === server)!
    if (kind === 'step') this.#event(server, { kind: 'doing', what: words.slice(0, 80) })
    else if (kind === 'failed') this.#fault(plan, `the installation failed: ${words.slice(-600)}`)
    else if (kind === 'installed') {
      const [machine_id = '', ...key] = words.split(' ')
      const host_key = key.slice(0, 2).join(' ')
      if (!/^[0-9a-f]{32}$/.test(machine_id) || !/^ssh-ed25519 [A-Za-z0-9+/=]+$/.test(host_key))
        return this.#fault(plan, 'what it says of its new system is not understood')
      this.#props.pin(plan, host_key)
      this.#event(server, { kind: 'installed', machine_id, host_key })
    }
  }

  sent(server: string, bytes: number): void {
    this.#signs.set(server, Date.now())
    const state = this.#states.get(server)!
    const percent = Math.floor((100 * bytes) / this.#props.archive.root_bytes)
    if (state.stage === 'installing' && percent > state.percent) this.#event(server, { kind: 'progress', percent })
  }

  /** A card that the site does not know, from DHCP or the boot script. */
  unknown(mac: string): void {
    const seen = this.#unknown.get(mac)
    if (!seen) this.#props.say(`unknown card ${mac} asks for an address on lan; it gets none`)
    this.#unknown.set(mac, { since: seen?.since ?? Date.now(), times: (seen?.times ?? 0) + 1 })
  }

  known(): void {}
}
