/** The CIB of a cluster in some state, made from its configuration: what crm_simulate starts from. */
import { DOMParser, type Document, type Element, XMLSerializer } from '@xmldom/xmldom'
import { cibXml } from '../cib.ts'
import type { ClusterInput } from '../input.ts'
import { routerSeen } from '../resources.ts'
import type { Faults } from './scheduler.ts'

/** Promotion score that the agent of the connections sets, promoted or not. */
const promotion_score = 100

export const parse = (xml: string): Document => new DOMParser().parseFromString(xml, 'text/xml')
export const elementsOf = (from: Document | Element, name: string): Element[] => [...from.getElementsByTagName(name)]

/** All nodes there, nothing started yet, both gateways see the router. */
export function onlineCib(input: ClusterInput): string {
  const document = parse(cibXml(input))
  document.documentElement!.setAttribute('have-quorum', '1')
  document.documentElement!.setAttribute('dc-uuid', String(input.cluster.nodes[0]!.id))
  const status = elementsOf(document, 'status')[0]!
  for (const { id, name } of input.cluster.nodes) {
    const attributes = {
      id: String(id),
      uname: name,
      in_ccm: 'true',
      crmd: 'online',
      join: 'member',
      expected: 'member',
    }
    const state = append(status, 'node_state', attributes)
    append(append(state, 'lrm', { id: String(id) }), 'lrm_resources', {})
  }
  for (const { name, role } of input.cluster.nodes)
    if (role === 'gateway') {
      setAttribute(document, name, 'master-connections', promotion_score)
      setAttribute(document, name, routerSeen, 1)
    }
  return serialize(document)
}

/** The CIB with those faults that are settings or attributes; crm_simulate itself makes the others. */
export function faultyCib(cib: string, { cluster: { nodes } }: ClusterInput, faults: Faults): string {
  const { standby = [], blind = [], maintenance, disabled = [], lost = [], left = [] } = faults
  const document = parse(cib)
  // Who is left has chosen a DC. (The scheduler fences the DC last, after all others.)
  const there = nodes.find(({ name }) => !lost.includes(name) && !left.includes(name))
  if (there) document.documentElement!.setAttribute('dc-uuid', String(there.id))
  for (const gateway of blind) setAttribute(document, gateway, routerSeen, 0)
  for (const name of standby) {
    const node = elementsOf(document, 'node').find((one) => one.getAttribute('uname') === name)!
    setPair(elementsOf(node, 'instance_attributes')[0]!, 'standby', 'on')
  }
  if (maintenance) setPair(elementsOf(document, 'cluster_property_set')[0]!, 'maintenance-mode', 'true')
  for (const id of disabled) {
    const resource = byId(elementsOf(document, 'resources')[0]!, id)
    const meta = elementsOf(resource, 'meta_attributes').find((one) => one.parentNode === resource)
    const settings = meta ?? append(resource, 'meta_attributes', { id: `${id}-meta_attributes` })
    resource.insertBefore(settings, resource.firstChild)
    setPair(settings, 'target-role', 'Stopped')
  }
  return serialize(document)
}

/** One failed start bans the resource from the node, as the controller does it; crm_simulate counts only one more failure. */
export const failedStartIsFatal = (cib: string): string =>
  cib.replace(/(name="fail-count-[^"]+#start_0" value=)"\d+"/g, '$1"INFINITY"')

const serialize = (document: Document) => new XMLSerializer().serializeToString(document)

function byId(from: Element, id: string): Element {
  const found = [...from.getElementsByTagName('*')].find((one) => one.getAttribute('id') === id)
  if (!found) throw new Error(`there is no resource "${id}"`)
  return found
}

/** A node attribute that lasts until the node's next start. */
function setAttribute(document: Document, node: string, name: string, value: number): void {
  const state = elementsOf(document, 'node_state').find((one) => one.getAttribute('uname') === node)!
  const id = state.getAttribute('id')!
  const transient = elementsOf(state, 'transient_attributes')[0] ?? append(state, 'transient_attributes', { id })
  const set =
    elementsOf(transient, 'instance_attributes')[0] ?? append(transient, 'instance_attributes', { id: `status-${id}` })
  setPair(set, name, String(value))
}

function setPair(set: Element, name: string, value: string): void {
  const pair = elementsOf(set, 'nvpair').find((one) => one.getAttribute('name') === name)
  if (pair) pair.setAttribute('value', value)
  else append(set, 'nvpair', { id: `${set.getAttribute('id')}-${name}`, name, value })
}

function append(parent: Element, name: string, attributes: Readonly<Record<string, string>>): Element {
  const made = parent.ownerDocument!.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  return parent.appendChild(made) as Element
}
