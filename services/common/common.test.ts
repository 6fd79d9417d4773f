import test from 'ava'
import { pino } from 'pino'
import { createApi, eachItem, envelope, pickFields } from './api.ts'
import { topicMatches } from './bus.ts'
import { call } from './client.ts'
import { Db } from './db.ts'
import { ApiError } from './errors.ts'
import { departures } from './guideline.ts'
import { matches, missingIds, parseSelector, toSql } from './selector.ts'
import { startPostgres } from './testing.ts'

const log = pino({ level: 'silent' })

test('selectors: all, ids, conditions', (t) => {
  t.deepEqual(parseSelector('all'), { kind: 'all' })
  t.deepEqual(parseSelector('1,2,2'), { kind: 'ids', ids: [1, 2] })
  t.deepEqual(toSql(parseSelector('name=tr_ck*,id>10'), ['name', 'id'], 1), {
    where: '"name"::text like $2 and "id"::numeric > $3::numeric',
    values: ['tr\\_ck%', '10'],
  })
  t.true(matches(parseSelector('name=truck*'), { name: 'truck 7' }, ['name']))
  t.false(matches(parseSelector('name=truck?'), { name: 'truck 77' }, ['name']))
  t.deepEqual(missingIds(parseSelector('1,2,3'), [1, 3]), [2])
  t.throws(() => parseSelector('first'), { message: /expected all, ids/ })
  t.throws(() => toSql(parseSelector('password=x'), ['name']), {
    message: /no field "password"; fields are name/,
  })
})

test('topic filters match as MQTT says', (t) => {
  t.true(topicMatches('a/+/c', 'a/b/c'))
  t.true(topicMatches('a/#', 'a/b/c'))
  t.true(topicMatches('a/#', 'a'))
  t.false(topicMatches('a/+', 'a/b/c'))
})

async function sample() {
  const app = await createApi({
    system: 'sample',
    title: 'Sample',
    log,
    internalToken: 'secret',
  })
  app.post<{ Body: { name: string }[] }>(
    '/sample/things',
    {
      schema: {
        body: {
          type: 'array',
          items: {
            type: 'object',
            required: ['name'],
            additionalProperties: false,
            properties: { name: { type: 'string' } },
          },
        },
      },
    },
    async (request, reply) => {
      const { result, errors } = await eachItem(request.body, async ({ name }, i) => {
        if (name === 'bad') throw new ApiError('conflict', `[${i}].name "bad" is taken`)
        if (name === 'broken') throw new TypeError('a secret of ours')
        return { name, account: request.account, limits: request.limits }
      })
      return envelope(reply, result, errors)
    },
  )
  return app
}

test('the envelope, its status and its errors follow the guidelines', async (t) => {
  const app = await sample()
  const headers = {
    authorization: 'Bearer secret',
    'x-milepost-account': '7',
    'x-milepost-limits': 'channels=2',
  }
  const post = (payload: unknown, extra = {}) =>
    app.inject({
      method: 'POST',
      url: '/sample/things',
      headers: { ...headers, ...extra },
      payload: payload as object,
    })

  const partly = await post([{ name: 'a' }, { name: 'bad' }], {
    'x-request-id': 'r1',
  })
  t.is(partly.statusCode, 200)
  t.is(partly.headers['x-request-id'], 'r1')
  t.deepEqual(partly.json(), {
    result: [{ name: 'a', account: 7, limits: { channels: 2 } }],
    errors: [{ code: 1005, reason: '[1].name "bad" is taken' }],
  })
  t.is((await post([{ name: 'bad' }])).statusCode, 409)
  const unknown = await post([{ name: 'a', colour: 1 }])
  t.is(unknown.statusCode, 400)
  t.regex(unknown.json().errors[0].reason, /unknown field "colour"/)
  t.regex((await post([{ name: 5 }])).json().errors[0].reason, /body\/0\/name must be string/)
  t.is(
    (
      await app.inject({
        method: 'POST',
        url: '/sample/things',
        headers: { ...headers, 'content-type': 'application/json' },
        payload: '[{',
      })
    ).statusCode,
    400,
  )
  const broken = await post([{ name: 'broken' }])
  t.is(broken.statusCode, 500)
  t.notRegex(broken.body, /secret of ours/)
})

