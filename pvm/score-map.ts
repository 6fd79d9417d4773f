/** What the reference decoder's attributes are called here. An attribute may stand under any of its names, or as raw.NAME. */
import type { Message } from './runtime.ts'

/** Our name; with a number: ours = theirs × number. N stands for a number in both names. */
type Name = string | [name: string, ...scales: number[]]

const names: Record<string, Name[]> = {
  // Message
  type: ['message.type', 'device.type.id'],
  index: ['message.number'],
  result: ['command.response'],
  event: ['event.enum', 'message.reason.enum', 'message.type'],
  reason: ['message.reason', 'message.reason.enum', 'event.enum'],
  priority: ['event.priority.enum'],
  archive: ['archive.status'],
  status: ['device.status'],
  message: ['message.text', 'user.text'],
  text: ['message.text', 'user.text'],
  // Position
  sat: ['position.satellites'],
  satVisible: ['position.satellites.visible'],
  hdop: ['position.hdop'],
  vdop: ['position.vdop'],
  pdop: ['position.pdop'],
  accuracy: ['position.accuracy'],
  gps: ['gnss.state.enum', 'position.valid'],
  maximumSpeed: [['vehicle.maximum.speed', 1, 1.852]],
  // Network
  rssi: [['gsm.signal.level', 1, 20, 25, 100 / 31, 10], 'gsm.signal.dbm'],
  operator: ['gsm.operator.code', 'gsm.operator.name'],
  roaming: ['gsm.network.roaming.status'],
  iccid: ['gsm.sim.iccid'],
  imsi: ['gsm.sim.imsi'],
  phone: ['gsm.phone.number'],
  // Power
  power: ['external.powersource.voltage'],
  battery: ['battery.voltage'],
  batteryLevel: ['battery.level'],
  batteryCurrent: ['battery.current'],
  batteryTemp: ['battery.temperature'],
  charge: ['battery.charging.status', 'external.powersource.status'],
  externalPower: ['external.powersource.status'],
  // Device
  deviceTemp: ['device.temperature'],
  versionFw: ['device.firmware.version'],
  versionHw: ['device.hardware.version'],
  sleepMode: ['sleep.mode.enum'],
  // Vehicle
  ignition: ['engine.ignition.status'],
  motion: ['movement.status'],
  odometer: [['vehicle.mileage', 0.001]],
  tripOdometer: [['trip.mileage', 0.001]],
  obdOdometer: [['can.vehicle.mileage', 0.001]],
  hours: [
    ['engine.motorhours', 1 / 3_600_000],
    ['can.engine.motorhours', 1 / 3_600_000],
  ],
  engineHours: [
    ['engine.motorhours', 1 / 3_600_000],
    ['can.engine.motorhours', 1 / 3_600_000],
  ],
  vin: ['vehicle.vin'],
  blocked: ['engine.blocked.status'],
  armed: ['armed.status'],
  door: ['door.status'],
  lock: ['lock.status'],
  fuel: ['fuel.volume', 'fuel.level', 'can.fuel.volume', 'can.fuel.level'],
  fuelLevel: ['fuel.level', 'can.fuel.level'],
  fuelUsed: ['fuel.consumed', 'can.fuel.consumed'],
  fuelConsumption: ['fuel.consumption', 'can.fuel.consumption'],
  rpm: ['engine.rpm', 'can.engine.rpm'],
  engineTemp: ['engine.temperature', 'can.engine.coolant.temperature'],
  engineLoad: ['can.engine.load.level', 'engine.load.level'],
  coolantTemp: ['can.engine.coolant.temperature'],
  intakeTemp: ['can.intake.air.temperature'],
  milDistance: ['can.mil.mileage'],
  mapIntake: ['can.intake.map'],
  throttle: ['can.throttle.level', 'can.accelerator.pedal.position'],
  obdSpeed: ['can.vehicle.speed'],
  dtcs: ['can.dtc'],
  clearedDistance: [['can.dtc.cleared.mileage', 1, 0.001]],
  oilPressure: ['engine.oil.pressure'],
  axleWeight: ['vehicle.weight'],
  weight: ['vehicle.weight'],
  // Sensors
  humidity: ['device.humidity', 'humidity.sensor.1', 'ble.sensor.humidity.1'],
  acceleration: ['acceleration'],
  lightSensor: ['light.sensor'],
  // Persons
  driverUniqueId: ['driver.id', 'ibutton.code'],
  card: ['driver.id', 'raw.driver.card'],
  steps: ['steps.count'],
  heartRate: ['heart.rate'],
  bodyTemp: ['body.temperature'],
  pressureHigh: ['blood.pressure.high'],
  pressureLow: ['blood.pressure.low'],
  bloodOxygen: ['blood.oxygen'],
  // Masks and numbered ones
  input: ['din'],
  output: ['dout'],
  inN: ['din.N'],
  outN: ['dout.N'],
  adcN: [['ain.N', 1, 0.001]],
  tempN: ['temperature.sensor.N'],
  humidityN: ['humidity.sensor.N', 'ble.sensor.humidity.N'],
  bleTempN: ['ble.sensor.temperature.N'],
  eyeTempN: ['ble.sensor.temperature.N'],
  tagNTemp: ['ble.sensor.temperature.N'],
  tagNHumidity: ['ble.sensor.humidity.N'],
  tagNBattery: ['ble.sensor.battery.voltage.N', 'ble.sensor.battery.level.N'],
  tagNName: ['ble.sensor.name.N'],
  tagNId: ['ble.sensor.id.N', 'ble.beacon.id.N'],
  tagNMac: ['ble.sensor.id.N', 'ble.beacon.id.N'],
  tagNRssi: ['ble.beacon.rssi.N'],
  tagNBatteryLevel: ['ble.sensor.battery.level.N'],
  tagNVoltage: [
    ['ble.beacon.voltage.N', 1, 0.001],
    ['ble.sensor.battery.voltage.N', 1, 0.001],
  ],
  tagNUuid: ['ble.beacon.id.N'],
  tagNMajor: ['ble.beacon.major.N'],
  tagNMinor: ['ble.beacon.minor.N'],
  beaconNUuid: ['ble.beacon.id.N'],
  beaconNMajor: ['ble.beacon.major.N'],
  beaconNMinor: ['ble.beacon.minor.N'],
  beaconNRssi: ['ble.beacon.rssi.N'],
  fuelN: ['fuel.level.N', 'fuel.volume.N', 'fuel.sensor.N', 'lls.level.N'],
  countN: ['count.sensor.N'],
  doorN: ['door.status.N'],
  driverN: ['driver.N'],
  cardN: ['tacho.card.N'],
  ioN: ['io.N'],
  axisX: [['x.acceleration', 1, 0.001]],
  axisY: [['y.acceleration', 1, 0.001]],
  axisZ: [['z.acceleration', 1, 0.001]],
}

