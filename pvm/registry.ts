/** The parameter registry: the names, types and units of the unified message. One meaning, one name, one unit, in every protocol. */
export interface Parameter {
  type: 'number' | 'integer' | 'string' | 'boolean'
  unit?: string
  /** A number in the name stands for N: `ain.1`. */
  text: string
}

const n = (text: string, unit?: string): Parameter => (unit ? { type: 'number', unit, text } : { type: 'number', text })
const b = (text: string): Parameter => ({ type: 'boolean', text })
const s = (text: string): Parameter => ({ type: 'string', text })
const i = (text: string): Parameter => ({ type: 'integer', text })

export const registry: Readonly<Record<string, Parameter>> = {
  ident: s("the device's IMEI or serial"),
  timestamp: n('when it was measured, since 1970 UTC', 's'),
  'server.timestamp': n('when it came, since 1970 UTC', 's'),
  'channel.id': i('the channel it came by'),
  'device.id': i('the registered device'),
  'device.name': s('name of the device'),
  'protocol.id': s('the protocol'),
  peer: s('address and port it came from'),
  'message.type': s('kind of message, as the protocol names it'),
  'position.latitude': n('WGS-84', 'degrees'),
  'position.longitude': n('WGS-84', 'degrees'),
  'position.altitude': n('above the sea', 'm'),
  'position.speed': n('over ground', 'km/h'),
  'position.direction': n('clockwise from north', 'degrees'),
  'position.satellites': i('satellites in use'),
  'position.hdop': n('horizontal dilution of precision'),
  'position.pdop': n('dilution of precision'),
  'position.valid': b('the fix is valid'),
  'gsm.mcc': i('mobile country code'),
  'gsm.mnc': i('mobile network code'),
  'gsm.lac': i('location area code'),
  'gsm.cellid': i('cell'),
  'gsm.mcc.N': i('mobile country code of another cell'),
  'gsm.mnc.N': i('mobile network code of another cell'),
  'gsm.lac.N': i('location area code of another cell'),
  'gsm.cellid.N': i('another cell'),
  'gsm.operator.code': i('country and network code as one number'),
  'gsm.signal.level': n('strength of the signal', '%'),
  'gsm.jamming.event': b('the network is jammed'),
  'gsm.sim.iccid': s('identity of the SIM card'),
  'battery.voltage': n('of the internal battery', 'V'),
  'battery.current': n('into the internal battery', 'A'),
  'battery.level': n('of the internal battery', '%'),
  'external.powersource.voltage': n('of the vehicle', 'V'),
  'engine.ignition.status': b('ignition is on'),
  'movement.status': b('the vehicle moves'),
  'engine.rpm': n('of the engine', '1/min'),
  'vehicle.mileage': n('total', 'km'),
  'trip.mileage': n('of this trip', 'km'),
  'vehicle.vin': s('vehicle identification number'),
  'fuel.level': n('of the tank', '%'),
  'fuel.volume': n('in the tank', 'l'),
  din: i('digital inputs as a bit mask'),
  dout: i('digital outputs as a bit mask'),
  'din.N': b('digital input'),
  'dout.N': b('digital output'),
  'ain.N': n('analogue input', 'V'),
  'ibutton.code': s('identity of the key'),
  'driver.id': s('identity of the driver'),
  'x.acceleration': n('along the axis', 'g'),
  'y.acceleration': n('along the axis', 'g'),
  'z.acceleration': n('along the axis', 'g'),
  'device.temperature': n('in the device', '°C'),
  'sleep.mode.enum': i('sleep mode, as the maker counts'),
  'gnss.state.enum': i('state of the receiver, as the maker counts'),
  'event.enum': i('what caused the message, as the maker counts'),
  'event.priority.enum': i('priority, as the maker counts'),
  'event.origin.enum': i('on what change the message was made, as the maker counts'),
  'alarm.event': b('an alarm'),
  'towing.event': b('towed'),
  'crash.event': b('crashed'),
  'overspeeding.event': b('faster than allowed'),
  'harsh.acceleration.event': b('accelerated harshly'),
  'harsh.braking.event': b('braked harshly'),
  'harsh.cornering.event': b('cornered harshly'),
  'archive.status': b('from the black box'),
  'user.text': s('text of the driver'),
  'command.response': s("the device's answer to a command"),
  'ble.sensor.temperature.N': n('of a Bluetooth sensor', '°C'),
  'ble.sensor.humidity.N': n('of a Bluetooth sensor', '%'),
  'ble.sensor.battery.level.N': n('of a Bluetooth sensor', '%'),
  'ble.sensor.battery.voltage.N': n('of a Bluetooth sensor', 'V'),
  'ble.sensor.id.N': s('address of a Bluetooth sensor'),
  'ble.sensor.name.N': s('name of a Bluetooth sensor'),
  'ble.beacon.major.N': i('group of a Bluetooth beacon'),
  'ble.beacon.minor.N': i('number of a Bluetooth beacon in its group'),
  'ble.beacon.id.N': s('identity of a Bluetooth beacon'),
  'ble.beacon.rssi.N': n('strength of its signal', 'dBm'),
  'ble.beacon.voltage.N': n('of its battery', 'V'),
}

/** Whether a name is registered; `ain.3` is as `ain.N`. */
export function isRegistered(name: string): boolean {
  return Object.hasOwn(registry, name) || Object.hasOwn(registry, name.replace(/\.\d+$/, '.N'))
}

/** JSON Schema of a message: registered parameters have their types, others are free. */
export function messageSchema(): object {
  const properties: Record<string, object> = {}
  const patternProperties: Record<string, object> = {}
  for (const [name, { type, unit, text }] of Object.entries(registry)) {
    const schema = { type, description: unit ? `${text}; ${unit}` : text }
    if (name.endsWith('.N')) patternProperties[`^${name.slice(0, -1).replaceAll('.', '\\.')}\\d+$`] = schema
    else properties[name] = schema
  }
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    required: ['ident', 'timestamp'],
    properties,
    patternProperties,
  }
}
