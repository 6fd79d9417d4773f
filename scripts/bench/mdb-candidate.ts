/** Stores that `npm run bench -- mdb` compares, each in a process of its own that is told by lines of JSON what to do. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** What a store's process is asked. Times are measured in it, around the store's own work. */
export type Order =
  /** Stores a chunk durably: a file of NDJSON, each line a message with its `device` in front. */
  | { do: 'load'; file: string }
  /** Merges, vacuums, checkpoints: whatever brings the data to rest. */
  | { do: 'settle' }
  /** Reads the devices' messages, all or some parameters, in the order of (device, timestamp). */
  | { do: 'read'; devices: number[]; fields?: string[] }
  | { do: 'stat' }

export interface Answer {
  /** s that the store's work took, and s of the processor that the store and its client took for it. */
  seconds: number
  cpu: number
  /** Of it what the client took, where that is known. */
  client?: number
  messages: number
  /** Of stat: bytes on disk, and of memory in use. */
  bytes: number
  memory: number
  error?: string
}

/** Bytes that the files of a folder take on disk. */
export function folderBytes(folder: string): number {
  let bytes = 0
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    // Blocks, not size: LMDB's file may have holes.
    if (entry.isDirectory()) bytes += folderBytes(path)
    else if (entry.isFile()) bytes += statSync(path).blocks * 512
  }
  return bytes
}

/** Bytes of memory of a process and its children that are its own: shared pages count by share; mapped files do not. */
export function memoryOf(pid: number): number {
  let kib = 0
  try {
    for (const line of readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').split('\n')) {
      const found = line.match(/^(Pss_Anon|Pss_Shmem):\s+(\d+) kB/)
      if (found) kib += Number(found[2])
    }
  } catch {
    // It has ended meanwhile.
  }
  for (const child of childrenOf(pid)) kib += memoryOf(child) / 1024
  return kib * 1024
}

/** s of the processor that the children of a process, and theirs, have taken so far. */
export function cpuOfChildren(pid: number): number {
  let seconds = 0
  for (const child of childrenOf(pid)) {
    try {
      for (const thread of readdirSync(`/proc/${child}/task`))
        seconds += Number(readFileSync(`/proc/${child}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e9
    } catch {
      // It has ended meanwhile.
    }
    seconds += cpuOfChildren(child)
  }
  return seconds
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

export class Candidate {
  readonly #child: ChildProcess
  readonly #waiting: { resolve(answer: Answer): void; reject(error: Error): void }[] = []
  #errors = ''

  constructor(command: string, args: string[]) {
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      if (!line.startsWith('{')) return
      const answer = JSON.parse(line) as Answer
      const waiting = this.#waiting.shift()
      if (answer.error === undefined) waiting?.resolve(answer)
      else waiting?.reject(new Error(answer.error))
    })
    this.#child.stderr!.on('data', (chunk) => (this.#errors = (this.#errors + chunk).slice(-4_000)))
    this.#child.once('exit', (code) => {
      for (const { reject } of this.#waiting.splice(0))
        reject(new Error(`the store's process ended with ${code}: ${this.#errors.trim()}`))
    })
  }

  ask(order: Order): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#child.stdin!.write(`${JSON.stringify(order)}\n`)
    })
  }

  /** Its input ends: it closes its store and goes. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return
    const gone = new Promise((done) => this.#child.once('exit', done))
    this.#child.stdin!.end()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 60_000)
    await gone
    clearTimeout(timer)
  }
}