/** What protocols call otherwise: attributes that are numbered or named after the protocol's own. */
const ownNames: Record<string, Record<string, Name[]>> = {
  adm: { fuelN: ['lls.level.N'], tempN: ['lls.temperature.N'] },
  aplicom: {
    odometer: [['can.vehicle.mileage', 0.001]],
    event: ['raw.brakes.event'],
    hours: [['can.engine.motorhours', 1]],
    ambientTemperature: ['can.ambient.temperature'],
    grossWeight: ['vehicle.weight'],
    vehicleSpeed: ['can.vehicle.speed'],
    currentGear: ['can.gear'],
    dataValidity: ['raw.data.validity'],
  },
  arnaviBinary: {
    odometer: [['can.vehicle.mileage', 0.001]],
    pulsesN: ['count.sensor.N'],
    axleLoadN: ['can.axle.weight.N'],
    llsLevelN: ['lls.level.N'],
    llsTempN: ['lls.temperature.N'],
    tachographOdometer: [['raw.tachograph.mileage', 0.001]],
  },
  atrack: {
    type: ['event.enum'],
    tempN: [['temperature.sensor.N', 1, 0.1]],
    temp1: ['can.engine.coolant.temperature'],
    tagNTemp: [['ble.sensor.temperature.N', 0.01]],
    rssi: [['gsm.signal.level', -100 / 31], 'raw.gsm.status'],
    odometerService: ['raw.serviceodometer'],
    axleWeightN: ['can.axle.weight.N'],
    model: ['device.type.id'],
  },
  bce: { fuelN: ['lls.level.N', 'fuel.sensor.N'], fuelTempN: ['lls.temperature.N'], axleWeight: ['vehicle.weight'] },
  calAmp: {
    hdop: [['position.hdop', 0.1]],
    result: ['message.text'],
  },
  dmt: { tripHours: [['trip.duration', 0.001]] },
  egts: {
    hdop: [['position.hdop', 0.01]],
    pdop: [['position.pdop', 0.01]],
    vdop: [['position.vdop', 0.01]],
    liquid: [0, 1, 2, 3, 4, 5, 6, 7].flatMap((n): Name[] => [
      `lls.level.${n}`,
      `fuel.level.${n}`,
      [`fuel.volume.${n}`, 0.1],
    ]),
  },
  gl200Text: {
    axleWeightN: ['can.axle.weight.N'],
    deviceType: ['device.type.id'],
    driver1Card: ['tacho.card.1'],
    driver2Card: ['tacho.card.2'],
    driver1Name: ['driver.1'],
    driver2Name: ['driver.2'],
    dtcsClearedDistance: ['can.dtc.cleared.mileage'],
    dtcsCodes: ['can.dtc'],
    dtcsNumber: ['can.dtc.number'],
    fuel: ['fuel.sensor.1'],
    odbConnect: ['raw.obd.connected'],
    registration: ['vehicle.plate.number'],
    temp1: ['can.engine.coolant.temperature'],
  },
  gl200Binary: { power: [['external.powersource.voltage', 1, 0.001]] },
  globalSat: { battery: ['battery.voltage', 'external.powersource.voltage'] },
  galileo: {
    temp1: ['can.engine.coolant.temperature'],
    fuelTotal: ['can.fuel.consumed'],
    deviceId: ['device.type.id'],
  },
  retranslator: {
    pwr_ext: ['external.powersource.voltage'],
    avl_inputs: ['din'],
  },
  ruptela: {
    odometer: [['can.vehicle.mileage', 0.001]],
    io134: ['harsh.braking.event'],
    io136: ['harsh.acceleration.event'],
    io88: ['gsm.jamming.event'],
  },
  // Fuel is the sum, in hundredths of l; the battery in percent.
  castel: {
    adc1: ['fuel.sensor.1'],
    battery: ['battery.voltage', 'battery.level', 'raw.battery'],
    fuelConsumption: [['fuel.consumed', 0.01]],
  },
  // Analogue inputs in hundredths of V.
  fifotrack: { adcN: [['ain.N', 0.01]] },
  // The vehicle's own counter, in km.
  gps103: { odometer: ['can.vehicle.mileage'] },
  huaSheng: {
    airTemp: ['can.intake.air.temperature'],
    engineLoad: [['can.engine.load.level', 100]],
    hours: ['engine.motorhours'],
    throttle: [['can.throttle.level', 100]],
  },
  // Power is in percent.
  jt600: {
    fuelN: ['fuel.sensor.N'],
    humidity: ['humidity.sensor.1'],
    power: ['battery.level'],
    sensorBattery: ['ble.sensor.battery.voltage.1'],
    sensorBatteryLevel: ['ble.sensor.battery.level.1'],
    sensorRssi: ['ble.beacon.rssi.1'],
  },
  meiligao: { dtcs: ['can.dtc.number', 'can.dtc'], odometer: [['vehicle.mileage', 0.001], 'can.vehicle.mileage'] },
  vt200: {
    drivingTime: ['trip.duration'],
    maxSpeed: [['vehicle.maximum.speed', 1.852]],
    tripEnd: [['raw.trip.end', 0.001]],
    tripStart: [['raw.trip.start', 0.001]],
  },
  khd: { fuelN: [['fuel.level.N', 100]] },
  // The reference calls the two bits of the fix satellites; the battery is in percent.
  autoFon: { battery: ['battery.level'], sat: ['position.satellites', 'gnss.state.enum'] },
  // HDOP in tenths, analogue inputs in hundredths of V; one tag.
  meitrack: {
    adcN: [['ain.N', 1, 0.01]],
    hdop: [['position.hdop', 1, 0.1]],
    power: [['external.powersource.voltage', 1, 0.01]],
    tagName: ['ble.sensor.name.1'],
    tagBattery: ['ble.sensor.battery.level.1'],
    tagTemp: ['ble.sensor.temperature.1'],
    tagHumidity: ['ble.sensor.humidity.1'],
  },
  minifinder2: {
    spO2: ['blood.oxygen'],
    tagBatteryN: ['ble.sensor.battery.level.N'],
    tagId: ['ble.sensor.id.1'],
    tagIdN: ['ble.sensor.id.N'],
    tagRssiN: ['ble.beacon.rssi.N'],
    tagTempN: ['ble.sensor.temperature.N'],
  },
  startek: {
    airPressure: ['can.intake.map'],
    airTemp: ['can.intake.air.temperature'],
    oilTemp: ['can.engine.oil.temperature'],
  },
  t800x: {
    ac: ['air.conditioner.status'],
    airPressure: ['can.intake.map'],
    airTemp: ['can.intake.air.temperature'],
    alarmCode: ['event.enum'],
    networkTechnology: ['gsm.network.type'],
    tagNTirePressure: ['tire.pressure.N'],
    tagNTireTemp: ['tire.temperature.N'],
    tagNLightSensor: ['ble.sensor.illumination.N'],
    tagNDoor: ['door.status.N'],
  },
  jt808: { tireNPressure: [['tire.pressure.N', 100]], tireNTemp: ['tire.temperature.N'] },
  t55: { mcc: ['gsm.mcc'], mnc: ['gsm.mnc'] },
  taip: {
    tripDistance: [['trip.mileage', 0.001]],
    tripTime: ['trip.duration'],
    battery: [['external.powersource.voltage', 0.1]],
  },
  skypatrol: { battery: ['battery.level'] },
  starLink: {
    sensorNTemp: ['ble.sensor.temperature.N'],
    sensorNHumidity: ['ble.sensor.humidity.N'],
    sensorNVoltage: ['ble.sensor.battery.voltage.N'],
  },
  teltonika: {
    io9: [['ain.1', 0.001]],
    io10: [['ain.2', 0.001]],
    io11: ['gsm.sim.iccid'],
    io20: ['ble.sensor.battery.level.2'],
    io22: ['ble.sensor.battery.level.3'],
    io23: ['ble.sensor.battery.level.4'],
    io24: ['position.speed'],
    io29: ['ble.sensor.battery.level.1'],
    io68: [['battery.current', 0.001]],
    io69: ['gnss.state.enum'],
    io70: [['device.temperature', 0.1]],
    io86: [['ble.sensor.humidity.1', 0.1]],
    io104: [['ble.sensor.humidity.2', 0.1]],
    io106: [['ble.sensor.humidity.3', 0.1]],
    io108: [['ble.sensor.humidity.4', 0.1]],
    io113: ['battery.level'],
    io200: ['sleep.mode.enum'],
    io205: ['gsm.cellid'],
    io206: ['gsm.lac'],
    tagNTemp: [['ble.sensor.temperature.N', 0.01]],
    tagNBattery: [['ble.sensor.battery.voltage.N', 0.001]],
  },
  ulbotech: {
    fuelConsumption: ['fuel.consumed'],
    rapidAcceleration: ['harsh.acceleration.event'],
    roughBraking: ['harsh.braking.event'],
    harshCourse: ['harsh.cornering.event'],
    longIdle: ['idle.event'],
    fatigueDriving: ['fatigue.event'],
    highRpm: ['high.rpm.event'],
  },
  totem: {
    power: [['external.powersource.voltage', 1, 0.01]],
  },
  trv: {
    battery: ['battery.level'],
    pressureSystolic: ['blood.pressure.high'],
    pressureDiastolic: ['blood.pressure.low'],
    spo2: ['blood.oxygen'],
    temperature: ['body.temperature'],
  },
  easyTrack: {
    battery: ['external.powersource.voltage'],
    command: ['message.type'],
  },
  alematics: {
    power: [['external.powersource.voltage', 0.001]],
    battery: [['battery.voltage', 0.001]],
  },
  pt60: {
    battery: ['battery.level'],
  },
  maestro: {
    battery: ['external.powersource.voltage'],
  },
  watch: {
    tempN: ['body.temperature'],
  },
  tzone: {
    adcN: [['ain.N', 0.01]],
    power: [['external.powersource.voltage', 0.01]],
    tempN: [['temperature.sensor.N', 1, 0.1]],
  },
  wialon: {
    cell_idN: ['gsm.cellid.N'],
    lacN: ['gsm.lac.N'],
    mccN: ['gsm.mcc.N'],
    mncN: ['gsm.mnc.N'],
    sos: ['alarm.event', 'sos.event'],
    bat: ['battery.level'],
  },
  xexun: { number: ['gsm.phone.number'], power: ['battery.voltage'] },
  xirgo: {
    battery: ['external.powersource.voltage'],
    command: ['message.type'],
    // The reference's mile has 1609.34 m.
    odometer: [['vehicle.mileage', 1.609344 / 1609.34]],
  },
}

