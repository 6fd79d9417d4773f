import type { Encoder } from './encoder.ts'
import type { Fix } from './trip.ts'

/** Degrees as the protocol writes them, `5544.6025;N`: degrees and minutes in one number. */
function degrees(value: number, width: number, positive: string, negative: string): string {
  const minutes = Math.round(Math.abs(value) * 60 * 1e5) / 1e5
  const whole = Math.floor(minutes / 60)
  const rest = (minutes - whole * 60).toFixed(5).padStart(8, '0')
  return `${String(whole).padStart(width, '0')}${rest};${value < 0 ? negative : positive}`
}

/** Fields of one record: date, time, position, inputs, parameters. */
function fields(fix: Fix): string {
  const iso = new Date(Math.round(fix.timestamp * 1000)).toISOString()
  const date = `${iso.slice(8, 10)}${iso.slice(5, 7)}${iso.slice(2, 4)}`
  const fraction = iso.slice(19, 23)
  const time = `${iso.slice(11, 13)}${iso.slice(14, 16)}${iso.slice(17, 19)}${fraction === '.000' ? '' : fraction}`
  return [
    date,
    time,
    degrees(fix.latitude, 2, 'N', 'S'),
    degrees(fix.longitude, 3, 'E', 'W'),
    Math.round(fix.speed),
    Math.round(fix.direction) % 360,
    Math.round(fix.altitude),
    fix.satellites,
    '0.9',
    fix.ignition ? 1 : 0,
    0,
    fix.voltage.toFixed(2),
    'NA',
    `mileage:2:${(fix.odometer / 1000).toFixed(3)},gsm:1:${fix.signal}`,
  ].join(';')
}

/** Wialon IPS 1.1: a line for one record, a black box for several. */
export const wialon: Encoder = {
  name: 'wialon',
  records_max: 100,
  login: (ident) => Buffer.from(`#L#${ident};NA\r\n`, 'latin1'),
  packet: (fixes) =>
    Buffer.from(
      fixes.length === 1 ? `#D#${fields(fixes[0]!)}\r\n` : `#B#${fixes.map((fix) => `${fields(fix)}|`).join('')}\r\n`,
      'latin1',
    ),
  answer(bytes) {
    const end = bytes.indexOf('\r\n')
    if (end < 0) return undefined
    const match = /^#A(?:L|D|B)#(\d+)$/.exec(bytes.toString('latin1', 0, end))
    return { size: end + 2, accepted: match ? Number(match[1]) : 0 }
  },
}
