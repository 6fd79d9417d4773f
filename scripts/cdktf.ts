/** Runs cdktf's command line: node scripts/cdktf.ts deploy|diff|destroy [STACK]. Its output is made readable. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { root } from './state.ts'

interface Tools {
  terraform: string
  config: string
  node: string
}

function tools(): Tools {
  const file = join(root, '.milepost/tools/tools.json')
  if (!existsSync(file)) throw new Error('the tools are not set up: run "node scripts/setup.mjs start" first')
  return JSON.parse(readFileSync(file, 'utf8')) as Tools
}

/**
 * Runs one command on stacks of one site, of which the later may need the earlier; other sites' stacks are not made.
 * Resolves with whether anything changed; rejects with what failed.
 */
export async function cdktf(
  command: 'deploy' | 'diff' | 'destroy',
  stack: string | readonly string[],
  say: (line: string) => void = (line) => void process.stdout.write(`${line}\n`),
): Promise<boolean> {
  const stacks = [stack].flat()
  const { terraform, config, node } = tools()
  const args = [join(root, 'node_modules/cdktf-cli/bundle/bin/cdktf.js'), command, ...stacks]
  if (command !== 'diff') args.push('--auto-approve')
  args.push('--skip-provider-lock')
  const env = {
    ...process.env,
    PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}`,
    TERRAFORM_BINARY_NAME: terraform,
    TF_CLI_CONFIG_FILE: config,
    CHECKPOINT_DISABLE: '1',
    CDKTF_DISABLE_PLUGIN_CACHE_ENV: '1',
    CI: 'true',
    FORCE_COLOR: '0',
    NO_COLOR: '1',
    MILEPOST_SITE: stacks[0]!.replace(/-(install|hardware|cluster|services)$/, ''),
  }
  const child = spawn(node, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const last: string[] = []
  let failure: string | undefined
  /** What a step found to be wrong, a line each. */
  const findings: string[] = []
  let changed = false
  const read = (stream: NodeJS.ReadableStream) =>
    createInterface({ input: stream }).on('line', (raw) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are escape sequences
      const line = raw.replace(/\x1b\[[0-9;]*m/g, '').replace(new RegExp(`^\\s*(${stacks.join('|')})\\s{2}`), '')
      last.push(line)
      const finding = /\(local-exec\): ! (.*)$/.exec(line)
      if (finding) findings.push(finding[1]!)
      // Our own steps name what failed in the last line they say.
      failure = /\(local-exec\): (\w+: .*)$/.exec(line)?.[1] ?? failure
      if (last.length > 40) last.shift()
      if (/^Apply complete!|^Destroy complete!/.test(line.trim()) && !/ 0 added, 0 changed, 0 destroyed/.test(line))
        changed = true
      const shown = readable(line, command)
      if (shown !== undefined) say(shown)
    })
  // Asked to end, it lets the steps that run come to their end first; what is left, the next deploy does.
  const interrupt = () => void child.kill('SIGINT')
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  read(child.stdout)
  read(child.stderr)
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status) => resolve(status ?? 1))
  }).finally(() => process.off('SIGINT', interrupt).off('SIGTERM', interrupt))
  if (code !== 0 && last.some((line) => line.includes('Failed to query available provider packages')))
    throw new Error(
      'provider null is neither in the mirror nor to be had from the registry: install pip for Python 3 (apt install python3-pip), then run this again.',
    )
  if (code !== 0 && findings.length > 0)
    throw new Error(`${findings.join('\n')}\nmend it, then the same command again goes on where it stopped`)
  if (code !== 0 && failure !== undefined)
    throw new Error(`${failure}\nmend it, then the same command again goes on where it stopped`)
  if (code !== 0)
    throw new Error(
      `cdktf ${command} ${stacks.join(' ')} failed; the same command again goes on where it stopped. Its last lines:\n${last
        .filter((line) => line.trim() !== '')
        .slice(-25)
        .join('\n')}`,
    )
  return changed
}

/** What a person wants to see of a line; undefined: nothing. */
function readable(line: string, command: string): string | undefined {
  const text = line.trim()
  const said = /^null_resource\.([\w-]+) .*\(local-exec\): (.*)$/.exec(text)
  if (said) return /^(Executing:|! )/.test(said[2] ?? '') ? undefined : `  ${said[1]?.padEnd(12)} ${said[2]}`
  if (command === 'diff')
    return /^(#|[-+~] (?!Reusing|Using|Finding|Install)|Plan:|No changes)/.test(text) ? `  ${text}` : undefined
  if (/^(No changes|Plan:|Apply complete|Destroy complete|Error)/.test(text)) return `  ${text}`
  return undefined
}

if (import.meta.main) {
  const [command, stack = 'home'] = process.argv.slice(2)
  try {
    if (command !== 'deploy' && command !== 'diff' && command !== 'destroy')
      throw new Error('usage: node scripts/cdktf.ts deploy|diff|destroy [STACK]')
    await cdktf(command, stack)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    process.exit(1)
  }
}
