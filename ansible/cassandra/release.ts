/**
 * The libraries of Cassandra in one archive for the servers, named by its content: a deploy asks no repository.
 * usage: node ansible/cassandra/release.ts FOLDER   (prints the path of FOLDER/NAME.tar.zst)
 */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { pack } from '../pack.ts'
import { fetchJars, jars, libraryRelease } from './jars.ts'

/** Makes `NAME.tar.zst` in the folder if it is not there yet; gives its path. */
export async function makeLibraryRelease(folder: string, say: (text: string) => void): Promise<string> {
  const archive = join(folder, `${libraryRelease()}.tar.zst`)
  if (existsSync(archive)) return archive
  const libraries = await fetchJars(say)
  mkdirSync(folder, { recursive: true })
  pack(
    archive,
    libraries,
    jars().map(({ path }) => path),
  )
  return archive
}

if (import.meta.main) {
  const [folder] = process.argv.slice(2)
  if (folder === undefined || folder === '--help') {
    process.stderr.write(
      'usage: node ansible/cassandra/release.ts FOLDER\n  makes FOLDER/NAME.tar.zst of the libraries of Cassandra if it is missing, prints its path\n',
    )
    process.exit(folder === '--help' ? 0 : 2)
  }
  try {
    const archive = await makeLibraryRelease(folder, (text) => void process.stderr.write(`${text}\n`))
    process.stdout.write(`${archive}\n`)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    process.exit(1)
  }
}
