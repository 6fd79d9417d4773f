/** `1 link`, `2 links`; `1 power supply`, `2 power supplies`. */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`
}
