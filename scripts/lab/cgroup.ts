/** A control group for each of the laboratory's servers. */
import { groupsOf } from './groups.ts'
import { groupName } from './paths.ts'

export const { grouped, groupNames, processesOf, setFrozen, memory_bytes, removeGroup } = groupsOf(groupName)
