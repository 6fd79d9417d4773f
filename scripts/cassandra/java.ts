import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { java_version } from '#infra/render/cassandra.ts'

/** Where distributions put their Javas. */
const places = '/usr/lib/jvm'

/** Major version of a Java; undefined: it does not run. */
export function versionOf(java: string): number | undefined {
  const { stderr, status } = spawnSync(java, ['-version'], { encoding: 'utf8' })
  if (status !== 0) return undefined
  const found = /version "(?:1\.)?(\d+)/.exec(stderr)?.[1]
  return found === undefined ? undefined : Number(found)
}

/** Path of a Java 17: of JAVA_HOME, of PATH, or of the distribution. */
export function findJava(environment: NodeJS.ProcessEnv = process.env, folder = places): string {
  const { JAVA_HOME: home, PATH: path = '' } = environment
  const candidates = [
    ...(home ? [join(home, 'bin/java')] : []),
    ...path.split(':').map((place) => join(place, 'java')),
    ...(existsSync(folder) ? readdirSync(folder).sort() : []).map((name) => join(folder, name, 'bin/java')),
  ]
  const seen: string[] = []
  for (const java of new Set(candidates)) {
    if (!existsSync(java)) continue
    const version = versionOf(java)
    if (version === java_version) return java
    if (version !== undefined) seen.push(`${java} is ${version}`)
  }
  throw new Error(
    `Cassandra needs Java ${java_version}${seen.length > 0 ? ` (${seen.join(', ')})` : ', and there is none'}: apt-get install openjdk-${java_version}-jre-headless, or name one in JAVA_HOME`,
  )
}
