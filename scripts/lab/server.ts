/** One server: its disk, its power, its life. A server is a container with a network of its own, and dies when its first process is killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createWriteStream, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { readSecret, secretFile } from '../secrets.ts'
import { noteHostKey } from '../site/folders.ts'
import { grouped, memory_bytes, processesOf, setFrozen } from './cgroup.ts'
import type { Fabric } from './fabric.ts'
import { diskFolder, knownHostsFile, namespaceOf, serverFolder } from './paths.ts'
import { attempt, run, until } from './shell.ts'
import type { WiredServer } from './wiring.ts'

export type Power = 'off' | 'on'

const boot_time_max_ms = 60_000
const death_time_max_ms = 20_000
/** systemd-nspawn ends with this when the server asked to be booted again. */
const exit_reboot = 133
/** From power on to the system's first process: the firmware's self-test. Those of real servers take minutes. */
const post_ms = 2_000

export class Server {
  readonly name: string
  readonly wired: WiredServer
  readonly #fabric: Fabric
  readonly #site: string
  readonly #say: (text: string) => void
  #child: ChildProcess | undefined
  /** Runs while the firmware tests itself. */
  #post: NodeJS.Timeout | undefined
  #wanted: Power = 'off'
  #frozen = false
  /** First process, and the container that it was found in. */
  #pid: { parent: number; pid: number } | undefined
  /** The container whose end was brought about here. */
  #cut: ChildProcess | undefined
  #since = 0
  #boots = 0
  // Power is switched by one hand.
  #work: Promise<unknown> = Promise.resolve()

  constructor(site: string, wired: WiredServer, fabric: Fabric, say: (text: string) => void) {
    this.name = wired.plan.name
    this.wired = wired
    this.#site = site
    this.#fabric = fabric
    this.#say = say
  }

  get power(): Power {
    return this.#child || this.#post ? 'on' : 'off'
  }

  get frozen(): boolean {
    return this.#frozen
  }

  get boots(): number {
    return this.#boots
  }

  /** s since it was switched on; 0: off. */
  get uptime_s(): number {
    return this.#child ? (performance.now() - this.#since) / 1000 : 0
  }

  get memory_bytes(): number | undefined {
    return memory_bytes(this.name)
  }

  /** Puts a fresh system on the disk: the root with this server's name, keys and the address that it is first reached at. */
  async install(root: string): Promise<void> {
    const folder = serverFolder(this.name)
    const disk = diskFolder(this.name)
    for (const part of ['upper', 'work', 'root']) mkdirSync(join(folder, part), { recursive: true })
    const options = `lowerdir=${root},upperdir=${join(folder, 'upper')},workdir=${join(folder, 'work')}`
    await run('mount', ['-t', 'overlay', 'overlay', '-o', options, disk])
    const { access, interfaces } = this.wired.plan
    const write = (file: string, text: string, mode = 0o644) => {
      mkdirSync(dirname(join(disk, file)), { recursive: true })
      writeFileSync(join(disk, file), text, { mode })
    }
    write('etc/hostname', `${this.name}\n`)
    write('etc/hosts', `127.0.0.1 localhost\n127.0.1.1 ${this.wired.plan.fqdn} ${this.name}\n`)
    write('etc/machine-id', `${createHash('md5').update(`${this.#site}/${this.name}`).digest('hex')}\n`)
    const first = interfaces.find(({ address }) => address === access.address)
    if (!first) throw new Error(`server ${this.name}: none of its devices has the access address ${access.address}`)
    // Sorts after whatever the roles put there, and so gives way to it.
    write(
      'etc/systemd/network/99-installer.network',
      `[Match]\nName=${first.device}\n\n[Network]\nAddress=${first.address}/${first.prefix}\nConfigureWithoutCarrier=yes\n`,
    )
    await this.#keys(disk)
  }

  async #keys(disk: string): Promise<void> {
    const { name, fqdn, access } = this.wired.plan
    const host = join(disk, 'etc/ssh/ssh_host_ed25519_key')
    rmSync(host, { force: true })
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', this.name, '-f', host])
    const [kind, key] = readFileSync(`${host}.pub`, 'utf8').split(' ')
    noteHostKey(knownHostsFile, [name, fqdn, access.address], access.port, `${kind} ${key}`)
    readSecret(this.#site, access.secret)
    const publicKey = readFileSync(`${secretFile(this.#site, access.secret)}.pub`, 'utf8')
    if (access.user !== 'root') {
      await run('chroot', [disk, 'useradd', '-m', '-s', '/bin/bash', access.user])
      const rule = join(disk, 'etc/sudoers.d', access.user)
      writeFileSync(rule, `${access.user} ALL=(ALL) NOPASSWD: ALL\n`, { mode: 0o440 })
    }
    const home = access.user === 'root' ? 'root' : join('home', access.user)
    mkdirSync(join(disk, home, '.ssh'), { recursive: true, mode: 0o700 })
    writeFileSync(join(disk, home, '.ssh/authorized_keys'), publicKey, { mode: 0o600 })
    if (access.user !== 'root') await run('chroot', [disk, 'chown', '-R', `${access.user}:`, `/${home}/.ssh`])
    if (access.port !== 22) {
      mkdirSync(join(disk, 'etc/ssh/sshd_config.d'), { recursive: true })
      writeFileSync(join(disk, 'etc/ssh/sshd_config.d/port.conf'), `Port ${access.port}\n`)
    }
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#work.then(work, work)
    this.#work = next.catch(() => {})
    return next
  }

  /** Returns when the power is on; the system starts behind the firmware's self-test. */
  on(): Promise<void> {
    this.#wanted = 'on'
    return this.#serial(async () => this.#test())
  }

  #test(): void {
    if (this.#child || this.#post || this.#wanted !== 'on') return
    this.#post = setTimeout(() => {
      this.#post = undefined
      void this.#serial(() => this.#start()).catch((error) => this.#say(`${this.name}: ${(error as Error).message}`))
    }, post_ms)
  }

