/** `npm start`: deploys the home stack, sees that it lives, and says where things are. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { releaseHash } from '#infra/site/release.ts'
import { home } from '#infra/sites/home.ts'
import { mustCall } from '#services/common/client.ts'
import { cdktf } from './cdktf.ts'
import { root, tokenFile } from './state.ts'

/** Repeats one step of the deploy: mends what a reboot or a kill left. */
function apply(step: string, content: unknown): void {
  const env = { ...process.env, MILEPOST_APPLY: JSON.stringify(content) }
  const run = spawnSync(process.execPath, [join(root, 'scripts/apply.ts'), step], { env, encoding: 'utf8' })
  if (run.status !== 0) throw new Error(run.stderr.trim() || `${step} failed`)
}

const began = Date.now()
try {
  process.stdout.write('cdktf deploy home\n')
  const changed = await cdktf('deploy', home.name)
  if (!changed) {
    // The plan says nothing of what died since: the agent is asked, and waits until all serve.
    apply('runtime', { base_port: home.base_port, release: releaseHash() })
    const { channels: _channels, ...environment } = home
    apply('environment', { ...environment, release: releaseHash() })
  }
  const token = readFileSync(tokenFile(home.name), 'utf8').trim()
  const rest = `http://127.0.0.1:${home.base_port}`
  const channels = await mustCall<{ name: string; protocol: string; port: number }>('GET', `${rest}/gw/channels/all`, {
    token,
  })
  const lines = [
    '',
    changed ? 'Milepost is deployed.' : 'Milepost runs. No changes.',
    '',
    `  REST     ${rest}`,
    `  MQTT     mqtt://127.0.0.1:${home.base_port + 1}   ws://127.0.0.1:${home.base_port + 2}`,
    ...channels.map(({ name, protocol, port }) => `  devices  port ${port}   channel ${name} (${protocol})`),
    `  token    ${tokenFile(home.name)}`,
    '',
    `  curl -H "Authorization: Bearer $(cat ${tokenFile(home.name)})" ${rest}/gw/channels/all`,
    '',
    `${((Date.now() - began) / 1000).toFixed(1)} s`,
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
} catch (error) {
  process.stderr.write(`\nmilepost: ${(error as Error).message}\n`)
  process.exit(1)
}