test('a call needs the token, a probe does not', async (t) => {
  const app = await sample()
  t.is((await app.inject({ method: 'GET', url: '/sample/things' })).statusCode, 401)
  t.is(
    (
      await app.inject({
        method: 'GET',
        url: '/sample/things',
        headers: { authorization: 'Bearer wrong' },
      })
    ).statusCode,
    401,
  )
  t.is(
    (
      await app.inject({
        method: 'GET',
        url: '/sample/nothing',
        headers: { authorization: 'Bearer secret' },
      })
    ).statusCode,
    404,
  )
  for (const url of ['/healthz', '/readyz', '/metrics', '/openapi.json']) {
    t.is((await app.inject({ method: 'GET', url })).statusCode, 200, url)
  }
  t.truthy((await app.inject('/openapi.json')).json().paths['/sample/things'].post)
})

test('fields limits an item and refuses unknown names', (t) => {
  t.deepEqual(pickFields({ id: 1, name: 'a' }, 'id'), { id: 1 })
  t.throws(() => pickFields({ id: 1 }, 'ids', ['id']), {
    message: /no "ids"; fields are id/,
  })
})

test('a service that is away is `unavailable`', async (t) => {
  const error = await t.throwsAsync(call('GET', 'http://127.0.0.1:1/x', { token: '' }), { instanceOf: ApiError })
  t.is((error as ApiError).status, 503)
})

test('PostgreSQL: migrations run once though two start at the same time; a lost server is 503', async (t) => {
  t.timeout(60_000)
  const server = await startPostgres()
  const a = new Db(server.config, log)
  const b = new Db(server.config, log)
  const steps = [
    {
      id: 1,
      name: 'things',
      sql: 'create table things (id bigserial primary key, name text unique)',
    },
    { id: 2, name: 'one', sql: "insert into things (name) values ('one')" },
  ]
  const applied = await Promise.all([a.migrate('sample', steps), b.migrate('sample', steps)])
  t.deepEqual(applied.toSorted(), [0, 2])
  t.deepEqual(await b.query('select id, name from things'), [{ id: 1, name: 'one' }])
  await t.throwsAsync(
    a.transaction(async (query) => {
      await query("insert into things (name) values ('two')")
      throw new Error('no')
    }),
    { message: 'no' },
  )
  t.is((await a.query('select 1 from things')).length, 1)
  await server.stop()
  const error = await t.throwsAsync(a.query('select 1'))
  t.is((error as ApiError).status, 503)
  await a.close()
  await b.close()
})

test('departures from the guidelines are found and named', (t) => {
  const found = departures({
    paths: {
      '/gw/channel/{selector}': { get: { summary: 'x' } },
      '/gw/channels/restart': {
        post: { summary: 'x', requestBody: json({ type: 'array', items: { type: 'object' } }) },
      },
      '/gw/channels/{selector}': { patch: { summary: 'x' }, put: { requestBody: json({ type: 'array' }) } },
    },
  })
  t.deepEqual(found, [
    '/gw/channel/{selector}: "channel" is not a collection, which is a plural',
    '/gw/channels/restart: "restart" stands where a selector belongs',
    '/gw/channels/restart: "restart" is not a collection, which is a plural',
    'POST /gw/channels/restart: unknown fields are not refused',
    'PATCH /gw/channels/{selector}: no such method',
    'PUT /gw/channels/{selector}: has no summary',
    'PUT /gw/channels/{selector}: the body is no object of fields',
    'PUT /gw/channels/{selector}: unknown fields are not refused',
  ])
})

const json = (schema: object) => ({ content: { 'application/json': { schema } } })
