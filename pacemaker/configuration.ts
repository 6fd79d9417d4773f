/** A Pacemaker configuration in its own words (Pacemaker Explained 2.1), as far as it is used here. Ids are unique. */
export interface Configuration {
  readonly properties: Settings
  readonly resourceDefaults: Settings
  readonly nodes: readonly ClusterNode[]
  readonly resources: readonly Resource[]
  readonly constraints: readonly Constraint[]
  readonly fencingLevels: readonly FencingLevel[]
}

/** Options by name; the CIB holds text. */
export type Settings = Readonly<Record<string, string | number | boolean>>

export interface ClusterNode {
  readonly id: number
  readonly name: string
  /** Node attributes that rules ask. */
  readonly attributes: Settings
}

export type Resource = Primitive | Clone

export interface Primitive {
  readonly kind: 'primitive'
  readonly id: string
  /** `ocf:heartbeat:IPaddr2`, `systemd:milepost-distribute`, `stonith:fence_ipmilan`. */
  readonly agent: string
  readonly parameters: Settings
  readonly meta?: Settings
  readonly operations: readonly Operation[]
}

export interface Operation {
  readonly name: 'start' | 'stop' | 'monitor' | 'promote' | 'demote'
  /** 0: not repeated. */
  readonly interval_s: number
  readonly timeout_s: number
  /** A promotable clone is monitored apart in either role; the intervals must differ. */
  readonly role?: 'Promoted' | 'Unpromoted'
}

/** A copy on several nodes. */
export interface Clone {
  readonly kind: 'clone'
  readonly id: string
  readonly of: Primitive
  readonly meta: Settings
}

export type Constraint = Location | Colocation | Order

/** Where a resource would rather run, or must not. */
export interface Location {
  readonly kind: 'location'
  readonly id: string
  readonly resource: string
  /** The role meant of a promotable clone. */
  readonly role?: 'Promoted'
  readonly score: Score
  /** A node, or the nodes whose attributes fit all conditions. */
  readonly where: { readonly node: string } | { readonly all: readonly Condition[] }
  /** `never`: the nodes meant are not even asked whether it runs there. */
  readonly discovery?: 'never'
}

export interface Condition {
  readonly attribute: string
  readonly is: 'eq' | 'ne' | 'gt'
  readonly value: string | number
}

/** `resource` runs where `with` runs. A finite score is a wish. */
export interface Colocation {
  readonly kind: 'colocation'
  readonly id: string
  readonly resource: string
  readonly role?: 'Promoted'
  readonly with: string
  readonly withRole?: 'Promoted'
  readonly score: Score
  /** Where `resource` would rather be says where `with` goes, too. */
  readonly influence: boolean
}

/** `first` before `then`. Optional: only when both happen to be due. */
export interface Order {
  readonly kind: 'order'
  readonly id: string
  readonly first: string
  readonly firstAction: 'start' | 'promote'
  readonly then: string
  readonly thenAction: 'start' | 'promote'
  readonly optional?: boolean
}

export interface FencingLevel {
  readonly node: string
  readonly level: number
  readonly devices: readonly string[]
}

export type Score = number | 'INFINITY' | '-INFINITY'
