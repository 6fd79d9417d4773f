/** A drill as a picture: acknowledgements over time, and each connection's silences. Pure: text of an SVG. */
import { type Acknowledgements, ratesOf } from './measure.ts'

export interface Plot {
  title: string
  acknowledgements: Acknowledgements
  /** ms since 1970. */
  from: number
  to: number
  marks: readonly { at: number; label: string }[]
  /** Shorter pauses are a device's own rhythm; ms. */
  silence_shown_ms?: number
  /** What a line of the lower part is. */
  row?: string
}

const width = 960
const left = 60
const right = 20
const bars_top = 56
const bars_height = 150
const rows_top = 250
const rows_height = 220
const slice_ms = 100

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

export function plotOf({
  title,
  acknowledgements,
  from,
  to,
  marks,
  silence_shown_ms = 1_000,
  row: what = 'connection',
}: Plot): string {
  const span = Math.max(1, to - from)
  const x = (time: number) => (left + ((time - from) / span) * (width - left - right)).toFixed(1)
  const rates = ratesOf(acknowledgements, from, to, slice_ms)
  const top = Math.max(1, ...rates)
  const bars = rates
    .map((rate, i) => {
      const height = (rate / top) * bars_height
      return `<rect x="${x(from + i * slice_ms)}" y="${(bars_top + bars_height - height).toFixed(1)}" width="${(((width - left - right) * slice_ms) / span).toFixed(2)}" height="${height.toFixed(1)}"/>`
    })
    .join('')
  const row = rows_height / Math.max(1, acknowledgements.length)
  const silences = acknowledgements
    .flatMap((times, i) => {
      const y = (rows_top + (i + 0.5) * row).toFixed(1)
      const edges = [from, ...times.filter((time) => time >= from && time <= to), to]
      return edges.slice(1).flatMap((time, k) => {
        const before = edges[k]!
        return time - before < silence_shown_ms ? [] : [`<line x1="${x(before)}" x2="${x(time)}" y1="${y}" y2="${y}"/>`]
      })
    })
    .join('')
  const step_s = [1, 2, 5, 10, 20, 30, 60, 120].find((s) => span / 1000 / s <= 14) ?? 300
  const ticks: string[] = []
  const zero = marks[0]?.at ?? from
  for (let s = Math.ceil((from - zero) / 1000 / step_s) * step_s; zero + s * 1000 <= to; s += step_s)
    ticks.push(`<text x="${x(zero + s * 1000)}" y="${rows_top + rows_height + 18}">${s} s</text>`)
  const lines = marks
    .map(
      ({ at, label }, i) =>
        `<line x1="${x(at)}" x2="${x(at)}" y1="${bars_top - 8}" y2="${rows_top + rows_height}"/><text x="${x(at)}" y="${bars_top - 12 - (i % 2) * 12}">${escaped(label)}</text>`,
    )
    .join('')
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${rows_top + rows_height + 30}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="#fff"/>
<text x="${left}" y="18" font-size="14" font-weight="bold">${escaped(title)}</text>
<g fill="#3b7dd8">${bars}</g>
<text x="${left - 6}" y="${bars_top + 8}" text-anchor="end">${Math.round((top * 1000) / slice_ms)}/s</text>
<text x="${left - 6}" y="${bars_top + bars_height}" text-anchor="end">0</text>
<text x="${left}" y="${rows_top - 12}" fill="#555">a line a ${what}: where it was silent for more than ${silence_shown_ms / 1000} s</text>
<g stroke="#d0342c" stroke-width="${Math.max(0.6, Math.min(4, row * 0.7)).toFixed(1)}">${silences}</g>
<g text-anchor="middle" fill="#555">${ticks.join('')}</g>
<g stroke="#333" stroke-dasharray="3 3" fill="#333"><g stroke-width="1" text-anchor="middle">${lines.replaceAll('<text', '<text stroke="none"')}</g></g>
</svg>
`
}
