import type {
  Condition,
  Configuration,
  Constraint,
  Location,
  Operation,
  Primitive,
  Resource,
  Settings,
} from './configuration.ts'
import type { ClusterInput } from './input.ts'
import { configurationOf } from './resources.ts'
import { type Element, element, write } from './xml.ts'

/** The schema that Debian 12's Pacemaker 2.1.5 validates with. */
const schema = 'pacemaker-3.9'

/** The CIB of a site's cluster, as one XML document without status. The same input gives the same bytes. */
export const cibXml = (input: ClusterInput): string => write(cibOf(configurationOf(input)))

export function cibOf(configuration: Configuration): Element {
  const { properties, nodes, resources, constraints, fencingLevels, resourceDefaults } = configuration
  const version = { crm_feature_set: '3.16.1', 'validate-with': schema, epoch: 1, num_updates: 0, admin_epoch: 0 }
  return element('cib', version, [
    element('configuration', {}, [
      element('crm_config', {}, settings('cluster_property_set', 'cib-bootstrap-options', properties)),
      element('nodes', {}, nodes.map(nodeElement)),
      element('resources', {}, resources.map(resourceElement)),
      element('constraints', {}, constraints.map(constraintElement)),
      ...(fencingLevels.length === 0 ? [] : [element('fencing-topology', {}, fencingLevels.map(levelElement))]),
      element('rsc_defaults', {}, settings('meta_attributes', 'rsc-options', resourceDefaults)),
    ]),
    element('status', {}),
  ])
}

/** A set of name-value pairs; none when there is nothing to set. */
function settings(name: string, id: string, values: Settings): Element[] {
  const pairs = Object.entries(values)
  if (pairs.length === 0) return []
  return [
    element(
      name,
      { id },
      pairs.map(([key, value]) => element('nvpair', { id: `${id}-${key}`, name: key, value })),
    ),
  ]
}

const nodeElement = ({ id, name, attributes }: Configuration['nodes'][number]): Element =>
  element('node', { id, uname: name }, settings('instance_attributes', `nodes-${id}`, attributes))

function resourceElement(resource: Resource): Element {
  if (resource.kind === 'primitive') return primitiveElement(resource)
  const meta = settings('meta_attributes', `${resource.id}-meta_attributes`, resource.meta)
  return element('clone', { id: resource.id }, [...meta, primitiveElement(resource.of)])
}

function primitiveElement({ id, agent, parameters, meta = {}, operations }: Primitive): Element {
  const parts = agent.split(':')
  const [standard, type] = [parts[0]!, parts.at(-1)!]
  const provider = parts.length === 3 ? { provider: parts[1]! } : {}
  return element('primitive', { id, class: standard, ...provider, type }, [
    ...settings('instance_attributes', `${id}-instance_attributes`, parameters),
    ...settings('meta_attributes', `${id}-meta_attributes`, meta),
    element(
      'operations',
      {},
      operations.map((operation) => operationElement(id, operation)),
    ),
  ])
}

const operationElement = (resource: string, { name, interval_s, timeout_s, role }: Operation): Element =>
  element('op', {
    id: `${resource}-${name}-${interval_s}s`,
    name,
    interval: `${interval_s}s`,
    timeout: `${timeout_s}s`,
    ...(role ? { role } : {}),
  })

function constraintElement(constraint: Constraint): Element {
  const { id } = constraint
  if (constraint.kind === 'location') return locationElement(constraint)
  if (constraint.kind === 'order') {
    const { first, firstAction, then, thenAction, optional } = constraint
    const kind = optional ? 'Optional' : 'Mandatory'
    return element('rsc_order', { id, first, 'first-action': firstAction, then, 'then-action': thenAction, kind })
  }
  const { resource, role, with: other, withRole, score, influence } = constraint
  return element('rsc_colocation', {
    id,
    rsc: resource,
    ...(role ? { 'rsc-role': role } : {}),
    'with-rsc': other,
    ...(withRole ? { 'with-rsc-role': withRole } : {}),
    score,
    influence,
  })
}

function locationElement({ id, resource, role, score, where, discovery }: Location): Element {
  const attributes = { id, rsc: resource, ...(discovery ? { 'resource-discovery': discovery } : {}) }
  if ('node' in where) return element('rsc_location', { ...attributes, node: where.node, score })
  const rule = { id: `${id}-rule`, score, 'boolean-op': 'and', ...(role ? { role } : {}) }
  const conditions = where.all.map((condition, index) => conditionElement(`${id}-rule-${index + 1}`, condition))
  return element('rsc_location', attributes, [element('rule', rule, conditions)])
}

const conditionElement = (id: string, { attribute, is, value }: Condition): Element =>
  element('expression', { id, attribute, operation: is, value, type: typeof value === 'number' ? 'number' : 'string' })

const levelElement = ({ node, level, devices }: Configuration['fencingLevels'][number]): Element =>
  element('fencing-level', { id: `fencing-${node}-${level}`, target: node, index: level, devices: devices.join(',') })
