/** The account that owns the others; owner of what an internal caller makes; it alone reaches ADMIN. */
export const root_account = 1

/** One grant of a token: default deny, a rule allows. `*` stands for all. */
export interface AclRule {
  system: string
  collection: string
  /** GET, POST, PUT, DELETE; absent: all. */
  methods?: string[]
  /** Only these items; absent: all. */
  ids?: number[]
}

export interface Access {
  system: string
  collection: string
  method: string
  /** The items asked for; undefined: any of the collection (`all`, a condition, a new one). */
  ids?: number[] | undefined
}

const covers = (granted: string, wanted: string) => granted === '*' || granted === wanted

/** Whether one rule of the list allows the whole access. */
export function allows(acl: readonly AclRule[], access: Access): boolean {
  return acl.some((rule) => {
    if (!covers(rule.system, access.system) || !covers(rule.collection, access.collection)) return false
    if (rule.methods && !rule.methods.includes(access.method)) return false
    const { ids } = rule
    return ids === undefined || (access.ids?.every((id) => ids.includes(id)) ?? false)
  })
}

/** Whether `inner` grants nothing that `outer` does not. */
export function within(inner: readonly AclRule[], outer: readonly AclRule[]): boolean {
  const methods = ['GET', 'POST', 'PUT', 'DELETE']
  return inner.every((rule) =>
    (rule.methods ?? methods).every((method) =>
      outer.some(
        (o) =>
          covers(o.system, rule.system) &&
          covers(o.collection, rule.collection) &&
          (!o.methods || o.methods.includes(method)) &&
          (!o.ids || (rule.ids?.every((id) => o.ids?.includes(id)) ?? false)),
      ),
    ),
  )
}
