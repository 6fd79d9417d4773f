/** The laboratory's network namespaces. */
import { grouped } from './cgroup.ts'
import { namespacesOf } from './namespaces.ts'
import { namespacePrefix } from './paths.ts'

export { at_once } from './namespaces.ts'
export const { ip, tryIp, inside, addNamespace, removeNamespace, namespaces } = namespacesOf(namespacePrefix, grouped)
