/** What crm_simulate answers, read: actions in words, places of resources, the transition graph. */
import type { Document, Element } from '@xmldom/xmldom'
import type { Place, Running } from './scheduler.ts'
import { elementsOf } from './state.ts'

/** The scheduler's actions, one a line: `fence gw1 (reboot)`, `move address-external gw1 → gw2`, `start rules on gw1`. */
export function actionsOf(result: Document): string[] {
  const list = elementsOf(result, 'actions')[0]
  return list ? childrenOf(list).map(told) : []
}

function told(action: Element): string {
  const value = (name: string) => action.getAttribute(name) ?? ''
  if (action.tagName === 'node_action') {
    const task = value('task').toLowerCase()
    return task.startsWith('fence')
      ? `fence ${value('node')} ${task.replace('fence ', '')}`
      : `${task} ${value('node')}`
  }
  const resource = value('resource').replace(/:\d+$/, '')
  const where = value('dest') ? `${value('source')} → ${value('dest')}` : `on ${value('node') || value('source')}`
  return `${value('action')} ${resource} ${where}`
}

/** Where everything but the fencing devices runs at the end. */
export function runningOf(result: Document): Running {
  const status = elementsOf(result, 'revised_cluster_status')[0] ?? elementsOf(result, 'cluster_status')[0]!
  const running: Record<string, Place[]> = {}
  for (const resource of elementsOf(status, 'resource')) {
    const id = resource.getAttribute('id')!.replace(/:\d+$/, '')
    if (resource.getAttribute('resource_agent')!.startsWith('stonith:')) continue
    const places = (running[id] ??= [])
    const role = resource.getAttribute('role') as Place['role'] | 'Stopped'
    if (role === 'Stopped') continue
    for (const node of childrenOf(resource)) places.push({ node: node.getAttribute('name')!, role })
  }
  for (const places of Object.values(running)) places.sort((a, b) => (a.node < b.node ? -1 : 1))
  return running
}

/**
 * The transition carried out while the fencing of some nodes fails: an action runs when all it waits for has run.
 * crm_simulate itself knows only fencing that succeeds.
 */
export function withoutFencing(graph: Document, unfenceable: readonly string[], before: Running) {
  const steps = elementsOf(graph, 'synapse').map((synapse) => ({
    action: childrenOf(elementsOf(synapse, 'action_set')[0]!)[0]!,
    after: elementsOf(synapse, 'trigger').map((trigger) => childrenOf(trigger)[0]!.getAttribute('id')!),
  }))
  const done = new Set<string>()
  const fenced: string[] = []
  const actions = unfenceable.map((node) => `fail to fence ${node}`)
  const running: Record<string, Place[]> = structuredClone(before) as Record<string, Place[]>
  for (let progress = true; progress; ) {
    progress = false
    for (const { action, after } of steps) {
      const id = action.getAttribute('id')!
      const node = action.getAttribute('on_node') ?? ''
      if (done.has(id) || !after.every((one) => done.has(one))) continue
      if (action.tagName === 'crm_event' && action.getAttribute('operation') === 'stonith') {
        if (unfenceable.includes(node)) continue
        fenced.push(node)
        actions.push(`fence ${node}`)
        for (const places of Object.values(running)) remove(places, node)
      }
      if (action.tagName === 'rsc_op') actions.push(...carryOut(action, node, running))
      done.add(id)
      progress = true
    }
  }
  return { fenced, actions, running: running as Running }
}

/** Does it to what runs, and says it when it is more than a check. */
function carryOut(action: Element, node: string, running: Record<string, Place[]>): string[] {
  const operation = action.getAttribute('operation') ?? ''
  if (!['start', 'stop', 'promote', 'demote'].includes(operation)) return []
  const resource = elementsOf(action, 'primitive')[0]!.getAttribute('id')!.replace(/:\d+$/, '')
  const places = running[resource]
  if (places) {
    remove(places, node)
    const role = ({ start: 'Started', promote: 'Promoted', demote: 'Unpromoted' } as const)[operation]
    if (role) places.push({ node, role })
  }
  return [`${operation} ${resource} on ${node}`]
}

const remove = (places: Place[], node: string) =>
  places.splice(0, places.length, ...places.filter((one) => one.node !== node))
const childrenOf = (element: Element): Element[] =>
  [...element.childNodes].filter((node): node is Element => node.nodeType === 1)
