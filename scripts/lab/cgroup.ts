/** A control group for each of the laboratory's servers. */
import { groupsOf } from './groups.ts'
import { groupName } from './paths.ts'

export const groups = groupsOf(groupName)
export const { grouped, processesOf, setFrozen, memory_bytes } = groups
