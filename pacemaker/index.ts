/** What the rest of the tree uses of the cluster's model: the files that follow from a site's plan. */
export { cibXml } from './cib.ts'
export { corosyncConf } from './corosync.ts'
export type { ClusterInput } from './input.ts'
