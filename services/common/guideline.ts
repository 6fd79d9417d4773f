/** Departures of a service's OpenAPI document from the REST guidelines, each in words; empty: none. */
export function departures(document: unknown): string[] {
  const found: string[] = []
  const { paths = {} } = document as { paths?: Record<string, Record<string, Operation>> }
  for (const [path, methods] of Object.entries(paths)) {
    const parts = path.split('/').slice(1)
    // /{system}/{collection}/{selector}/{sub-collection}/{selector}
    for (const [i, part] of parts.entries()) {
      const parameter = /^\{(\w+)\}$/.test(part)
      if (i < 2 || i === 3 ? parameter : !parameter)
        found.push(`${path}: "${part}" stands where a ${i < 2 || i === 3 ? 'name' : 'selector'} belongs`)
      if (!parameter && !/^[a-z]+(_[a-z]+)*$/.test(part)) found.push(`${path}: "${part}" is not lower case`)
      if (!parameter && i > 0 && !part.endsWith('s') && part !== 'telemetry')
        found.push(`${path}: "${part}" is not a collection, which is a plural`)
    }
    for (const [method, operation] of Object.entries(methods)) {
      const at = `${method.toUpperCase()} ${path}`
      const body = operation.requestBody?.content?.['application/json']?.schema
      if (!['get', 'post', 'put', 'delete'].includes(method)) found.push(`${at}: no such method`)
      if (!operation.summary) found.push(`${at}: has no summary`)
      if ((method === 'get' || method === 'delete') && body) found.push(`${at}: takes a body`)
      if (method === 'post' && body?.type !== 'array') found.push(`${at}: the body is no array of objects`)
      if (method === 'put' && body?.type !== 'object') found.push(`${at}: the body is no object of fields`)
      const fields = method === 'post' ? body?.items : method === 'put' ? body : undefined
      if (fields && fields.additionalProperties !== false && !operation.description?.includes('free fields'))
        found.push(`${at}: unknown fields are not refused`)
      for (const { name } of operation.parameters ?? [])
        if (!/^[a-z]+(_[a-z]+)*$/.test(name)) found.push(`${at}: parameter "${name}" is not lower case`)
    }
  }
  return found
}

interface Schema {
  type?: string
  items?: Schema
  additionalProperties?: unknown
}

interface Operation {
  summary?: string
  description?: string
  parameters?: { name: string }[]
  requestBody?: { content?: Record<string, { schema?: Schema }> }
}
