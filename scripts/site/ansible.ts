/** Runs playbooks and says what they do, a line a change, so that a person can follow. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { root } from '../state.ts'
import { renderedFolder, sshArguments } from './folders.ts'

/** A task that takes longer is named again and again, so that nobody thinks it hangs. */
const silence_max_ms = 10_000

export interface Run {
  readonly site: string
  readonly playbooks: readonly string[]
  /** Hosts to go to; empty: the playbook's own. */
  readonly hosts: readonly string[]
  readonly variables?: Readonly<Record<string, unknown>>
  /** Only tell what would change. */
  readonly check?: boolean
  readonly say?: (line: string) => void
}

/** Counts of a run by host, from Ansible's own recap. */
export interface Recap {
  readonly host: string
  readonly ok: number
  readonly changed: number
  readonly unreachable: number
  readonly failed: number
}

/** Rejects with what failed, in Ansible's words, when a task did. */
export async function runAnsible(run: Run): Promise<Recap[]> {
  const { site, playbooks, hosts, variables = {}, check = false } = run
  const say = run.say ?? ((line: string) => void process.stdout.write(`${line}\n`))
  const program = join(root, '.milepost/tools/ansible/bin/ansible-playbook')
  if (!existsSync(program)) throw new Error('Ansible is not set up: run "node scripts/setup.mjs lab" first')
  const args = [
    '-i',
    join(renderedFolder(site), 'inventory.yml'),
    ...playbooks.map((name) => join(root, 'ansible/playbooks', `${name}.yml`)),
    ...(hosts.length > 0 ? ['--limit', hosts.join(',')] : []),
    ...(Object.keys(variables).length > 0 ? ['-e', JSON.stringify(variables)] : []),
    ...(check ? ['--check', '--diff'] : []),
  ]
  // Connections are shared within this run alone: an older one may lead to a server that was built anew since.
  const connections = mkdtempSync(join(tmpdir(), 'milepost-ssh-'))
  const env = {
    ...process.env,
    ANSIBLE_CONFIG: join(root, 'ansible/ansible.cfg'),
    ANSIBLE_NOCOLOR: '1',
    ANSIBLE_FORCE_COLOR: '0',
    ANSIBLE_SSH_CONTROL_PATH_DIR: connections,
    // One Python a host and run instead of one a task: three times as fast, and more on slow processors.
    ANSIBLE_STRATEGY_PLUGINS: mitogenFolder(),
    ANSIBLE_STRATEGY: 'mitogen_linear',
    ANSIBLE_TIMEOUT: '60',
    // A task's name comes when it begins, not with its first change: what takes long is named rightly.
    ANSIBLE_DISPLAY_OK_HOSTS: 'true',
    ANSIBLE_DISPLAY_SKIPPED_HOSTS: 'true',
    ANSIBLE_DEPRECATION_WARNINGS: 'false',
    ANSIBLE_SSH_COMMON_ARGS: sshArguments(site)
      .map((word) => `'${word}'`)
      .join(' '),
  }
  const child = spawn(program, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const reader = new Reader(hosts.length !== 1, check, say)
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', (line) => reader.line(line))
  const timer = setInterval(() => reader.silent(), 1_000)
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status) => resolve(status ?? 1))
  }).finally(() => {
    clearInterval(timer)
    close(connections)
  })
  if (code !== 0)
    throw new Error(
      reader.failures.length > 0
        ? reader.failures.join('\n')
        : `ansible-playbook ended with ${code}:\n${reader.tail()}`,
    )
  return reader.recap
}

/** Where Mitogen's strategies are, in the venv of Ansible. */
function mitogenFolder(): string {
  const lib = join(root, '.milepost/tools/ansible/lib')
  const found = readdirSync(lib)
    .map((python) => join(lib, python, 'site-packages/ansible_mitogen/plugins/strategy'))
    .find((folder) => existsSync(folder))
  if (!found) throw new Error('Mitogen is not set up: run "node scripts/setup.mjs lab" first')
  return found
}

/** Ends the SSH masters of a run. */
function close(folder: string): void {
  for (const name of readdirSync(folder))
    spawnSync('ssh', ['-O', 'exit', '-o', `ControlPath=${join(folder, name)}`, 'all'], { stdio: 'ignore' })
  rmSync(folder, { recursive: true, force: true })
}

/** Reads the output of Ansible's default callback. */
export class Reader {
  readonly recap: Recap[] = []
  readonly failures: string[] = []
  readonly #nameHosts: boolean
  readonly #everything: boolean
  readonly #say: (line: string) => void
  readonly #last: string[] = []
  #task = ''
  #since = Date.now()
  #said = Date.now()
  /** Lines that belong to a failure, until an empty one. */
  #failing = false

  constructor(nameHosts: boolean, everything: boolean, say: (line: string) => void) {
    this.#nameHosts = nameHosts
    this.#everything = everything
    this.#say = (line) => {
      this.#said = Date.now()
      say(line)
    }
  }

  line(text: string): void {
    this.#last.push(text)
    if (this.#last.length > 40) this.#last.shift()
    const task = /^(?:TASK|RUNNING HANDLER) \[(.*?)\] \**$/.exec(text)
    if (task) {
      this.#task = task[1]!.replace(' : ', ': ')
      this.#since = Date.now()
      this.#failing = false
      return
    }
    const changed = /^changed: \[([^\]]+?)(?: -> [^\]]+)?\]/.exec(text)
    if (changed) this.#say(this.#on(changed[1]!, this.#task))
    const failed = /^(?:fatal|failed): \[([^\]]+?)(?: -> [^\]]+)?\]: ?(.*)$/.exec(text)
    if (failed) {
      this.#failing = true
      this.failures.push(`${failed[1]}: ${this.#task}: ${failed[2]}`)
      return
    }
    if (/^\[ERROR\]: /.test(text) || /^ERROR! /.test(text)) {
      this.#failing = true
      this.failures.push(text.replace(/^\[ERROR\]: |^ERROR! /, ''))
      return
    }
    const recap = /^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)/.exec(text)
    if (recap) {
      const [ok, changes, unreachable, broken] = recap.slice(2).map(Number)
      this.recap.push({ host: recap[1]!, ok: ok!, changed: changes!, unreachable: unreachable!, failed: broken! })
    }
    if (text.trim() === '' || /^PLAY /.test(text)) this.#failing = false
    if (this.#failing) this.failures.push(`  ${text}`)
    else if (this.#everything && /^(---|\+\+\+|@@|[-+ ])/.test(text)) this.#say(text)
  }

  /** Names the task that takes so long. */
  silent(): void {
    if (this.#task === '' || Date.now() - this.#said < silence_max_ms) return
    this.#say(`… ${this.#task} (${Math.round((Date.now() - this.#since) / 1_000)} s)`)
  }

  tail(): string {
    return this.#last.slice(-15).join('\n')
  }

  #on(host: string, text: string): string {
    return this.#nameHosts ? `${host}: ${text}` : text
  }
}
