import { type Element, type Kind, kinds } from './elements.ts'
import { promises, type State } from './promises.ts'
import type { Case, Proof } from './proof.ts'

const cell = 9
/** Between kinds of elements, so that the eye finds them. */
const gap = 5
const margin = { left: 190, top: 262, right: 40, bottom: 30 }
const fill: Readonly<Record<State, string>> = { holds: '#e3efe6', waits: '#f0b429', broken: '#c53030' }
const meaning: Readonly<Record<State, string>> = {
  holds: 'every promise holds',
  waits: 'waits for the data’s own high availability',
  broken: 'a promise is broken',
}

/** The pairs as a picture: a row and a column an element, the diagonal is the element alone. Each cell tells its reason. */
export function matrixSvg(site: string, { elements, singles, doubles }: Proof): string {
  const places = placesOf(elements)
  const size = places.at(-1)! + cell
  const [width, height] = [margin.left + size + margin.right, margin.top + size + margin.bottom]
  const index = new Map(elements.map(({ id }, place) => [id, place]))
  const at = (element: Element) => places[index.get(element.id)!]!
  const parts: string[] = []
  for (const one of [...singles, ...doubles]) {
    const [a, b] = [one.failed[0]!, one.failed.at(-1)!]
    const alone = one.failed.length === 1
    if (one.state === 'holds' && !alone) continue
    for (const [column, row] of alone ? [[a, a] as const] : [[a, b] as const, [b, a] as const])
      parts.push(square(at(column), at(row), one, alone))
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="Inter, Helvetica, Arial, sans-serif" font-size="8" fill="#333">
<rect width="100%" height="100%" fill="#fff"/>
<text x="24" y="38" font-size="20" font-weight="600" fill="#111">Every fault of site ${site}, alone and in pairs</text>
<text x="24" y="58" font-size="12" fill="#555">${elements.length} elements, ${doubles.length.toLocaleString('en-US')} pairs. Row and column fail together; the diagonal is one alone.</text>
${legend([...singles, ...doubles])}
<pattern id="holds" width="${cell}" height="${cell}" patternUnits="userSpaceOnUse"><rect x="0.5" y="0.5" width="${cell - 1}" height="${cell - 1}" fill="${fill.holds}"/></pattern>
<g transform="translate(${margin.left} ${margin.top})">
${ground(elements, places).join('\n')}
${labels(elements, places).join('\n')}
${parts.join('\n')}
</g>
</svg>
`
}

function placesOf(elements: readonly Element[]): number[] {
  let place = 0
  return elements.map(({ kind }, index) => {
    const before = elements[index - 1]
    if (before) place += cell + (before.kind === kind ? 0 : gap)
    return place
  })
}

/** Cells whose promises hold, a block of two kinds at a time; the others are drawn over them. */
function ground(elements: readonly Element[], places: readonly number[]): string[] {
  const blocks = kinds.flatMap((kind) => {
    const own = elements.flatMap((element, index) => (element.kind === kind ? [places[index]!] : []))
    return own.length === 0 ? [] : [{ first: own[0]!, length: own.length * cell }]
  })
  return blocks.flatMap((column) =>
    blocks.map(
      (row) =>
        `<rect transform="translate(${column.first} ${row.first})" width="${column.length}" height="${row.length}" fill="url(#holds)"/>`,
    ),
  )
}

function square(x: number, y: number, { failed, judgements, state, reaction }: Case, alone: boolean): string {
  const reasons = new Set(promises.map((name) => judgements[name].reason).filter((reason) => reason !== ''))
  const title = [failed.map(({ id }) => id).join(' + '), `cluster: ${reaction}`, ...reasons].join('\n')
  const border = alone ? ' stroke="#555" stroke-width="0.8"' : ''
  return `<rect x="${x + 0.5}" y="${y + 0.5}" width="${cell - 1}" height="${cell - 1}" fill="${fill[state]}"${border}><title>${escaped(title)}</title></rect>`
}

function labels(elements: readonly Element[], places: readonly number[]): string[] {
  const names = elements.flatMap(({ name }, index) => {
    const middle = places[index]! + cell / 2
    return [
      `<text x="-6" y="${middle + 3}" text-anchor="end">${escaped(name)}</text>`,
      `<text transform="translate(${middle + 3} -6) rotate(-90)">${escaped(name)}</text>`,
    ]
  })
  return [...names, ...kinds.flatMap((kind) => heading(kind, elements, places))]
}

function heading(kind: Kind, elements: readonly Element[], places: readonly number[]): string[] {
  const own = elements.flatMap((element, index) => (element.kind === kind ? [places[index]!] : []))
  if (own.length === 0) return []
  const [first, last] = [own[0]!, own.at(-1)! + cell]
  const text = `font-size="9" font-weight="600" fill="#111"`
  return [
    `<path d="M-118 ${first + 1}V${last - 1}M${first + 1} -118H${last - 1}" stroke="#999" fill="none"/>`,
    `<text x="-124" y="${(first + last) / 2 + 3}" text-anchor="end" ${text}>${kind}</text>`,
    `<text transform="translate(${(first + last) / 2 + 3} -124) rotate(-90)" ${text}>${kind}</text>`,
  ]
}

function legend(cases: readonly Case[]): string {
  let x = 24
  return (['holds', 'waits', 'broken'] as const)
    .map((state) => {
      const text = `${meaning[state]}: ${cases.filter((one) => one.state === state).length.toLocaleString('en-US')}`
      const part = `<rect x="${x}" y="72" width="12" height="12" fill="${fill[state]}"/><text x="${x + 18}" y="82" font-size="12">${text}</text>`
      x += 44 + text.length * 6
      return part
    })
    .join('\n')
}

const escaped = (text: string) => text.replace(/[&<>]/g, (one) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[one]!)
