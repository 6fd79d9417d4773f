/**
 * Plan → SVG of the racks: what stands where, both cablings and both feeds. Everything of side A is on the left of a rack,
 * everything of side B on its right; each cable has a lane of its own, so that a finger can follow it.
 */
import type { OutletPlan, Plan, PortPlan, RackPlan, ServerPlan } from '../site/plan.ts'
import { color, line, rect, routed, svg, text } from './svg.ts'

/** px */
const unit_height = 30
const face_width = 330
const rail = 14
const lane_step = 9
const gap_to_lanes = 16
const pdu_width = 20
const head = 118
const margin = 40
const title_height = 56
const feed_step = 34
/** The legend needs it. */
const width_min = 840

type Side = 'a' | 'b'

/** A cable that ends at a switch: a server's leg, a BMC's, a trunk, a provider's. */
interface Cable {
  readonly kind: 'leg' | 'bmc'
  readonly owner: string
  readonly to: PortPlan
  /** Where on the owner's edge it leaves, 0 top to 1 bottom. */
  readonly at: number
}

/** Where the parts of a rack are drawn. */
interface Layout {
  readonly rack: RackPlan
  readonly servers: readonly ServerPlan[]
  readonly cables: Record<Side, readonly Cable[]>
  /** Left edge of the drawing of this rack, of its faces, and its whole width. */
  readonly left: number
  readonly face: number
  readonly width: number
  readonly top: number
  readonly bottom: number
  /** Edge of the lanes' space, on each side, seen from the faces. */
  readonly lanes: Record<Side, number>
}

export function drawRacks(plan: Plan): string {
  const sideOf = new Map(plan.racks.flatMap(({ switches }) => switches.map(({ name, side }) => [name, side] as const)))
  const tallest = Math.max(...plan.racks.map(({ units }) => units))
  const place = (start: number): Layout[] =>
    plan.racks.map((rack) => {
      const layout = layoutOf(plan, rack, sideOf, start, tallest)
      start += layout.width + margin
      return layout
    })
  const total = place(0).reduce((_, { left, width }) => left + width, 0)
  const width = Math.max(total + 2 * margin, width_min)
  const layouts = place((width - total) / 2)
  const feedsTop = Math.max(...layouts.map(({ bottom }) => bottom)) + 34
  const legendTop = feedsTop + plan.feeds.length * feed_step + 14
  const parts = [
    text(margin, 38, `Site ${plan.site}`, { size: 22, weight: 600 }),
    text(margin + 12 + 13 * `Site ${plan.site}`.length, 38, summary(plan), { size: 14, fill: color.soft }),
    ...feeds(plan, layouts, feedsTop, width),
    ...layouts.flatMap((layout) => drawRack(plan, layout)),
    ...between(plan, layouts),
    ...legend(margin, legendTop),
  ]
  return svg(width, legendTop + 34, `The racks of site ${plan.site}`, parts)
}

const plural = (n: number, word: string) => `${n} ${word}${n === 1 ? '' : 's'}`
const summary = ({ racks, servers, feeds }: Plan) =>
  [plural(racks.length, 'rack'), plural(servers.length, 'server'), plural(feeds.length, 'feed')].join(' · ')

function layoutOf(
  plan: Plan,
  rack: RackPlan,
  sideOf: ReadonlyMap<string, Side>,
  left: number,
  tallest: number,
): Layout {
  const servers = plan.servers.filter((server) => server.rack === rack.name).toSorted((a, b) => b.unit - a.unit)
  const cables = servers.flatMap((server): Cable[] => [
    ...server.nics.map(({ link }) => ({ kind: 'leg', owner: server.name, to: link, at: 0.3 }) as const),
    ...server.bmc.paths.map(({ link }) => ({ kind: 'bmc', owner: server.name, to: link, at: 0.52 }) as const),
  ])
  const of = (side: Side) => cables.filter(({ to }) => sideOf.get(to.switch) === side)
  const [a, b] = [of('a'), of('b')]
  const space = (list: readonly Cable[]) => gap_to_lanes * 2 + lane_step * Math.max(list.length - 1, 0)
  const face = left + pdu_width + 22 + space(a) + rail
  const top = title_height + head
  return {
    rack,
    servers,
    cables: { a, b },
    left,
    face,
    width: face + face_width + rail + space(b) + 22 + pdu_width - left,
    top: top + (tallest - rack.units) * unit_height,
    bottom: top + tallest * unit_height,
    lanes: { a: space(a), b: space(b) },
  }
}

