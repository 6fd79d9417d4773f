/** Differences between texts, line by line: for people who want to see what a deploy will change. */

/** Lines of context around a change. */
const context = 2

type Line = readonly [mark: ' ' | '-' | '+', text: string]

/** Lines of the longest common subsequence stay; the others go or come. */
function compare(before: readonly string[], after: readonly string[]): Line[] {
  const width = after.length + 1
  const common = new Uint32Array((before.length + 1) * width)
  for (let i = before.length - 1; i >= 0; i--)
    for (let j = after.length - 1; j >= 0; j--)
      common[i * width + j] =
        before[i] === after[j]
          ? common[(i + 1) * width + j + 1]! + 1
          : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!)
  const lines: Line[] = []
  let [i, j] = [0, 0]
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      lines.push([' ', before[i]!])
      i++
      j++
    } else if (j >= after.length || (i < before.length && common[(i + 1) * width + j]! >= common[i * width + j + 1]!))
      lines.push(['-', before[i++]!])
    else lines.push(['+', after[j++]!])
  }
  return lines
}

const linesOf = (text: string) => (text === '' ? [] : text.replace(/\n$/, '').split('\n'))

/** Changed lines with a little around them, `…` where lines are left out; empty when the texts are the same. */
export function difference(before: string, after: string): string[] {
  if (before === after) return []
  const lines = compare(linesOf(before), linesOf(after))
  const near = lines.map((_, at) =>
    lines.slice(Math.max(0, at - context), at + context + 1).some(([mark]) => mark !== ' '),
  )
  const shown: string[] = []
  for (const [at, [mark, text]] of lines.entries()) {
    if (near[at]) shown.push(`${mark} ${text}`)
    else if (shown.at(-1) !== '…') shown.push('…')
  }
  return shown
}

/** Files by path. */
export type Files = ReadonlyMap<string, string>

/** What differs between two sets of files: one entry a file, in the order of their paths. */
export function differences(
  before: Files,
  after: Files,
): { path: string; kind: 'new' | 'gone' | 'changed'; lines: string[] }[] {
  return [...new Set([...before.keys(), ...after.keys()])].sort().flatMap((path) => {
    const [old, now] = [before.get(path), after.get(path)]
    if (old === now) return []
    const kind = old === undefined ? 'new' : now === undefined ? 'gone' : 'changed'
    return [{ path, kind, lines: difference(old ?? '', now ?? '') } as const]
  })
}
