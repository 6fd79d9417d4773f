/** Every limit of the machine, with its reason. */

/** A packet larger than this is no tracker's: pictures come in chunks far below it. A protocol may set less. */
export const packet_bytes_max = 256 * 1024
/** Steps of one packet, apart from those its bytes earn: what no honest description needs. */
export const fuel_base = 50_000
export const fuel_per_byte = 200
/** Nested windows, and nested calls: descriptions nest three or four deep. */
export const depth_max = 32
/** Messages of one packet: the largest black boxes carry some hundreds. */
export const messages_max = 4_096
/** Bytes of one answer. */
export const reply_bytes_max = 64 * 1024
/** Characters of an ident: an IMEI has 15, a VIN 17. */
export const ident_length_max = 64