/** Top of the face of what stands at a unit with a height. */
const faceTop = ({ top, rack }: Layout, unit: number, height = 1) =>
  top + (rack.units - unit - height + 1) * unit_height
/** Where cables leave the rack: the outside of its frame. */
const edge = ({ face }: Layout, side: Side) => (side === 'a' ? face - rail : face + face_width + rail)
/** Left edge of the strip of a PDU. */
const pduLeft = (layout: Layout, side: Side) =>
  side === 'a' ? edge(layout, 'a') - layout.lanes.a - 22 - pdu_width : edge(layout, 'b') + layout.lanes.b + 22
const feedSide = (plan: Plan, feed: string): Side => (plan.feeds[0]?.name === feed ? 'a' : 'b')
const feedColor = (plan: Plan, feed: string) => (feedSide(plan, feed) === 'a' ? color.feedA : color.feedB)
const sideColor = (side: Side) => (side === 'a' ? color.sideA : color.sideB)

function drawRack(plan: Plan, layout: Layout): string[] {
  const { rack, servers, face, top, bottom } = layout
  const height = rack.units * unit_height
  const middle = face + face_width / 2
  return [
    text(middle, title_height + 18, `Rack ${rack.name}`, { size: 15, weight: 600, anchor: 'middle' }),
    text(middle, title_height + 36, rack.position, { size: 12, fill: color.soft, anchor: 'middle' }),
    rect(face - rail, top - 8, face_width + 2 * rail, bottom - top + 16, { fill: color.frame, radius: 6 }),
    rect(face, top, face_width, height, { fill: color.inside }),
    ...Array.from({ length: rack.units }, (_, index) => {
      const y = top + index * unit_height
      return [
        line(face, y, face + face_width, y, { stroke: color.grid, width: 1 }),
        text(face - rail / 2, y + unit_height / 2 + 3, String(rack.units - index), {
          size: 8,
          fill: '#ffffff',
          anchor: 'middle',
        }),
        text(face + face_width + rail / 2, y + unit_height / 2 + 3, String(rack.units - index), {
          size: 8,
          fill: '#ffffff',
          anchor: 'middle',
        }),
      ].join('')
    }),
    ...pdus(plan, layout),
    ...cords(plan, layout),
    ...cabling(layout),
    ...rack.switches.map((device) => switchFace(layout, device)),
    ...servers.map((server) => serverFace(layout, server)),
  ]
}

function pdus(plan: Plan, layout: Layout): string[] {
  const { rack, top } = layout
  return rack.pdus.map(({ name, feed }) => {
    const x = pduLeft(layout, feedSide(plan, feed))
    const height = rack.units * unit_height
    const middle = x + pdu_width / 2
    return [
      rect(x, top, pdu_width, height, { fill: '#ffffff', stroke: feedColor(plan, feed), radius: 5 }),
      `<text transform="translate(${middle + 4} ${top + height / 2}) rotate(-90)" font-size="11" text-anchor="middle" fill="${feedColor(plan, feed)}">${name} · feed ${feed}</text>`,
    ].join('')
  })
}

