import type { Value } from './values.ts'

/** A unified message: flat, `ident` and `timestamp` first. */
export type Message = { ident?: string; timestamp?: number } & Record<string, Value | undefined>

/** Parameters that a message holds without growing: most have fewer. */
const parameters_room = 24
/** Objects that V8 watches to learn how large those of a constructor become. */
const watched = 16

/**
 * Makes messages with room for parameters: an object that begins small is copied again and again while it grows. A plain object in
 * every other respect.
 */
const Constructor = new Function(
  'timestamp',
  `this.ident = ''; this.timestamp = timestamp; if (timestamp === this) { ${Array.from({ length: parameters_room }, (_, i) => `this.p${i} = 0`).join('; ')} }`,
) as unknown as new (
  timestamp: Value | undefined,
) => Message
Constructor.prototype = Object.prototype

const first = Array.from({ length: watched }, () => {
  const message = new Constructor(0)
  for (let i = 0; i < parameters_room; i++) message[`p${i}`] = i
  return message
})
if (first.length !== watched) throw new Error('no messages')

export const newMessage = (timestamp: Value | undefined): Message => new Constructor(timestamp)
