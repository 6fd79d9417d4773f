/** Checks of the archive: bytes against their SHA-256, records against the digests that were made of what MDB sent. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Digest } from './columns.ts'
import { filesOf, type Library } from './library.ts'
import { fileDigest, type Part } from './manifest.ts'
import { PartReader } from './part-reader.ts'

export interface Problem {
  day: string
  file: string
  reason: string
}

/** Reads files again and compares them with their descriptions. Throws with the name of the first that differs. */
export async function checkParts(folder: string, parts: readonly Part[]): Promise<void> {
  for (const part of parts) await checkPart(folder, part)
}

async function checkPart(folder: string, part: Part): Promise<void> {
  const path = join(folder, part.file)
  const { size } = await stat(path)
  if (size !== part.bytes) throw new Error(`${path} has ${size} bytes, not ${part.bytes}`)
  if ((await fileDigest(path)) !== part.sha256) throw new Error(`${path} is damaged: its SHA-256 is another one`)
  const reader = await PartReader.open(path)
  try {
    if (reader.records !== part.records) throw new Error(`${path} has ${reader.records} records, not ${part.records}`)
    for (const run of part.runs) {
      const digest = new Digest()
      const end = run.first + run.records
      for await (const texts of reader.texts(run.first, end)) for (const { json } of texts) digest.add(JSON.parse(json))
      const containers = await reader.containers(run.first, end)
      if (digest.hex() !== run.sha256 || containers.some((id) => id !== run.container))
        throw new Error(`${path}: the records of container ${run.container} are not those that were exported`)
    }
  } finally {
    await reader.close()
  }
}

/** Checks one day as a whole; every problem, with the file's name. */
export async function verifyDay(library: Library, day: string): Promise<{ records: number; problems: Problem[] }> {
  const problems: Problem[] = []
  const folder = library.path(day)
  const check = async (file: string, work: () => Promise<void>) => {
    try {
      await work()
    } catch (error) {
      problems.push({ day, file, reason: (error as Error).message })
    }
  }
  let records = 0
  await check('manifest.json', async () => {
    await library.learn(day)
    const manifest = await library.manifest(day)
    for (const part of manifest.parts) {
      await check(part.file, () => checkPart(folder, part))
      records += part.records
    }
    if (records !== manifest.records) throw new Error(`it says ${manifest.records} records, its files have ${records}`)
    const { postgres } = manifest
    if ('file' in postgres)
      await check(postgres.file, async () => {
        const path = join(folder, postgres.file)
        if ((await fileDigest(path)) !== postgres.sha256)
          throw new Error(`${path} is damaged: its SHA-256 is another one`)
      })
    const named = filesOf(manifest)
    for (const file of await readdir(folder))
      if (!named.has(file)) problems.push({ day, file, reason: 'the manifest does not name it: left by a killed run' })
  })
  return { records, problems }
}
