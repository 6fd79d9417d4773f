/** Hears of hardware as the operator does, from outside: one line of JSON an event on standard output. Token in TOKEN. */
import { connect } from 'mqtt'

const bus = connect(process.argv[2]!, { password: process.env.TOKEN!, username: 'operator', reconnectPeriod: 500 })
bus.on('connect', () => bus.subscribe('milepost/log/hardware/#', { qos: 1 }, () => process.stdout.write('{}\n')))
bus.on('message', (_topic, payload) => process.stdout.write(`${payload}\n`))