  async #start(): Promise<void> {
    if (this.#child || this.#wanted !== 'on') return
    await this.#fabric.plug(this.wired.machine)
    const [command, args] = grouped(this.name, 'systemd-nspawn', [
      '--quiet',
      '--register=no',
      '--keep-unit',
      '--capability=all',
      // The clock and the kernel are the machine's.
      '--drop-capability=CAP_SYS_TIME,CAP_SYS_MODULE',
      `--network-namespace-path=/run/netns/${namespaceOf(this.name)}`,
      `--directory=${diskFolder(this.name)}`,
      `--machine=${this.name}`,
      '--console=pipe',
      '--boot',
    ])
    const env = { ...process.env, SYSTEMD_NSPAWN_API_VFS_WRITABLE: 'network' }
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const console = createWriteStream(join(serverFolder(this.name), 'console.log'), { flags: 'a' })
    child.stdout.pipe(console, { end: false })
    child.stderr.pipe(console, { end: false })
    this.#child = child
    this.#since = performance.now()
    this.#boots++
    child.on('error', (error) => this.#say(`${this.name}: ${error.message}`))
    child.on('close', (code) => {
      console.end()
      if (this.#child === child) this.#child = undefined
      this.#frozen = false
      void this.#serial(() => this.#ended(child, code))
    })
  }

  /** The container ended: by a cut, by its own shutdown, or to boot again. */
  async #ended(child: ChildProcess, code: number | null): Promise<void> {
    if (this.#cut === child || this.#child) return
    await this.#fabric.unplug(this.wired.machine)
    if (this.#wanted !== 'on') return
    if (code === exit_reboot) {
      this.#say(`${this.name}: boots again`)
      return this.#test()
    }
    this.#wanted = 'off'
    this.#say(`${this.name}: off (its last word was ${code ?? 'a signal'}; see its console.log)`)
  }

  /** First process of the server, as the laboratory sees it. */
  get pid(): number | undefined {
    const parent = this.#child?.pid
    if (parent === undefined) return undefined
    if (this.#pid?.parent === parent) return this.#pid.pid
    const found = processesOf(this.name).find((pid) => {
      try {
        const status = readFileSync(`/proc/${pid}/status`, 'utf8')
        // Number 1 where it lives: the container's maker has children before that, too.
        return status.includes(`\nPPid:\t${parent}\n`) && /^NSpid:.*\t1$/m.test(status)
      } catch {
        return false
      }
    })
    if (found !== undefined) this.#pid = { parent, pid: found }
    return found
  }

  /** Whether its kernel answers for an IPv4 address at this moment. */
  holds(address: string): boolean {
    const pid = this.pid
    if (pid === undefined) return false
    try {
      // The routing table as the kernel shows it: the address, and on the next line that it is local.
      const table = readFileSync(`/proc/${pid}/net/fib_trie`, 'utf8')
      return new RegExp(`-- ${address.replaceAll('.', '\\.')}\\n +/32 host LOCAL`).test(table)
    } catch {
      return false
    }
  }

  /** Whether it lets people in: something listens on its SSH port. */
  get booted(): boolean {
    const pid = this.pid
    if (pid === undefined) return false
    const port = this.wired.plan.access.port.toString(16).toUpperCase().padStart(4, '0')
    const listens = (file: string) =>
      existsSync(file) && new RegExp(`^ *\\d+: [0-9A-F]+:${port} \\S+ 0A `, 'm').test(readFileSync(file, 'utf8'))
    try {
      return listens(`/proc/${pid}/net/tcp`) || listens(`/proc/${pid}/net/tcp6`)
    } catch {
      return false
    }
  }

  waitBooted(): Promise<void> {
    return until(`${this.name} boots`, boot_time_max_ms, () => this.booted)
  }

  /** Power gone: lights out and every process dead, in this order within milliseconds. What was on the disk stays. */
  off(): Promise<void> {
    this.#wanted = 'off'
    return this.#serial(async () => {
      clearTimeout(this.#post)
      this.#post = undefined
      const child = this.#child
      if (!child) return
      const pid = this.pid
      this.#cut = child
      const dead = this.#fabric.unplug(this.wired.machine)
      if (pid !== undefined) process.kill(pid, 'SIGKILL')
      else child.kill('SIGKILL')
      if (this.#frozen) setFrozen(this.name, false)
      await dead
      await until(`${this.name} dies`, death_time_max_ms, () => this.#child === undefined, 5)
    })
  }

  /** The power button: an orderly shutdown. */
  async softOff(): Promise<void> {
    if (this.#post) return this.off()
    const pid = this.pid
    if (pid === undefined) return
    this.#wanted = 'off'
    // systemd's own signal for it: SIGRTMIN+4, which Node has no name for.
    await attempt('kill', ['-s', 'RTMIN+4', String(pid)])
  }

  async reset(): Promise<void> {
    await this.off()
    await this.on()
  }

  /** Holds all its processes where they are; its network card goes on to answer what the kernel answers. */
  freeze(): void {
    setFrozen(this.name, true)
    this.#frozen = true
  }

  thaw(): void {
    if (!this.#frozen) return
    setFrozen(this.name, false)
    this.#frozen = false
  }

  /** Takes the disk out. */
  async remove(): Promise<void> {
    await this.off()
    await attempt('umount', [diskFolder(this.name)])
    rmSync(serverFolder(this.name), { recursive: true, force: true })
  }
}
