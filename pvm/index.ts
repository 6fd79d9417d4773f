/** PVM as other systems use it: `loadProtocol` a description, feed a `Session` what a device sends. */
import type { Program } from './compile.ts'

export { PvmError } from './errors.ts'
export { loadProtocol, type ProtocolInfo, protocolFile, protocolNames, protocols, transportsOf } from './protocols.ts'
export { messageSchema, registry } from './registry.ts'
export type { Message } from './runtime.ts'
export { type Packet, Session, type SessionOptions } from './session.ts'

/** A compiled protocol. */
export type Protocol = Program