/** Kinds of alarm there, and the event here. Any alarm may stand as `alarm.event` alone too. */
const alarms: Record<string, string> = {
  sos: 'sos.event',
  overspeed: 'overspeeding.event',
  lowspeed: 'low.speed.event',
  lowBattery: 'battery.low.event',
  lowPower: 'power.low.event',
  powerCut: 'power.cut.event',
  powerRestored: 'power.restored.event',
  powerOn: 'power.on.event',
  powerOff: 'power.off.event',
  movement: 'movement.event',
  vibration: 'vibration.event',
  fallDown: 'fall.event',
  tampering: 'tampering.event',
  removing: 'removal.event',
  idle: 'idle.event',
  parking: 'parking.event',
  highRpm: 'high.rpm.event',
  hardAcceleration: 'harsh.acceleration.event',
  hardBraking: 'harsh.braking.event',
  hardCornering: 'harsh.cornering.event',
  laneChange: 'harsh.lane.change.event',
  fatigueDriving: 'fatigue.event',
  temperature: 'temperature.event',
  geofence: 'geofence.event',
  geofenceEnter: 'geofence.event.enter',
  geofenceExit: 'geofence.event.exit',
  gpsAntennaCut: 'gnss.antenna.cut.event',
  gpsAntennaShort: 'gnss.antenna.short.event',
  accident: 'crash.event',
  tow: 'towing.event',
  jamming: 'gsm.jamming.event',
  door: 'door.event',
  bonnet: 'hood.event',
  lock: 'lock.event',
  unlock: 'unlock.event',
  fault: 'fault.event',
  fuelLeak: 'fuel.leak.event',
  footBrake: 'footbrake.event',
  general: 'alarm.event',
}

