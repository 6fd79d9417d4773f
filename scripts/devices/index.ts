import type { Encoder } from './encoder.ts'
import { teltonika } from './teltonika.ts'
import { wialon } from './wialon.ts'

/** Protocols that devices can be simulated in. */
export const encoders: Record<string, Encoder> = { teltonika, wialon }

/** The encoder of a protocol; throws with the names that there are. */
export function encoderOf(protocol: string): Encoder {
  const encoder = encoders[protocol]
  if (!encoder)
    throw new Error(`no simulated device speaks "${protocol}"; there are ${Object.keys(encoders).join(', ')}`)
  return encoder
}

/** A made-up IMEI: 15 digits, the last one the Luhn check digit. `kind` keeps fleets apart. */
export function identOf(kind: number, number: number): string {
  const digits = `86${String(kind % 1_000_000).padStart(6, '0')}${String(number).padStart(6, '0')}`
  let sum = 0
  for (const [i, digit] of [...digits].entries()) {
    const doubled = Number(digit) * (i % 2 === 1 ? 2 : 1)
    sum += doubled > 9 ? doubled - 9 : doubled
  }
  return `${digits}${(10 - (sum % 10)) % 10}`
}
