/** A map that forgets what was not used for longest, once its values weigh more than `weight_max` together. */
export class Bounded<K, V> {
  readonly #entries = new Map<K, { value: V; weight: number }>()
  readonly #weight_max: number
  weight = 0

  constructor(weight_max: number) {
    this.#weight_max = weight_max
  }

  get(key: K): V | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry.value
  }

  set(key: K, value: V, weight: number): void {
    this.delete(key)
    this.#entries.set(key, { value, weight })
    this.weight += weight
    for (const oldest of this.#entries.keys()) {
      if (this.weight <= this.#weight_max || oldest === key) break
      this.delete(oldest)
    }
  }

  delete(key: K): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.weight -= entry.weight
    this.#entries.delete(key)
  }

  clear(): void {
    this.#entries.clear()
    this.weight = 0
  }
}
