import type { Fix } from './trip.ts'

/** What a server said, and how many of the bytes that took. */
export interface Answer {
  size: number
  /** Records taken; for a log-in 1 or 0. */
  accepted: number
}

/** The device's side of a protocol. */
export interface Encoder {
  readonly name: string
  login(ident: string): Buffer
  /** One packet with these fixes, at most `records_max`. */
  packet(fixes: readonly Fix[]): Buffer
  /** The first whole answer among the received bytes; undefined: not whole yet. */
  answer(bytes: Buffer, to: 'login' | 'packet'): Answer | undefined
  readonly records_max: number
}
