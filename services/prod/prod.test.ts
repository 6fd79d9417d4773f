import { createHash, randomUUID } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import { join } from 'node:path'
import test from 'ava'
import { departures } from '#services/common/guideline.ts'
import {
  freePort,
  startPostgres,
  startProcess,
  type TestPostgres,
  type TestProcess,
  temporaryFolder,
  until,
} from '#services/common/testing.ts'

const folder = temporaryFolder()
const secret = 'root-token-of-this-test'
const sha256 = createHash('sha256').update(secret).digest('hex')
const all = [{ system: '*', collection: '*' }]

let postgres: TestPostgres
let prod: TestProcess
let upstream: Server
let port = 0
let endStream = () => {}
/** What reached the upstream. */
const seen: { method: string; url: string; headers: IncomingHttpHeaders; body: string }[] = []

const config = async () => ({
  data: join(folder.path, 'prod'),
  port,
  postgres: postgres.config,
  options: { bootstrap_token_sha256: sha256 },
  urls: {
    prod: '',
    tgctl: `http://127.0.0.1:${(upstream.address() as { port: number }).port}`,
    mdb: `http://127.0.0.1:${await freePort()}`,
    admin: `http://127.0.0.1:${(upstream.address() as { port: number }).port}`,
    mbus: '',
    tg: [],
  },
})

test.before(async () => {
  postgres = await startPostgres()
  upstream = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => (body += chunk))
    request.on('end', () => {
      seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body })
      if (request.url?.startsWith('/gw/slow')) return void setTimeout(() => response.end('{"result":[{"id":9}]}'), 300)
      if (request.url?.startsWith('/gw/busy')) return void response.writeHead(503).end('{"result":[]}')
      if (request.url?.startsWith('/gw/stream')) {
        response.writeHead(200, {
          'content-type': 'application/x-ndjson',
          connection: 'keep-alive, x-secret',
          'x-secret': '1',
        })
        response.write('{"n":1}\n')
        endStream = () => response.end('{"n":2}\n')
        return
      }
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"result":[]}')
    })
  })
  await new Promise<void>((done) => upstream.listen(0, '127.0.0.1', done))
  port = await freePort()
  prod = await startProcess('services/prod/prod.ts', await config())
})

test.after.always(async () => {
  await prod?.stop()
  upstream?.close()
  await postgres?.stop()
  folder.remove()
})

interface Reply {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
  result: any[]
  errors?: { code: number; reason: string }[]
  headers: Headers
}

async function rest(method: string, path: string, body?: unknown, token = secret, headers = {}): Promise<Reply> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: response.status, headers: response.headers, ...((await response.json()) as { result: never[] }) }
}

async function account(limits = {}, acl: object[] = all): Promise<{ id: number; token: string; tokenId: number }> {
  const made = await rest('POST', '/platform/accounts', [{ name: randomUUID(), limits }])
  const token = await rest('POST', '/platform/tokens', [{ name: 't', account_id: made.result[0].id, acl }])
  return { id: made.result[0].id, token: token.result[0].token, tokenId: token.result[0].id }
}

test('the bootstrap token is of account 1 and is shown nowhere', async (t) => {
  const { status, result } = await rest('GET', '/platform/tokens/current')
  t.is(status, 200)
  t.like(result[0], { account_id: 1, name: 'bootstrap', expires: null })
  t.false('token' in result[0] || 'hash' in result[0])
})

test('unknown and expired tokens are refused with the reason', async (t) => {
  t.is((await rest('GET', '/platform/accounts/all', undefined, 'nobody')).status, 401)
  const made = await rest('POST', '/platform/tokens', [{ name: 'short', acl: all, expires: Date.now() / 1000 + 1 }])
  const { token } = made.result[0]
  t.is((await rest('GET', '/platform/tokens/current', undefined, token)).status, 200)
  await until('it expires', async () => {
    const { status, errors } = await rest('GET', '/platform/tokens/current', undefined, token)
    return status === 401 && /expired/.test(errors?.[0]?.reason ?? '')
  })
  t.pass()
})

test('a call is forwarded with account, limits and request id; what the client claims is dropped', async (t) => {
  const a = await account({ channels: 3, devices: 50 })
  const id = randomUUID()
  const answer = await rest('POST', `/gw/channels?x=${id}`, [{ name: 'c' }], a.token, {
    'x-milepost-account': '1',
    'x-milepost-limits': 'channels=1000',
    'x-request-id': id,
  })
  t.is(answer.status, 200)
  t.is(answer.headers.get('x-request-id'), id)
  const call = seen.find((one) => one.url.includes(id))
  t.is(call?.headers['x-milepost-account'], String(a.id))
  t.is(call?.headers['x-milepost-limits'], 'devices=50,channels=3')
  t.is(call?.headers['x-request-id'], id)
  t.is(call?.headers.authorization, 'Bearer internal')
  t.is(call?.body, '[{"name":"c"}]')
})

