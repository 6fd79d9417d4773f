import { partOf } from '#infra/render/blueprint.ts'
import { differences } from '#infra/render/difference.ts'
import { stepFile, unfinished } from './apply.ts'
import { appliedFolder, readFiles } from './folders.ts'
import { deploymentNamed } from './site.ts'

/** Lines of a file that is new or gone as a whole: its name says enough. */
const lines_max = 200

/** What a deploy would change, host by host, since what was applied last; empty: nothing. */
export function diffText(site: string): string {
  const { steps, blueprints, hashes } = deploymentNamed(site)
  const text: string[] = []
  for (const [host, blueprint] of blueprints) {
    const applied = readFiles(appliedFolder(site, host))
    const part: string[] = []
    for (const step of steps) {
      const hash = hashes(step)[host]
      if (hash === undefined || applied.get(stepFile(step))?.trim() === hash) continue
      if (!applied.has(stepFile(step))) {
        part.push(`  ${step.name}: not done yet (${step.playbooks.join(', ')})`)
        continue
      }
      const own = (files: ReadonlyMap<string, string>) => partOf(step, files)
      const changes = differences(own(applied), own(blueprint))
      if (applied.get(stepFile(step)) === unfinished)
        part.push(`  ${step.name}: was not finished, will be applied again`)
      else
        part.push(`  ${step.name}: ${changes.length > 0 ? 'will be applied again' : 'its code or the release changed'}`)
      for (const { path, kind, lines } of changes) {
        part.push(`    ${kind} ${path}`)
        if (kind === 'changed' && lines.length <= lines_max) part.push(...lines.map((line) => `      ${line}`))
      }
    }
    if (part.length > 0) text.push(host, ...part)
  }
  return text.join('\n')
}
