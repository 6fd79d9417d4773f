/** Plays the fixtures of protocols through channels made for them, and compares what is stored with what they say. */
import { protocolNames } from '#pvm/index.ts'
import { type Fixture, fixtureOf, fixtureTransports, type Json, type Transport } from './fixture.ts'
import { identOf } from './index.ts'
import { differences, type Played, play } from './play.ts'
import { Progress, table } from './progress.ts'
import { type Channel, rest, type Site } from './site.ts'

export interface FixtureOptions {
  site: Site
  /** Where the channels listen. */
  host: string
  /** Names, or `all`. */
  protocols: string[]
  /** Default: all that each protocol has. */
  transports?: Transport[]
  /** Played at the same time. */
  at_once: number
  seed: number
  /** The channels stay. */
  keep: boolean
}

/** Each process that shares a port logs that it listens; so long after the last of them all do. */
const listening_quiet_ms = 1_500
const listening_max_ms = 60_000
/** Messages without an answer are stored soon after. */
const stored_max_ms = 15_000
const poll_ms = 100
const notes_shown = 5

interface Play {
  fixture: Fixture
  channel: Channel
}

interface Result extends Played {
  play: Play
  messages: number
  missing: number
}

const wait = (ms: number) => new Promise((done) => setTimeout(done, ms))

/** Prints progress and a table; gives how many fixtures went otherwise than they say. */
export async function playFixtures(options: FixtureOptions): Promise<number> {
  const { site, transports } = options
  const names = options.protocols.includes('all') ? protocolNames() : options.protocols
  const fixtures = names.flatMap((protocol, i) =>
    fixtureTransports(protocol)
      .filter((transport) => transports === undefined || transports.includes(transport))
      .map((transport) => fixtureOf(protocol, transport, identOf(options.seed, i))),
  )
  if (fixtures.length === 0) throw new Error(`none of ${names.join(', ')} has a transport of ${transports?.join(', ')}`)
  const began = Date.now()
  const progress = new Progress()
  const plays = await channelsFor(site, fixtures, began)
  const results: Result[] = []
  try {
    progress.show(`${plays.length} channels made, waiting until they listen`)
    await listening(site, plays)
    const next = plays.values()
    const worker = async () => {
      for (const one of next) {
        results.push(await playOne(options, one))
        progress.show(`${results.length} of ${plays.length} played  ${((Date.now() - began) / 1000).toFixed(0)} s`)
      }
    }
    await Promise.all(Array.from({ length: options.at_once }, worker))
  } finally {
    progress.clear()
    if (!options.keep) await rest(site, 'DELETE', `/gw/channels/${plays.map(({ channel }) => channel.id).join(',')}`)
  }
  results.sort((a, b) => plays.indexOf(a.play) - plays.indexOf(b.play))
  return report(results)
}

async function channelsFor(site: Site, fixtures: Fixture[], run: number): Promise<Play[]> {
  const body = fixtures.map(({ protocol, transport }) => ({
    protocol,
    name: `fixture ${protocol} ${transport} ${run}`,
  }))
  const channels = await rest<Channel>(site, 'POST', '/gw/channels', body)
  return fixtures.map((fixture, i) => ({ fixture, channel: channels[i]! }))
}

/** Waits until every channel is open in all the processes that serve it. */
async function listening(site: Site, plays: Play[]): Promise<void> {
  const ids = plays.map(({ channel }) => channel.id).join(',')
  const end = Date.now() + listening_max_ms
  let count = 0
  let last = Date.now()
  for (;;) {
    const events = await rest<Json>(site, 'GET', `/gw/channels/${ids}/logs?count=10000`)
    const open = new Set(
      events.filter((one) => one.event === 'listen').map((one) => `${one['channel.id']} ${one.transport}`),
    )
    const closed = plays.filter(({ fixture, channel }) => !open.has(`${channel.id} ${socketOf(fixture)}`))
    if (events.length > count) {
      count = events.length
      last = Date.now()
    }
    if (closed.length === 0 && Date.now() - last > listening_quiet_ms) return
    if (Date.now() > end) {
      const which = closed.map(({ channel, fixture }) => `${channel.name} (${socketOf(fixture)} port ${channel.port})`)
      throw new Error(`these channels do not listen: ${which.join(', ')}`)
    }
    await wait(poll_ms)
  }
}

const socketOf = ({ transport }: Fixture) => (transport === 'udp' ? 'udp' : 'tcp')

async function playOne({ site, host }: FixtureOptions, one: Play): Promise<Result> {
  const { fixture, channel } = one
  const wanted = fixture.steps.flatMap((step) => step.messages)
  let played: Played
  try {
    played = await play(fixture, host, channel.port)
  } catch (error) {
    played = { answers: 0, answers_right: 0, notes: [`port ${channel.port}: ${(error as Error).message}`] }
  }
  const end = Date.now() + stored_max_ms
  for (;;) {
    const found = await rest<Json>(site, 'GET', `/gw/channels/${channel.id}/messages?count=100000`)
    const notes = differences(wanted, found)
    const missing = notes.filter((note) => note.startsWith('missing')).length
    if (notes.length === 0 || Date.now() > end || played.notes.length > 0)
      return { play: one, ...played, notes: [...played.notes, ...notes], messages: wanted.length, missing }
    await wait(poll_ms)
  }
}

function report(results: Result[]): number {
  const head = ['protocol', 'transport', 'packets', 'not by it', 'answers', 'right', 'messages', 'stored', '']
  const rows = results.map((result) => [
    result.play.fixture.protocol,
    result.play.fixture.transport,
    result.play.fixture.steps.length,
    result.play.fixture.others,
    result.answers,
    result.answers_right,
    result.messages,
    result.messages - result.missing,
    result.notes.length === 0 ? 'fine' : 'DIFFERS',
  ])
  process.stdout.write(`${table(head, rows)}\n`)
  const wrong = results.filter(({ notes }) => notes.length > 0)
  for (const { play: one, notes } of wrong) {
    const { protocol, transport } = one.fixture
    for (const note of notes.slice(0, notes_shown)) process.stdout.write(`${protocol} ${transport}: ${note}\n`)
    if (notes.length > notes_shown)
      process.stdout.write(`${protocol} ${transport}: and ${notes.length - notes_shown} more\n`)
  }
  const sum = (pick: (result: Result) => number) => results.reduce((total, result) => total + pick(result), 0)
  const protocols = new Set(results.map(({ play: one }) => one.fixture.protocol)).size
  process.stdout.write(
    `${protocols} protocols, ${sum(({ play: one }) => one.fixture.steps.length)} packets, ` +
      `${sum((r) => r.answers_right)} of ${sum((r) => r.answers)} answers, ` +
      `${sum((r) => r.messages - r.missing)} of ${sum((r) => r.messages)} messages: ` +
      `${wrong.length === 0 ? 'all as the fixtures say' : `${wrong.length} differ`}\n`,
  )
  return wrong.length
}
