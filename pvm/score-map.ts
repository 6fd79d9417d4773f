import type { Message } from './index.ts'

/** The reference's attribute names under ours. `scale`: ours = theirs × scale. */
const names: Record<string, { name: string; scale?: number }> = {
  sat: { name: 'position.satellites' },
  hdop: { name: 'position.hdop' },
  pdop: { name: 'position.pdop' },
  priority: { name: 'event.priority.enum' },
  event: { name: 'event.enum' },
  ignition: { name: 'engine.ignition.status' },
  motion: { name: 'movement.status' },
  rssi: { name: 'gsm.signal.level', scale: 20 },
  power: { name: 'external.powersource.voltage' },
  battery: { name: 'battery.voltage' },
  batteryLevel: { name: 'battery.level' },
  batteryCurrent: { name: 'battery.current' },
  deviceTemp: { name: 'device.temperature' },
  odometer: { name: 'vehicle.mileage', scale: 0.001 },
  tripOdometer: { name: 'trip.mileage', scale: 0.001 },
  operator: { name: 'gsm.operator.code' },
  sleepMode: { name: 'sleep.mode.enum' },
  iccid: { name: 'gsm.sim.iccid' },
  vin: { name: 'vehicle.vin' },
  result: { name: 'command.response' },
  type: { name: 'message.type' },
  input: { name: 'din' },
  output: { name: 'dout' },
  archive: { name: 'archive.status' },
}

/** Whether a message carries a reference attribute: under our name, or raw. Numbers may be texts there. */
export function carried(message: Message, name: string, value: unknown): boolean {
  const known = names[name]
  const axis = /^axis([XYZ])$/.exec(name)?.[1]?.toLowerCase()
  const numbered = /^(in|out|adc|bleTemp|eyeTemp)(\d)$/.exec(name)
  const prefix = {
    in: 'din',
    out: 'dout',
    adc: 'ain',
    bleTemp: 'ble.sensor.temperature',
    eyeTemp: 'ble.sensor.temperature',
  }[numbered?.[1] ?? '']
  const io = /^io(\d+)$/.exec(name)?.[1]
  const same = (a: unknown, scale = 1) =>
    a === value ||
    (typeof a !== 'string' && Math.abs(Number(a) - Number(value) * scale) < 1e-6) ||
    String(a).toLowerCase() === String(value).toLowerCase() ||
    Number(a) === Number(value)
  if (name === 'alarm') return message['alarm.event'] === true
  if (typeof value === 'string') value = value.replace(/\0+$/, '')
  if (known) return same(message[known.name], known.scale)
  if (axis) return same(message[`${axis}.acceleration`], 0.001)
  if (prefix) return same(message[`${prefix}.${numbered?.[2]}`])
  if (io && message[`io.${io}`] !== undefined)
    return (
      same(message[`io.${io}`]) || BigInt.asIntN(64, BigInt(message[`io.${io}`] as string)) === BigInt(value as number)
    )
  // A raw name of the device, whatever its case; the value may stand under the parameter that it means.
  const raw = Object.entries(message).find(([key]) => key.toLowerCase() === `raw.${name.toLowerCase()}`)
  if (raw) return same(raw[1])
  return Object.values(message).some(
    (held) => same(held) || same(held, 20) || same(held, 0.001) || same(held, 0.1) || same(held, 0.01),
  )
}
