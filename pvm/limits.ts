/** Every limit of the machine, with its reason. */

/** A packet larger than this is no tracker's: pictures come in chunks far below it. A protocol may set less. */
export const packet_bytes_max = 256 * 1024
/** Fuel of one packet: a step is a turn of a loop, a call or a lookup; a byte looked at costs 1/16. More than any honest description needs. */
export const fuel_base = 20_000
export const fuel_per_byte = 16
/** Nested windows, and nested calls: descriptions nest three or four deep. */
export const depth_max = 32
/** Values on the stack: an expression nests a dozen deep. */
export const stack_max = 256
/** Messages of one packet: the largest black boxes carry some hundreds. */
export const messages_max = 4_096
/** Bytes of one answer, and of bytes put together. */
export const reply_bytes_max = 64 * 1024
/** Characters of a text that a description puts together. */
export const text_length_max = 1024 * 1024
/** Characters of an ident: an IMEI has 15, a VIN 17. */
export const ident_length_max = 64
/** Commands that wait for their answers. */
export const commands_max = 64
