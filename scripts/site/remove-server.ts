/** Takes a server out of service while it is still in the site file. */
import type { Plan } from '#infra/site/plan.ts'
import { runAnsible } from './ansible.ts'
import { prepare } from './apply.ts'
import { confirmed } from './ask.ts'

const say = (text: string) => void process.stdout.write(`${text}\n`)

/** `yes`: the word was given by whoever wrote the command. */
export async function removeServer(plan: Plan, server: string, yes: boolean): Promise<void> {
  const { site, servers } = plan
  if (!servers.some(({ name }) => name === server))
    throw new Error(`site ${site} has no server "${server}"; it has ${servers.map(({ name }) => name).join(', ')}`)
  if (!yes)
    await confirmed(
      `Everything that runs on ${server} will be stopped there. Write its name again to go on: `,
      server,
      `remove-server ${site} ${server} asks a person; in a script add --yes`,
    )
  prepare(site)
  await runAnsible({
    site,
    playbooks: ['remove-server'],
    hosts: [],
    variables: { server, confirm: `remove ${server}` },
  })
  say(`${server} is out of service. Take it out of the site file, then: npm run site -- deploy ${site}`)
}
