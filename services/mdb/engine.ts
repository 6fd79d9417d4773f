/** What MDB asks of a store. Records are opaque JSON text under the key (container, timestamp, hash). */

/** A unit of records in the order of their timestamps. */
export interface Container {
  id: number
  /** Owner; 0: internal, seen by services alone. */
  account_id: number
  name: string
  /** Seconds that a record is kept after its timestamp; 0: for ever. */
  ttl: number
  /** Records and bytes of JSON held now. */
  records: number
  bytes: number
  /** s since 1970 UTC. */
  created: number
}

export interface StoredRecord {
  /** s since 1970 UTC, with fractions. */
  timestamp: number
  /** 8 bytes over what makes the record itself: see `recordHash`. */
  hash: Buffer
  /** The record as JSON. */
  json: Buffer
}

export interface Append {
  container: number
  records: StoredRecord[]
}

export interface Appended {
  container: number
  stored: number
  /** Records that were there already: a re-send. */
  duplicates: number
}

/** A range of timestamps: `from` included, `to` excluded, both in s. */
export interface Range {
  from: number
  to: number
  reverse: boolean
}

/** One store of containers. All promises of writes resolve when the data is durable on disk. */
export interface Engine {
  containers(): Container[]
  create(container: Pick<Container, 'account_id' | 'name' | 'ttl'>): Promise<Container>
  edit(id: number, fields: Partial<Pick<Container, 'name' | 'ttl'>>): Promise<Container>
  /** The container vanishes at once, its records in the background. */
  remove(id: number): Promise<void>
  /** All of it or nothing; a container that is not there: ApiError `not_found`. */
  append(batch: Append[]): Promise<Appended[]>
  /** JSON texts in the order of (timestamp, hash). Reads on in pages, so a long read holds no snapshot. */
  read(container: number, range: Range): Generator<{ timestamp: number; json: Buffer }>
  removeRange(container: number, range: Range): Promise<number>
  close(): Promise<void>
}
