/** Opened pages, remembered within bounds. */
import { Bounded } from './bounded.ts'
import { DamagedError, openPage, type Page, type PageSummary, summarise } from './page.ts'
import { type Newest, type NewPage, newPageId, type PageHead, type Store } from './store.ts'

/** Bytes of opened pages that are kept, as their records would have in JSON: an upper bound of what they take. */
const opened_bytes_max = 192 * 1024 * 1024

export const pageName = ({ container, day, id }: PageHead): string =>
  `page ${id} of container ${container}, ${new Date(day * 86_400_000).toISOString().slice(0, 10)}`

/** What is wrong with a page is said with its name. */
export function named<T>(head: PageHead, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof DamagedError) throw new DamagedError(`${pageName(head)}: ${error.message}`)
    throw error
  }
}

/** Opens the bytes of a page; what is wrong with them is said with the page's name. */
export function openNamed(head: PageHead, bytes: Buffer): Page {
  const { records, from, to } = named(head, () => summarise(bytes))
  if (records !== head.records || from !== head.from || to !== head.to)
    throw new DamagedError(`${pageName(head)} is not the one that was stored there`)
  return named(head, () => openPage(bytes))
}

/** A page as a store takes it; all its records are of one day. */
export function newPage(
  container: number,
  bytes: Buffer,
  kind: PageHead['kind'],
  { records, from, to, json_bytes }: PageSummary = summarise(bytes),
): NewPage {
  const day = Math.floor(from / 86_400)
  const head = { container, day, id: newPageId(), kind, from, to, records, json_bytes, size: bytes.length }
  return { head, bytes }
}

/** Folds newest values in: per parameter the later timestamp wins. */
export function fold(into: Newest, more: Newest): void {
  for (const [name, latest] of more) {
    const known = into.get(name)
    if (!known || latest.timestamp >= known.timestamp) into.set(name, latest)
  }
}

export class Pages {
  readonly #store: Store
  readonly #opened = new Bounded<string, Page>(opened_bytes_max)

  constructor(store: Store) {
    this.#store = store
  }

  /** Opened pages in the order asked; undefined: one of them is gone, and heads must be read again. */
  async open(heads: PageHead[]): Promise<Page[] | undefined> {
    const keys = heads.map(({ container, day, id }) => `${container}/${day}/${id}`)
    const pages = keys.map((key) => this.#opened.get(key))
    const missing = heads.filter((_, i) => pages[i] === undefined)
    if (missing.length === 0) return pages as Page[]
    const loaded = await this.#store.load(missing)
    let next = 0
    for (const [i, head] of heads.entries()) {
      if (pages[i] !== undefined) continue
      const bytes = loaded[next++]
      if (bytes === undefined) return undefined
      const page = openNamed(head, bytes)
      pages[i] = page
      this.#opened.set(keys[i]!, page, head.json_bytes + 500)
    }
    return pages as Page[]
  }

  forget(heads: PageHead[]): void {
    for (const { container, day, id } of heads) this.#opened.delete(`${container}/${day}/${id}`)
  }
}