/** Cords of servers and switches, straight to the strip of their PDU. */
function cords(plan: Plan, layout: Layout): string[] {
  const cord = (power: readonly OutletPlan[], y: number, height: number) =>
    power.map(({ feed }, index) => {
      const side = feedSide(plan, feed)
      const at = y + height * 0.5 + 8 + index * 3 * (power.length > 1 && power[0]!.feed === power[1]!.feed ? 1 : 0)
      const strip = pduLeft(layout, side) + (side === 'a' ? pdu_width : 0)
      return [
        line(edge(layout, side), at, strip, at, { stroke: feedColor(plan, feed), width: 2 }),
        rect(strip - 3, at - 3, 6, 6, { fill: feedColor(plan, feed), radius: 1 }),
      ].join('')
    })
  return [
    ...layout.rack.switches.flatMap(({ power, unit }) => cord(power, faceTop(layout, unit), unit_height)),
    ...layout.servers.flatMap(({ power, unit, height }) =>
      cord(power, faceTop(layout, unit, height), height * unit_height),
    ),
  ]
}

/** Each cable goes out to its lane, up to its switch and in again. */
function cabling(layout: Layout): string[] {
  return (['a', 'b'] as const).flatMap((side) => {
    const out = side === 'a' ? -1 : 1
    const list = layout.cables[side]
    return list.map(({ kind, owner, to, at }, index) => {
      const device = layout.rack.switches.find(({ name }) => name === to.switch)
      const server = layout.servers.find(({ name }) => name === owner)!
      if (!device) return ''
      const x = edge(layout, side)
      const lane = x + out * (gap_to_lanes + index * lane_step)
      const from = faceTop(layout, server.unit, server.height) + unit_height * at
      const step = (unit_height - 12) / Math.max(list.length, 1)
      const end = faceTop(layout, device.unit) + 5 + step * (list.length - index - 0.5)
      return routed(
        [
          [x, from],
          [lane, from],
          [lane, end],
          [x, end],
        ],
        { stroke: sideColor(side), width: kind === 'leg' ? 2 : 1.2, dashed: kind === 'bmc' },
      )
    })
  })
}

function switchFace(layout: Layout, device: RackPlan['switches'][number]): string {
  const y = faceTop(layout, device.unit)
  const used = new Set([
    ...[...layout.cables.a, ...layout.cables.b].filter(({ to }) => to.switch === device.name).map(({ to }) => to.port),
    ...device.trunks.map(({ port }) => port),
  ])
  const rows = 2
  const columns = Math.ceil(device.ports / rows)
  const step = Math.min(9, (face_width - 120) / columns)
  const ports = Array.from({ length: device.ports }, (_, index) =>
    rect(
      layout.face + face_width - 14 - columns * step + Math.floor(index / rows) * step,
      y + 7 + (index % rows) * 9,
      step - 2,
      7,
      { fill: used.has(index + 1) ? sideColor(device.side) : '#55606e', radius: 1 },
    ),
  )
  return [
    rect(layout.face + 1, y + 1, face_width - 2, unit_height - 2, { fill: color.device, radius: 3 }),
    rect(layout.face + 1, y + 1, 5, unit_height - 2, { fill: sideColor(device.side), radius: 2 }),
    text(layout.face + 14, y + unit_height / 2 + 5, device.name, { size: 13, weight: 600, fill: '#ffffff' }),
    ...ports,
  ].join('')
}

function serverFace(layout: Layout, server: ServerPlan): string {
  const height = server.height * unit_height
  const y = faceTop(layout, server.unit, server.height)
  const middle = y + height / 2
  const { fill, stripe } = color.roles[server.role]
  const lan = server.interfaces.find(({ network }) => network === 'lan')?.address ?? ''
  const right = layout.face + face_width
  return [
    rect(layout.face + 1, y + 1, face_width - 2, height - 2, { fill, stroke: stripe, radius: 3 }),
    rect(layout.face + 1, y + 1, 5, height - 2, { fill: stripe, radius: 2 }),
    text(layout.face + 14, middle + 5, server.name, { size: 14, weight: 600 }),
    text(layout.face + 78, middle + 4, server.role, { size: 12, fill: stripe }),
    text(right - 62, middle + 4, lan, { size: 11, fill: color.soft, anchor: 'end', mono: true }),
    ...server.drives.map((_, bay) =>
      rect(right - 50 + bay * 20, middle - 7, 16, 14, { fill: '#ffffff', stroke: color.soft, radius: 2 }),
    ),
  ].join('')
}