test('the ACL is checked before anything is forwarded', async (t) => {
  const a = await account({}, [
    { system: 'gw', collection: 'channels', methods: ['GET'], ids: [1, 2] },
    { system: 'gw', collection: 'devices/messages', methods: ['GET'] },
  ])
  const get = async (path: string, method = 'GET') => (await rest(method, path, undefined, a.token)).status
  t.is(await get('/gw/channels/1,2'), 200)
  t.is(await get('/gw/channels/1/messages?count=5'), 200)
  t.is(await get('/gw/channels/%31'), 200)
  t.is(await get('/gw/devices/all/messages'), 200)
  for (const path of ['/gw/channels/1,3', '/gw/channels/all', '/gw/channels', '/gw/devices/all', '/mdb/containers/1']) {
    t.is(await get(path), 403, path)
  }
  t.is(await get('/gw/channels/1', 'DELETE'), 403)
  t.is(await get('/gw//channels/3'), 400)
  t.is(await get('/gw/channels/%zz'), 400)
  const { errors } = await rest('GET', '/gw/channels/3', undefined, a.token)
  t.regex(errors?.[0]?.reason ?? '', /gw, collection channels, GET, items 3/)
})

test('only the root account reaches ADMIN', async (t) => {
  const a = await account()
  t.is((await rest('GET', '/admin/processes/all', undefined, a.token)).status, 403)
  t.is((await rest('GET', '/admin/processes/all')).status, 200)
})

test('accounts see themselves and what is below them', async (t) => {
  const a = await account()
  const b = await account()
  const child = await rest('POST', '/platform/accounts', [{ name: 'child' }], a.token)
  t.is(child.result[0].parent_id, a.id)
  const { result } = await rest('GET', '/platform/accounts/all?fields=id', undefined, a.token)
  t.deepEqual(
    result.map((one) => one.id),
    [a.id, child.result[0].id],
  )
  t.is((await rest('GET', `/platform/accounts/${b.id}`, undefined, a.token)).status, 404)
  t.is((await rest('GET', `/platform/tokens/${b.tokenId}`, undefined, a.token)).status, 404)
  t.is((await rest('POST', '/platform/tokens', [{ name: 'x', account_id: 1, acl: all }], a.token)).status, 404)
  t.is((await rest('DELETE', `/platform/accounts/${a.id}`)).status, 409)
  t.is((await rest('DELETE', `/platform/accounts/${a.id},${child.result[0].id}`)).status, 200)
  t.is((await rest('GET', '/platform/tokens/current', undefined, a.token)).status, 401)
})

test('a token grants no more than the one that makes it, and a child no more than its parent', async (t) => {
  const own = [
    { system: 'platform', collection: '*' },
    { system: 'gw', collection: 'channels', ids: [1] },
  ]
  const a = await account({ devices: 10 }, own)
  const post = async (acl: object[], more = {}) =>
    (await rest('POST', '/platform/tokens', [{ name: 'x', acl, ...more }], a.token)).status
  t.is(await post([{ system: 'gw', collection: 'channels', ids: [1], methods: ['GET'] }]), 200)
  t.is(await post([{ system: 'gw', collection: 'channels/messages', ids: [1] }]), 200)
  t.is(await post([{ system: 'gw', collection: 'channels' }]), 403)
  t.is(await post(all), 403)
  t.is((await rest('PUT', '/platform/tokens/current', { acl: all }, a.token)).status, 403)
  t.is((await rest('POST', '/platform/accounts', [{ name: 'x', limits: { devices: 11 } }], a.token)).status, 403)
  const child = await rest('POST', '/platform/accounts', [{ name: 'y' }], a.token)
  t.deepEqual(child.result[0].limits, { devices: 10 })
  t.is((await rest('PUT', `/platform/accounts/${a.id}`, { limits: {} }, a.token)).status, 403)
})

test('a withdrawn token and a blocked account are refused at once', async (t) => {
  const a = await account()
  t.is((await rest('GET', '/gw/channels/all', undefined, a.token)).status, 200)
  t.is((await rest('PUT', `/platform/accounts/${a.id}`, { blocked: true })).status, 200)
  t.is((await rest('GET', '/gw/channels/all', undefined, a.token)).status, 403)
  t.is((await rest('PUT', `/platform/accounts/${a.id}`, { blocked: false })).status, 200)
  t.is((await rest('GET', '/gw/channels/all', undefined, a.token)).status, 200)
  t.is((await rest('DELETE', `/platform/tokens/${a.tokenId}`)).status, 200)
  t.is((await rest('GET', '/gw/channels/all', undefined, a.token)).status, 401)
})

test('limits answer 429 and say when to come again', async (t) => {
  const a = await account({ requests_per_minute: 3, tokens: 1 })
  const statuses: number[] = []
  for (let i = 0; i < 5; i++) statuses.push((await rest('GET', '/gw/channels/all', undefined, a.token)).status)
  // A new minute may begin in between; then one more passes.
  t.true(statuses.includes(429))
  t.is(statuses[0], 200)
  const { status, headers } = await rest('POST', '/platform/tokens', [{ name: 'two', account_id: a.id, acl: all }])
  t.is(status, 429)
  t.truthy(headers.get('retry-after'))
})

