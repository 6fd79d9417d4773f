/**
 * Names that the format knows by number, so that a small page does not spell them. Part of version 1 of the format: a name is
 * never taken away or moved. A name that is not here is spelt in the page: nothing is lost by a short list.
 */
const text = `
ident server.timestamp channel.id device.id protocol.id peer position.latitude position.longitude
position.altitude position.direction position.speed position.satellites position.valid event.enum
event.priority.enum engine.ignition.status movement.status gsm.signal.level external.powersource.voltage
battery.voltage vehicle.mileage position.hdop position.pdop battery.current battery.level gnss.state.enum
sleep.mode.enum gsm.operator.code gsm.cellid gsm.lac gsm.mcc gsm.mnc din dout din.1 din.2 din.3 din.4 dout.1
dout.2 ain.1 ain.2 trip.mileage message.type device.status message.number alarm.event temperature.sensor.1
driver.id ibutton.code can.vehicle.speed can.engine.rpm can.engine.coolant.temperature can.fuel.level
can.fuel.consumed can.vehicle.mileage can.accelerator.pedal.position can.engine.load.level
ble.sensor.temperature.1 ble.sensor.humidity.1 x.acceleration y.acceleration z.acceleration
harsh.acceleration.event harsh.braking.event harsh.cornering.event overspeeding.event fuel.level
engine.motorhours device.temperature archive.status sos.event device.name gsm.mcc.1 gsm.mcc.2 gsm.mcc.3
gsm.mcc.4 gsm.mnc.1 gsm.mnc.2 gsm.mnc.3 gsm.mnc.4 gsm.lac.1 gsm.lac.2 gsm.lac.3 gsm.lac.4 gsm.cellid.1
gsm.cellid.2 gsm.cellid.3 gsm.cellid.4 gsm.jamming.event gsm.sim.iccid engine.rpm vehicle.vin fuel.volume
dout.3 dout.4 ain.3 ain.4 event.origin.enum towing.event crash.event user.text command.response
ble.sensor.temperature.2 ble.sensor.temperature.3 ble.sensor.temperature.4 ble.sensor.humidity.2
ble.sensor.humidity.3 ble.sensor.humidity.4 ble.sensor.battery.level.1 ble.sensor.battery.level.2
ble.sensor.battery.level.3 ble.sensor.battery.level.4 ble.sensor.battery.voltage.1
ble.sensor.battery.voltage.2 ble.sensor.battery.voltage.3 ble.sensor.battery.voltage.4 ble.sensor.id.1
ble.sensor.id.2 ble.sensor.id.3 ble.sensor.id.4 ble.sensor.name.1 ble.sensor.name.2 ble.sensor.name.3
ble.sensor.name.4 ble.beacon.major.1 ble.beacon.major.2 ble.beacon.major.3 ble.beacon.major.4
ble.beacon.minor.1 ble.beacon.minor.2 ble.beacon.minor.3 ble.beacon.minor.4 ble.beacon.id.1 ble.beacon.id.2
ble.beacon.id.3 ble.beacon.id.4 ble.beacon.rssi.1 ble.beacon.rssi.2 ble.beacon.rssi.3 ble.beacon.rssi.4
ble.beacon.voltage.1 ble.beacon.voltage.2 ble.beacon.voltage.3 ble.beacon.voltage.4 battery.temperature
battery.charging.status backup.battery.voltage external.powersource.status external.powersource.current
gsm.signal.dbm gsm.network.roaming.status gsm.network.type gsm.operator.name gsm.sim.imsi gsm.phone.number
wifi.mac.1 wifi.mac.2 wifi.mac.3 wifi.mac.4 wifi.rssi.1 wifi.rssi.2 wifi.rssi.3 wifi.rssi.4
device.firmware.version device.hardware.version device.type.id device.humidity device.tampering.event
message.reason.enum message.reason message.text message.acknowledge.status position.vdop position.accuracy
position.satellites.visible position.fix.timestamp vehicle.state.enum vehicle.plate.number vehicle.weight
axle.weight.1 axle.weight.2 axle.weight.3 axle.weight.4 vehicle.maximum.speed engine.temperature
engine.blocked.status engine.load.level engine.oil.pressure trip.duration trip.status idle.duration
fuel.consumed fuel.consumption fuel.level.1 fuel.level.2 fuel.level.3 fuel.level.4 fuel.volume.1 fuel.volume.2
fuel.volume.3 fuel.volume.4 fuel.sensor.1 fuel.sensor.2 fuel.sensor.3 fuel.sensor.4 fuel.leak.event
fuel.filling.event door.status door.status.1 door.status.2 door.status.3 door.status.4 hood.status
trunk.status lock.status armed.status air.conditioner.status seat.belt.status handbrake.status tire.pressure.1
tire.pressure.2 tire.pressure.3 tire.pressure.4 tire.temperature.1 tire.temperature.2 tire.temperature.3
tire.temperature.4 tire.alarm.event can.engine.motorhours can.engine.oil.temperature
can.intake.air.temperature can.intake.map can.ambient.temperature can.throttle.level can.fuel.volume
can.fuel.consumption can.fuel.pressure can.mil.status can.mil.mileage can.dtc.cleared.mileage can.dtc.number
can.dtc can.brake.pedal.status can.axle.weight.1 can.axle.weight.2 can.axle.weight.3 can.axle.weight.4
can.pto.status can.gear temperature.sensor.2 temperature.sensor.3 temperature.sensor.4 humidity.sensor.1
humidity.sensor.2 humidity.sensor.3 humidity.sensor.4 light.sensor pressure.sensor.1 pressure.sensor.2
pressure.sensor.3 pressure.sensor.4 count.sensor.1 count.sensor.2 count.sensor.3 count.sensor.4 lls.level.1
lls.level.2 lls.level.3 lls.level.4 lls.temperature.1 lls.temperature.2 lls.temperature.3 lls.temperature.4
acceleration ble.beacons ble.sensor.illumination.1 ble.sensor.illumination.2 ble.sensor.illumination.3
ble.sensor.illumination.4 steps.count heart.rate body.temperature blood.pressure.high blood.pressure.low
blood.oxygen driver.status.enum driver.card.status driver.1 driver.2 driver.3 driver.4 tacho.card.1
tacho.card.2 tacho.card.3 tacho.card.4 battery.low.event power.low.event power.cut.event power.restored.event
power.on.event power.off.event movement.event vibration.event fall.event tampering.event removal.event
idle.event parking.event low.speed.event high.rpm.event fatigue.event temperature.event geofence.event
geofence.event.enter geofence.event.exit gnss.antenna.cut.event gnss.antenna.short.event door.event hood.event
lock.event unlock.event fault.event harsh.lane.change.event footbrake.event
`

/** Name k has the number k + 1; 0 stands for a name that is spelt. */
export const names: readonly string[] = text.trim().split(/\s+/)

export const numbers: ReadonlyMap<string, number> = new Map(names.map((name, i) => [name, i + 1]))
