import test from 'ava'
import type { Plan } from '#infra/site/plan.ts'
import { planOf } from '#infra/site/plan-of.ts'
import { lab } from '#infra/sites/lab.ts'
import { metal } from '#infra/sites/metal.ts'
import { consent, type Hands, progressOf, replaceDrive, replacementOf } from './replace-drive.ts'

const before = planOf(metal)
const server = before.servers.find(({ name }) => name === 'srv1')!
const [first, second] = server.drives.map(({ serial }) => serial) as [string, string]
/** As the operator edited it: the drive of bay 1 is another. */
const after = JSON.parse(JSON.stringify(before).replaceAll(`"${second}"`, '"NEW"')) as Plan

test('it says what is to be in the site file first', (t) => {
  const refused = (plan: Plan, name: string, words: RegExp, old: string | undefined = second, fresh = 'NEW') =>
    void t.throws(() => replacementOf(plan, name, { old, new: fresh }), { message: words })
  refused(before, 'srv1', new RegExp(`^srv1 .*, bay 1: write NEW in the place of ${second} in the site file first`))
  refused(before, 'srv9', /no server "srv9"; it has gw1/)
  refused(planOf(lab), 'srv1', /its mirror is the machine's/)
  refused(after, 'srv1', /--old SERIAL and --new SERIAL are needed/, '')
  refused(after, 'srv1', /write OTHER in the place of/, second, 'OTHER')
  const { bay, old } = replacementOf(after, 'srv1', { old: second, new: 'NEW' })
  t.deepEqual([bay, old], [1, second])
})

/** A server as its tools answer; the new drive is there at the n-th look. */
function rack(known: readonly string[], lookOfDrive: number, answer = consent) {
  const did: string[] = []
  let looks = 0
  const hands: Hands = {
    run: async (command, line) => {
      const ok = (out: string) => ({ code: 0, out, error: '' })
      if (command.startsWith('cat ')) return ok(JSON.stringify({ drives: known.map((serial) => ({ serial })) }))
      if (command.startsWith('lsblk')) return ok(looks++ >= lookOfDrive ? `${first}\nNEW` : first)
      did.push(command)
      if (command.startsWith('milepost-mirror remove')) return ok(`drive ${second} in bay 1 can be pulled`)
      for (const percent of [0, 50]) line?.(JSON.stringify({ whole: false, percent, minutes: 2.4, faults: [] }))
      line?.('{"whole": true}')
      return ok('')
    },
    deploy: async () => void did.push('deploy'),
    ask: async () => answer,
    say: (text) => void did.push(text.replace(/^.*?: /, '').replace(/\d+ s in all/, '')),
    show: (text) => void did.push(text),
    pause: async () => {},
  }
  return { did, hands }
}
const replacement = replacementOf(after, 'srv1', { old: second, new: 'NEW' })
const end = [
  'drive NEW is there',
  'deploy',
  'milepost-mirror wait --json --seconds 86400',
  `srv1: ${'░'.repeat(24)} 0.0 %, 3 min left`,
  `srv1: ${'█'.repeat(12)}${'░'.repeat(12)} 50.0 %, 3 min left`,
  `srv1: ${'█'.repeat(24)} 100 %`,
  'the mirror is whole, both drives start the server; ',
]

test('from the old drive to a whole mirror', async (t) => {
  const { did, hands } = rack([first, second], 2)
  await replaceDrive(replacement, hands)
  t.deepEqual(did, [
    `drive ${second} goes out, NEW comes in. The other drive carries on alone until the mirror is whole.`,
    `milepost-mirror remove '${second}'`,
    `drive ${second} in bay 1 can be pulled`,
    `pull drive ${second}, push NEW in. Ctrl-C: call this again then, it goes on from here.`,
    'waiting for drive NEW in bay 1 (0 s)',
    ...end,
  ])
})

test('called again after the new drive was entered, it goes on from there', async (t) => {
  const { did, hands } = rack([first, 'NEW'], 0)
  await replaceDrive(replacement, hands)
  t.deepEqual(did, end)
})

test('nothing is done without consent, nor on a server that knows neither drive', async (t) => {
  const unasked = rack([first, second], 0, 'yes')
  await t.throwsAsync(replaceDrive(replacement, unasked.hands), { message: 'nothing was changed' })
  t.is(unasked.did.length, 1)
  const other = rack([first, 'THIRD'], 0)
  await t.throwsAsync(replaceDrive(replacement, other.hands), { message: /knows neither/ })
  t.deepEqual(other.did, [])
})

test('a mirror that waits says why', (t) => {
  t.is(
    progressOf('{"whole":false,"percent":null,"minutes":null,"faults":["md0: 1 of 2 drives work"]}'),
    'md0: 1 of 2 drives work',
  )
})