test('a POST with an Idempotency-Key is done once', async (t) => {
  const a = await account()
  const key = { 'idempotency-key': randomUUID() }
  const url = `/gw/channels?k=${key['idempotency-key']}`
  const first = await rest('POST', url, [{ name: 'once' }], a.token, key)
  const second = await rest('POST', url, [{ name: 'once' }], a.token, key)
  t.is(first.status, 200)
  t.is(second.headers.get('idempotent-replayed'), 'true')
  t.is(seen.filter((one) => one.url === url).length, 1)
  t.is((await rest('POST', url, [{ name: 'other' }], a.token, key)).status, 409)
  // Another account's key of the same name is another key.
  t.is((await rest('POST', url, [{ name: 'once' }], secret, key)).headers.get('idempotent-replayed'), null)
  // The platform's own collections too: the secret comes again.
  const body = [{ name: 'k', acl: all }]
  const made = await rest('POST', '/platform/tokens', body, a.token, key)
  const again = await rest('POST', '/platform/tokens', body, a.token, key)
  t.is(made.result[0].token, again.result[0].token)
  // What failed is tried again.
  await rest('POST', '/gw/busy', [], a.token, key)
  t.is((await rest('POST', '/gw/busy', [], a.token, key)).headers.get('idempotent-replayed'), null)
})

test('a client that breaks off and repeats gets the answer of the work that went on', async (t) => {
  const key = { 'idempotency-key': randomUUID() }
  const url = `/gw/slow?k=${key['idempotency-key']}`
  const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/json', ...key }
  await t.throwsAsync(
    fetch(`http://127.0.0.1:${port}${url}`, { method: 'POST', headers, body: '[]', signal: AbortSignal.timeout(100) }),
  )
  t.is((await rest('POST', url, [], secret, key)).status, 409)
  await until('the first is done', async () => (await rest('POST', url, [], secret, key)).status === 200)
  t.is(seen.filter((one) => one.url === url).length, 1)
})

test('answers stream, without the headers of the connection', async (t) => {
  const response = await fetch(`http://127.0.0.1:${port}/gw/stream`, { headers: { authorization: `Bearer ${secret}` } })
  const reader = response.body!.getReader()
  const first = await reader.read()
  t.is(Buffer.from(first.value ?? []).toString(), '{"n":1}\n')
  endStream()
  const second = await reader.read()
  t.is(Buffer.from(second.value ?? []).toString(), '{"n":2}\n')
  t.is(response.headers.get('x-secret'), null)
})

test('a system that is away answers 503, a body too large 413', async (t) => {
  const away = await rest('GET', '/mdb/containers/all')
  t.is(away.status, 503)
  t.is(away.headers.get('retry-after'), '1')
  t.regex(away.errors?.[0]?.reason ?? '', /mdb does not answer/)
  const large = Buffer.alloc(33 * 1024 * 1024, ' ')
  const response = await fetch(`http://127.0.0.1:${port}/gw/channels`, {
    method: 'POST',
    headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
    body: large,
  }).catch(() => undefined)
  // The refusal may overtake the body: then the client sees a cut connection.
  if (response) t.is(response.status, 413)
  t.is((await rest('GET', '/gw/channels/all')).status, 200)
})

test('services read the platform with the internal token, and nothing else', async (t) => {
  t.is((await rest('GET', '/platform/accounts/all', undefined, 'internal')).status, 200)
  t.is((await rest('GET', '/gw/channels/all', undefined, 'internal')).status, 403)
  t.is((await rest('POST', '/platform/tokens', [{ name: 'x', acl: all }], 'internal')).status, 403)
})

test('mistakes are refused by name', async (t) => {
  const unknown = await rest('POST', '/platform/accounts', [{ nome: 'x' }])
  t.is(unknown.status, 400)
  const { status, errors } = await rest('POST', '/platform/tokens', [{ name: 'x', acl: all, extra: 1 }])
  t.is(status, 400)
  t.regex(errors?.[0]?.reason ?? '', /unknown field "extra"/)
  t.is((await rest('GET', '/nowhere/at/all')).status, 404)
  t.is((await rest('GET', '/platform/accounts/999999')).status, 404)
})

test('the index and the document need no token', async (t) => {
  const index = await fetch(`http://127.0.0.1:${port}/`)
  t.is(index.status, 200)
  const document = (await (await fetch(`http://127.0.0.1:${port}/openapi.json`)).json()) as { paths: object }
  t.true('/platform/tokens/{selector}' in document.paths)
  t.deepEqual(departures(document), [])
})

test.serial('utilisation survives a clean stop: each request is counted once', async (t) => {
  const a = await account()
  const statuses = await Promise.all(
    Array.from({ length: 40 }, () => rest('GET', '/gw/channels/all', undefined, a.token)),
  )
  t.true(statuses.every(({ status }) => status === 200))
  await prod.stop()
  prod = await startProcess('services/prod/prod.ts', await config())
  const { result } = await rest('GET', `/platform/counters/account_id=${a.id}`)
  t.is(
    result.reduce((sum, one) => sum + one.requests, 0),
    40,
  )
  t.true(result[0].bytes_in > 40 * 50)
  t.true(result[0].bytes_out > 40 * 50)
})