/** Trunks within and between racks, and the providers' cables, above the racks. */
function between(plan: Plan, layouts: readonly Layout[]): string[] {
  const found: string[] = []
  const place = (name: string) => {
    const layout = layouts.find(({ rack }) => rack.switches.some((device) => device.name === name))!
    const device = layout.rack.switches.find((other) => other.name === name)!
    return {
      layout,
      side: device.side,
      y: faceTop(layout, device.unit) + unit_height / 2,
      x: edge(layout, device.side),
    }
  }
  const drawn = new Set<string>()
  for (const { rack } of layouts)
    for (const { name, trunks } of rack.switches)
      for (const { port, to } of trunks) {
        const key = [`${name}/${port}`, `${to.switch}/${to.port}`].sort().join(' ')
        if (drawn.has(key)) continue
        drawn.add(key)
        const [from, until] = [place(name), place(to.switch)]
        if (from.layout === until.layout) {
          const x = from.layout.face + 90
          found.push(
            line(x, from.y, x, until.y, { stroke: color.patch, width: 3 }),
            ...[from.y, until.y].map((y) => rect(x - 5, y - 5, 10, 10, { fill: color.patch, radius: 5 })),
          )
          continue
        }
        const up = title_height + (from.side === 'a' ? 66 : 78)
        const out = from.side === 'a' ? -8 : 8
        found.push(
          routed(
            [
              [from.x, from.y - 10],
              [from.x + out, from.y - 10],
              [from.x + out, up],
              [until.x + out, up],
              [until.x + out, until.y - 10],
              [until.x, until.y - 10],
            ],
            { stroke: color.trunk, width: 2.5, dashed: false },
          ),
        )
      }
  for (const { name: network, uplinks } of plan.networks)
    for (const { provider, switch: name } of uplinks) {
      const { x, y, side } = place(name)
      const out = side === 'a' ? -16 : 16
      const up = title_height + 58
      found.push(
        routed(
          [
            [x, y - 12],
            [x + out, y - 12],
            [x + out, up],
          ],
          { stroke: color.outside, width: 2.5, dashed: false },
        ),
        text(x + out * 0.6, up - 8, `${provider} (${network})`, {
          size: 11,
          fill: color.outside,
          anchor: side === 'a' ? 'end' : 'start',
        }),
      )
    }
  return found
}

/** Bars below the racks, one a feed, that the PDUs hang on. */
function feeds(plan: Plan, layouts: readonly Layout[], top: number, width: number): string[] {
  return plan.feeds.flatMap(({ name, source }, index) => {
    const y = top + index * feed_step
    const stroke = feedColor(plan, name)
    const risers = layouts.flatMap((layout) =>
      layout.rack.pdus
        .filter(({ feed }) => feed === name)
        .map(() => {
          const x = pduLeft(layout, feedSide(plan, name)) + pdu_width / 2
          return line(x, layout.bottom, x, y, { stroke, width: 4 })
        }),
    )
    return [
      ...risers,
      line(margin, y, width - margin, y, { stroke, width: 6 }),
      text(margin + 30, y + 18, `feed ${name}: ${source}`, { size: 12, fill: stroke }),
    ]
  })
}

function legend(x: number, y: number): string[] {
  const entries: [string, string, boolean, number][] = [
    ['first leg, to the switch of side A', color.sideA, false, 2],
    ['second leg, to side B', color.sideB, false, 2],
    ['BMC', color.soft, true, 1.2],
    ['between switches', color.trunk, false, 3],
    ['□□ two drives, mirrored', color.paper, false, 0],
  ]
  let at = x
  return entries.map(([label, stroke, dashed, width]) => {
    const from = at
    at += 52 + label.length * 5.8
    return [
      routed(
        [
          [from, y + 8],
          [from + (width === 0 ? 0 : 24), y + 8],
        ],
        { stroke, width, dashed },
      ),
      text(from + (width === 0 ? 0 : 30), y + 12, label, { size: 11.5, fill: color.soft }),
    ].join('')
  })
}
