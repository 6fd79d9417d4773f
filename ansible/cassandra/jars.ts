/** Cassandra's libraries: fetched once from a Maven repository, each checked against its hash in `jars.txt`. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { cassandra_version } from '#infra/render/cassandra.ts'

/** Any mirror of Maven Central; `MILEPOST_MAVEN_URL` names another. */
const repository_default = 'https://repo1.maven.org/maven2'
const at_once = 6
const tries = 3
const answer_time_max_ms = 120_000

const hashOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

export interface Jar {
  readonly sha256: string
  readonly size: number
  /** In the layout of a Maven repository. */
  readonly path: string
}

export const jarList = join(import.meta.dirname, 'jars.txt')

/** Lines of `sha256 bytes path`. */
export function parseJars(text: string): Jar[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line, index) => {
      const [sha256 = '', size = '', path = ''] = line.split(' ')
      if (
        !/^[0-9a-f]{64}$/.test(sha256) ||
        !/^\d+$/.test(size) ||
        !/^[\w.+/-]+\.jar$/.test(path) ||
        path.includes('..')
      )
        throw new Error(`jars.txt, entry ${index + 1}: not "sha256 bytes path": ${line}`)
      return { sha256, size: Number(size), path }
    })
}

export const jars = (): Jar[] => parseJars(readFileSync(jarList, 'utf8'))

/** Name of the archive of all of them, by what is in it. */
export const libraryRelease = (): string =>
  `cassandra-${cassandra_version}-${hashOf(readFileSync(jarList)).slice(0, 12)}`

/** Folder that they are kept in, for all checkouts. */
export const libraryFolder = (): string =>
  join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'milepost', `cassandra-${cassandra_version}`)

async function download(repository: string, { path, sha256 }: Jar): Promise<Buffer> {
  const url = `${repository.replace(/\/$/, '')}/${path}`
  for (let n = 1; ; n++) {
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(answer_time_max_ms) })
      if (!answer.ok) throw new Error(`it answers ${answer.status}`)
      const bytes = Buffer.from(await answer.arrayBuffer())
      const found = hashOf(bytes)
      if (found !== sha256)
        throw new Error(`its SHA-256 is ${found}, not ${sha256}: it is not the file that was pinned`)
      return bytes
    } catch (error) {
      const { message, cause } = error as Error
      if (n < tries && !message.includes('SHA-256')) continue
      throw new Error(
        `${url}: ${message}${cause instanceof Error ? ` (${cause.message})` : ''}; check the network, or name a mirror of Maven Central in MILEPOST_MAVEN_URL`,
      )
    }
  }
}

/** Fetches what is missing; gives the folder. A file that is there was checked when it was written. */
export async function fetchJars(
  say: (text: string) => void,
  folder = libraryFolder(),
  repository = process.env.MILEPOST_MAVEN_URL || repository_default,
  wanted = jars(),
): Promise<string> {
  if (!/^https:\/\/|^http:\/\/(127\.|localhost[:/])/.test(repository))
    throw new Error(`MILEPOST_MAVEN_URL ${repository}: it must begin with https://`)
  const missing = wanted.filter(({ path, size }) => {
    const file = join(folder, path)
    return !existsSync(file) || statSync(file).size !== size
  })
  if (missing.length === 0) return folder
  const bytes = missing.reduce((sum, { size }) => sum + size, 0)
  say(`fetching ${missing.length} libraries of Cassandra ${cassandra_version}, ${Math.ceil(bytes / 1e6)} MB`)
  let [done, told] = [0, performance.now()]
  const queue = [...missing]
  const worker = async () => {
    for (let jar = queue.shift(); jar; jar = queue.shift()) {
      const file = join(folder, jar.path)
      const content = await download(repository, jar)
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(`${file}.${process.pid}.new`, content)
      renameSync(`${file}.${process.pid}.new`, file)
      done++
      if (performance.now() - told > 3_000) {
        told = performance.now()
        say(`  ${done} of ${missing.length}`)
      }
    }
  }
  await Promise.all(Array.from({ length: at_once }, worker))
  return folder
}