const text = (value: unknown) =>
  String(value)
    .replace(/^[\s\0]+|[\s\0]+$/g, '')
    .toLowerCase()

/** Whether two values are the same: numbers may be texts there, yes and no may be 1 and 0, large numbers lose digits in JSON. */
function same(ours: unknown, theirs: unknown, scale: number): boolean {
  if (ours === undefined || ours === null) return false
  if (typeof theirs === 'boolean' || typeof ours === 'boolean') return Number(ours) === Number(theirs)
  const [a, b] = [Number(ours), Number(text(theirs).replace(/%$/, '')) * scale]
  if (text(theirs) !== '' && Number.isFinite(a) && Number.isFinite(b)) {
    if (Math.abs(a - b) <= 1e-6 + Math.abs(b) * 1e-9) return true
    // The reference holds 64 bits as signed.
    if (Math.abs(b) > 2 ** 53 || Math.abs(a) > 2 ** 53)
      return Math.abs(a - b) < 4096 || Math.abs(a - b - 2 ** 64) < 4096
    return text(ours) === text(theirs)
  }
  return text(ours) === text(theirs)
}

/** Whether a message carries a reference attribute: under one of our names, or raw under theirs. An empty text is not carried. */
export function carried(message: Message, name: string, value: unknown, protocol = ''): boolean {
  if (value === null || text(value) === '') return true
  if (name === 'alarm')
    return String(value)
      .split(',')
      .every((alarm) => message[alarms[alarm] ?? 'alarm.event'] === true || message['alarm.event'] === true)
  const number = /\d+/.exec(name)?.[0] ?? ''
  const pattern = number === '' ? name : name.replace(number, 'N')
  const own = ownNames[protocol] ?? {}
  const known = [own[name], own[pattern], names[name], names[pattern]].flatMap((found) => found ?? [])
  for (const entry of known) {
    const [ours, ...scales] = typeof entry === 'string' ? [entry] : entry
    const held = message[ours.replace('N', number)]
    if ((scales.length > 0 ? scales : [1]).some((scale) => same(held, value, scale))) return true
  }
  const wanted = `raw.${name.toLowerCase()}`
  return Object.entries(message).some(([key, held]) => key.toLowerCase() === wanted && same(held, value, 1))
}
