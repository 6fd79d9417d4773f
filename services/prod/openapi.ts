import type { Api } from '#services/common/api.ts'

/** Between two looks at the systems' documents. */
const fresh_ms = 10_000
const answer_time_max_ms = 1_000

interface Document {
  paths?: Record<string, unknown>
}

/** `/openapi.json` tells of all systems that answer, not of this process alone. */
export function addOpenApi(app: Api, upstreams: Record<string, string>): void {
  let merged: Promise<Document> | undefined
  let until = 0

  async function merge(): Promise<Document> {
    const documents = await Promise.all(
      Object.entries(upstreams).map(async ([system, url]) => {
        try {
          const answer = await fetch(`${url}/openapi.json`, { signal: AbortSignal.timeout(answer_time_max_ms) })
          const { paths = {} } = (await answer.json()) as Document
          return Object.entries(paths).filter(([path]) => path.startsWith(`/${system}/`))
        } catch {
          // A system that is away is left out until it is back.
          return []
        }
      }),
    )
    const own = app.swagger() as Document
    return { ...own, paths: { ...own.paths, ...Object.fromEntries(documents.flat()) } }
  }

  app.addHook('preHandler', async (request, reply) => {
    if (request.routeOptions.url !== '/openapi.json') return
    if (!merged || until < Date.now()) {
      merged = merge()
      until = Date.now() + fresh_ms
    }
    return reply.send(await merged)
  })
}
