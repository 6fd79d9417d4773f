/** IPv4 arithmetic for the model; prefixes are 0–32. */

/** `10.0.0.1` as a number; undefined when it is not an address. */
export function parseAddress(text: string): number | undefined {
  const parts = text.split('.')
  if (parts.length !== 4) return undefined
  let value = 0
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined
    value = value * 256 + Number(part)
  }
  return value
}

export function formatAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.')
}

export interface Cidr {
  /** First address of the network, as a number. */
  readonly first: number
  readonly prefix: number
  /** How many addresses it has. */
  readonly size: number
}

/** `10.0.0.0/24`; undefined when it is not a network, or the address is not its first. */
export function parseCidr(text: string): Cidr | undefined {
  const [address, prefixText, rest] = text.split('/')
  const first = parseAddress(address ?? '')
  const prefix = /^\d{1,2}$/.test(prefixText ?? '') ? Number(prefixText) : 33
  if (first === undefined || prefix > 32 || rest !== undefined) return undefined
  const size = 2 ** (32 - prefix)
  return first % size === 0 ? { first, prefix, size } : undefined
}

export function contains(cidr: Cidr, address: string): boolean {
  const value = parseAddress(address)
  return value !== undefined && value >= cidr.first && value < cidr.first + cidr.size
}
