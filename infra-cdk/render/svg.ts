/** The few shapes that drawings are made of. Numbers are px, rounded so that the bytes stay the same. */

export const color = {
  paper: '#fcfbf8',
  ink: '#1f2937',
  soft: '#6b7280',
  frame: '#374151',
  inside: '#f3f4f6',
  grid: '#e5e7eb',
  device: '#27303b',
  sideA: '#2563eb',
  sideB: '#c026d3',
  feedA: '#d97706',
  feedB: '#0d9488',
  trunk: '#111827',
  outside: '#475569',
  patch: '#cbd5e1',
  roles: {
    gateway: { fill: '#e0ecff', stripe: '#1d4ed8' },
    archive: { fill: '#f0e7fe', stripe: '#6d28d9' },
    server: { fill: '#e6f6ec', stripe: '#15803d' },
  },
} as const

const n = (value: number) => String(Math.round(value * 10) / 10)
const escaped = (value: string) => value.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`)

interface Stroke {
  readonly stroke: string
  readonly width: number
  readonly dashed?: boolean
}
const strokeOf = ({ stroke, width, dashed = false }: Stroke) =>
  `fill="none" stroke="${stroke}" stroke-width="${n(width)}"${dashed ? ' stroke-dasharray="4 3"' : ''}`

interface Shape {
  readonly fill: string
  readonly stroke?: string
  readonly radius?: number
}

export function rect(x: number, y: number, width: number, height: number, { fill, stroke, radius = 0 }: Shape): string {
  const outline = stroke === undefined ? '' : ` stroke="${stroke}" stroke-width="1"`
  return `<rect x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}" rx="${n(radius)}" fill="${fill}"${outline}/>`
}

export function line(x1: number, y1: number, x2: number, y2: number, stroke: Stroke): string {
  return `<path d="M${n(x1)} ${n(y1)}L${n(x2)} ${n(y2)}" ${strokeOf(stroke)}/>`
}

/** Radius of a cable's bends. */
const bend = 6

/** A cable through points, at right angles, with rounded bends. */
export function routed(points: readonly (readonly [number, number])[], stroke: Stroke): string {
  const [first, ...rest] = points
  let path = `M${n(first![0])} ${n(first![1])}`
  for (const [index, [x, y]] of rest.entries()) {
    const before = points[index]!
    const after = points[index + 2]
    if (!after) {
      path += `L${n(x)} ${n(y)}`
      continue
    }
    // Towards a corner and away from it, each at most half the way there.
    const short = (from: readonly [number, number]): readonly [number, number] => {
      const length = Math.hypot(x - from[0], y - from[1]) || 1
      const part = Math.min(bend, length / 2) / length
      return [x + (from[0] - x) * part, y + (from[1] - y) * part]
    }
    const [into, away] = [short(before), short(after)]
    path += `L${n(into[0])} ${n(into[1])}Q${n(x)} ${n(y)} ${n(away[0])} ${n(away[1])}`
  }
  return `<path d="${path}" ${strokeOf(stroke)}/>`
}

interface Text {
  readonly size: number
  readonly weight?: number
  readonly fill?: string
  readonly anchor?: 'start' | 'middle' | 'end'
  readonly mono?: boolean
}

export function text(x: number, y: number, content: string, style: Text): string {
  const { size, weight = 400, fill = color.ink, anchor = 'start', mono = false } = style
  const family = mono ? ' font-family="DejaVu Sans Mono, Menlo, Consolas, monospace"' : ''
  return `<text x="${n(x)}" y="${n(y)}" font-size="${n(size)}" font-weight="${weight}" fill="${fill}" text-anchor="${anchor}"${family}>${escaped(content)}</text>`
}

export function svg(width: number, height: number, title: string, parts: readonly string[]): string {
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${n(width)} ${n(height)}" width="${n(width)}" height="${n(height)}" font-family="Inter, Helvetica Neue, Arial, DejaVu Sans, sans-serif">`,
    `<title>${escaped(title)}</title>`,
    rect(0, 0, width, height, { fill: color.paper }),
    ...parts.filter((part) => part !== ''),
    '</svg>',
  ].join('\n')}\n`
}
